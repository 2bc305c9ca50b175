"""LRU: what was used longest ago leaves first. Exact, not sampled; reading and writing both count as use.

How long ago that was, dividers in the chain tell (`ages.py`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator

from raycache.store.policies.ages import Ages, Divider
from raycache.store.policies.chain import ChainEntry, RankedEntry, neighbour
from raycache.store.policies.fifo import FifoPolicy


class LruEntry(RankedEntry):
    """Its count means nothing; see `FifoEntry`."""

    __slots__ = ()


class LruPolicy(FifoPolicy):
    """The chain of FIFO, and a used entry moves to its young end."""

    name = "lru"
    entry_type = LruEntry
    knows_use = True

    def __init__(self) -> None:
        super().__init__()
        self._ages = Ages(self._root)

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
            if not isinstance(entry, Divider):
                found.append(entry)
            entry = entry.prev
        return found

    def victim(self, spare: ChainEntry | None = None) -> ChainEntry:
        oldest = self._root.next
        if oldest.__class__ is not Divider and oldest is not spare:
            return oldest
        oldest = self._ages.first_behind(oldest)
        return oldest if oldest is not spare else self._ages.first_behind(oldest.next)

    def tick(self, now_ms: int) -> None:
        self._ages.tick(now_ms)

    def idle(self, entry: ChainEntry, now_ms: int) -> Generator[None, None, int]:
        return self._ages.idle(entry, now_ms)

    def entries(self) -> Iterator[ChainEntry]:
        return (entry for entry in self._chain if not isinstance(entry, Divider))

    def close(self) -> None:
        self._ages.close()
        super().close()
