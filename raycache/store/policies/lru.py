"""LRU: what was used longest ago leaves first. Exact, not sampled; reading and writing both count as use."""

from __future__ import annotations

from collections.abc import Iterable

from raycache.store.policies.chain import ChainEntry, neighbour
from raycache.store.policies.fifo import FifoPolicy


class LruPolicy(FifoPolicy):
    """The chain of FIFO, and a used entry moves to its young end."""

    name = "lru"
    knows_use = True

    def on_hit(self, entry: ChainEntry) -> None:
        root = self._root
        youngest = root.prev
        if youngest is entry:  # the hottest key of a skewed load is nearly always here already
            return
        # `unlink` and `append` written out: this runs once per read.
        before, after = entry.prev, entry.next
        before.next = after
        after.prev = before
        entry.prev = youngest
        entry.next = root
        youngest.next = root.prev = entry

    on_update = on_hit

    def on_hits(self, entries: Iterable[ChainEntry]) -> None:
        # `on_hit` written out: its call takes as long as all else that a turn does for a read.
        root = self._root
        youngest = root.prev
        for entry in entries:
            if youngest is entry:
                continue
            before, after = entry.prev, entry.next
            before.next = after
            after.prev = before
            entry.prev = youngest
            entry.next = root
            youngest.next = entry
            youngest = entry
        root.prev = youngest

    def hottest(self, after: ChainEntry | None, count: int) -> list[ChainEntry]:
        root = self._root
        entry = neighbour(root if after is None else after)
        found: list[ChainEntry] = []
        while entry is not root and len(found) < count:
            found.append(entry)
            entry = entry.prev
        return found
