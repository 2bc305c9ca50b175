"""The second look at values that were read without `get_or_load`: whether they still count.

What lives here: the generator. What does not: which values need it (`raycache.client.guarded`).
"""

from __future__ import annotations

from collections.abc import Sequence

from raycache.codec.loaded import Header
from raycache.loading.found import Found
from raycache.loading.steps import Fetch, Steps


def still_good(read: Sequence[tuple[bytes, Header]]) -> Steps[list[bool]]:
    """Return for each key and header whether the value is within its own lifetime, and none of its tags invalidated."""
    keys = list(dict.fromkeys(key for key, header in read if header.grace_ms))
    tags = list(dict.fromkeys(tag for _, header in read for tag, _ in header.tags))
    payloads, generations = yield Fetch(keys, tags)
    now = {key: None if aged is None else Found(aged) for key, aged in zip(keys, payloads, strict=True)}

    def is_good(key: bytes, header: Header) -> bool:
        if any(generations[tag] != generation for tag, generation in header.tags):
            return False
        if not header.grace_ms:
            return True
        found = now[key]
        if found is None:  # it has gone since
            return False
        # Written anew since: what was read was good a moment ago, or at least nobody can tell any more.
        return found.mark != header.mark or found.left_ms < 0 or found.left_ms > header.grace_ms

    return [is_good(key, header) for key, header in read]
