"""What was refused lately, for ACL LOG.

What lives here: the log and its bound. What does not: what is refused, and to whom (`raycache.shard.guard`). Pure. No
password comes here: of a refused AUTH only the user's name is kept.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

MAX_ENTRIES: Final = 128
"""As in Redis (`acllog-max-len`)."""
SAME_MS: Final = 60_000
"""The same refusal within so long counts up an entry that is there; as in Redis."""


@dataclass(slots=True)
class Denied:
    """A refusal, or several that are alike."""

    reason: str
    """"auth", "command" or "key"."""
    context: str
    """"toplevel" or "multi"."""
    object: bytes
    """The command, or the keys."""
    user: str
    address: str
    created_ms: int
    count: int = 1


class DeniedLog:
    """The newest refusals, newest first."""

    def __init__(self) -> None:
        self._entries: deque[Denied] = deque(maxlen=MAX_ENTRIES)

    def add(self, reason: str, context: str, what: bytes, user: str, address: str, now_ms: int) -> None:
        """Note one."""
        user, what = user[:256], what[:128]
        for entry in self._entries:
            is_same = (entry.reason, entry.context, entry.object, entry.user) == (reason, context, what, user)
            if is_same and now_ms - entry.created_ms < SAME_MS:
                entry.count, entry.created_ms, entry.address = entry.count + 1, now_ms, address
                return
        self._entries.appendleft(Denied(reason, context, what, user, address, now_ms))

    def newest(self, count: int) -> list[Denied]:
        """Return up to `count` of the newest."""
        return list(self._entries)[:count]

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
