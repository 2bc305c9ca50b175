"""S3-FIFO: a small queue that most newcomers leave again unused, a main queue, and the ghosts of those who left.

A hit counts up to 3 and moves nothing. What is used twice while in the small queue goes on to the main one, as does
what comes back while its ghost is remembered. Overwriting counts as a use.

Source: Yang, Zhang, Qiu, Yue, Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023: the
small queue has a tenth of the room. `tests/unit/store/test_reference_traces.py` holds it to exact hits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from raycache.store.policies.chain import RankedEntry
from raycache.store.policies.ghosts import Ghosts
from raycache.store.policies.weighing import WeighingPolicy
from raycache.store.weight import GHOST_BYTES, RANKED_ENTRY_BYTES

SMALL, MAIN = 0, 1
USE: Final = 2
"""A count is the chain's number, and twice the uses."""
MOST: Final = 3 * USE
MOST_GHOSTS: Final = 2
"""For each entry, where ghosts are lighter than entries: so that their memory stays in proportion."""
MAX_PASSES: Final = 8192
"""Entries looked at for one eviction, about a millisecond: then the oldest of the main queue leaves, used or not."""


class S3FifoEntry(RankedEntry):
    """Its count: which queue it is in, and up to three uses."""

    __slots__ = ()


class S3FifoPolicy(WeighingPolicy[S3FifoEntry]):
    """Two queues, oldest first, and a queue of ghosts."""

    name = "s3-fifo"
    entry_type = S3FifoEntry
    entry_bytes = RANKED_ENTRY_BYTES + GHOST_BYTES
    queue_mask = MAIN
    _ghosts: Ghosts

    def __init__(self) -> None:
        super().__init__(2)
        self._is_returning = False
        self._has_evicted = False

    def _make_tables(self, expected: int) -> None:
        self._ghosts = Ghosts(expected)

    def on_arrival(self, key: bytes) -> None:
        self._is_returning = bool(self._ghosts.take(hash(key)))

    def on_insert(self, entry: S3FifoEntry) -> None:
        small_size = self._size // 10
        if (
            self._is_returning
            or (not self._has_evicted and self._weights[SMALL] >= small_size)
            or (self._charge is not None and self._charge(entry) >= small_size)
        ):
            entry.count = MAIN
            self._add(entry, MAIN)
        else:
            entry.count = SMALL
            self._add(entry, SMALL)
        self._is_returning = False

    def on_hit(self, entry: S3FifoEntry) -> None:
        if entry.count < MOST:
            entry.count += USE

    on_update = on_hit

    def on_hits(self, entries: Iterable[S3FifoEntry]) -> None:
        for entry in entries:
            if (count := entry.count) < MOST:
                entry.count = count + USE

    def victim(self, spare: S3FifoEntry | None = None) -> S3FifoEntry:
        self._has_evicted = True
        capacity, weights = self.capacity, self._weights
        small, main = self._chains
        in_main = weights[MAIN] > capacity - capacity // 10
        for _ in range(MAX_PASSES):
            if in_main or small.root.next is small.root:
                entry = main.oldest()
                if entry.count < USE and entry is not spare:
                    return entry
                entry.count = max(entry.count - USE, MAIN)
                self._move(entry, MAIN, MAIN)
            else:
                entry = small.oldest()
                if entry.count < 2 * USE and entry is not spare:
                    self._remember(entry, capacity)
                    return entry
                entry.count = MAIN
                self._move(entry, SMALL, MAIN)
        return main.oldest(spare)

    def _remember(self, entry: S3FifoEntry, capacity: int) -> None:
        """Make the ghost of an entry that leaves. Their number is bounded where they weigh little."""
        ghosts, size = self._ghosts, capacity * 9 // 10
        weight = self.weight_of(entry)
        while ghosts.count and (ghosts.weight + weight > size or ghosts.count >= MOST_GHOSTS * self._count):
            ghosts.drop_oldest()
        if weight <= size:
            ghosts.add(hash(entry.key), weight)

    def _coldest_first(self) -> Sequence[int]:
        return SMALL, MAIN
