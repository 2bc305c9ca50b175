"""The router's part in keeping all shards at one list of users.

What lives here: what to send when a shard's list differs. What does not: users (`raycache.access`), connections
(`raycache.actors.shard_links`), gateways, who ask the shards. Pure; belongs to the router's loop.

A user is changed on any shard. That one tells with its next answer to a ping that its list is another one; it is sent
the router's, takes what is newer there, and sends back its own; then all others get that. So what one shard knows all
know within two pings, and a shard or a router that starts again has it from the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from raycache.access.user import user_of
from raycache.access.users import Users

log = logging.getLogger(__name__)


class SharedUsers:
    """The users as the router knows them; `lines` are those that the cluster was started with."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self._users = Users(user_of(line) for line in lines)

    def to_bytes(self) -> bytes:
        """Return the list, for whoever starts."""
        return self._users.to_bytes()

    @property
    def message(self) -> list[object]:
        """What tells a shard of it; it answers with its own list if that says more."""
        return ["access", self._users.to_bytes()]

    def differs(self, digest: object) -> bool:
        """Return whether a shard with this digest should be told; one that has none knows nothing of users."""
        return isinstance(digest, bytes) and digest != self._users.digest()

    def take(self, packed: bytes) -> bool:
        """Take in a shard's list; return whether all others should be told.

        Raises:
            ValueError: it cannot be read.
        """
        changed = self._users.merge(packed)
        if changed:
            log.info("users have changed: %s", ", ".join(sorted(changed)))
        return bool(changed)
