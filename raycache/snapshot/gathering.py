"""Which entries go into a snapshot: a walk through a store, a few at a time, while it is being written to.

What lives here: the walk. What does not: bytes (`format`), the pace (`keeper`). Pure; it belongs to the shard's loop.

The view is consistent in this sense: every key that is there from the walk's beginning to its end is in it once, with
the value that it had at the beginning or a newer one. Newer ones do no harm, because what is loaded is merged by
version; and a key that is deleted behind the walk's back is in the file, which is why a snapshot is only loaded while
deletions are remembered elsewhere (`keeper`).

Large values are not in it: their objects die with this process.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from raycache.replication.copies import Copies
from raycache.replication.mutation import Mutation
from raycache.store import LARGE_KIND, WholeStore


def walk(store: WholeStore, copies: Copies, now_ms: int, count: int) -> Iterator[list[Mutation]]:
    """Yield some `count` entries at a time, then the tombstones; may be left standing between two."""
    cursor = 0
    while True:
        cursor, keys = store.scan(cursor, count, now_ms)
        found: list[Mutation] = []
        for key in keys:
            entry = store.peek(key, now_ms)
            if entry is not None and isinstance(entry.value, bytes) and entry.kind != LARGE_KIND:
                found.append((key, entry.version, entry.kind, entry.expires_ms or 0, entry.value))
        yield found
        if cursor == 0:
            break
    if copies.is_versioned:
        start = 0
        # By place, because the list changes between two steps: the oldest go, and as many of the rest may be missed.
        while some := list(islice(copies.tombstones.items(), start, start + count)):
            start += count
            yield [(key, version, 0, 0, None) for key, version in some]
