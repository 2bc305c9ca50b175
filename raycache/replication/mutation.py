"""Mutations: what one write did to one key, as shards tell each other.

What lives here: the tuple and its size. Effects travel, never commands: applying one twice, late or in another order
than its neighbours leads to the same entry, because the larger version wins (`raycache.replication.replicator`).
"""

from __future__ import annotations

from typing import Final

Mutation = tuple[bytes, int, int, int, bytes | None]
"""(key, version, kind, expires_ms, value): kind is the entry's; expires_ms is unix time, 0 = never; value None = the
key was deleted. With `CLEAR` as its kind it stands for whole slots: value is their bitmap; what is older is gone."""

CLEAR: Final = -1
EVICTED: Final = -2
"""As the kind: the primary evicted the key at this version, and a replica need not keep it either."""
OVERHEAD_BYTES: Final = 200
"""What a mutation keeps in memory beside key and value: a tuple, a version, a place in a deque."""


def size_of(mutation: Mutation) -> int:
    """Return about how many bytes of memory `mutation` keeps while it waits."""
    value = mutation[4]
    return OVERHEAD_BYTES + len(mutation[0]) + (len(value) if value is not None else 0)
