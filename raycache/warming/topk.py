"""The most frequent keys of a stream, in bounded memory.

What lives here: counting. What does not: where keys come from (`logs`). Pure.

As long as the distinct keys fit, every count is exact. From then on the counters are a Space-Saving sketch, which they
were all along: a key that has no counter takes over the smallest one, and its count. So a count is never too low, and
too high by at most its `error`, which is at most N / m for N keys counted with m counters: every key that occurred more
often than that is among the counters.

Source: Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in data streams", ICDT 2005.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heapify, heapreplace
from typing import Final

DEFAULT_COUNTERS: Final = 1_000_000
"""Some 150 MiB with keys of 30 bytes; less as long as there are fewer keys."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A key, how often it occurred at most, and by how much that may be too high (0: exact)."""

    key: bytes
    count: int
    error: int

    @property
    def at_least(self) -> int:
        """How often the key occurred for certain."""
        return self.count - self.error


class TopKeys:
    """Counts keys with at most `counters` counters.

    Raises:
        ValueError: `counters` is not positive.
    """

    def __init__(self, counters: int = DEFAULT_COUNTERS) -> None:
        if counters < 1:
            raise ValueError(f"there must be at least one counter, not {counters}")
        self.total = 0
        """Keys counted."""
        self._counters = counters
        self._counts: dict[bytes, int] = {}
        self._errors: dict[bytes, int] = {}
        # (count, key) for each counter; its count may have grown since, which is looked at when it is the smallest.
        self._heap: list[tuple[int, bytes]] | None = None

    @property
    def is_exact(self) -> bool:
        """Whether all distinct keys had a counter of their own."""
        return self._heap is None

    @property
    def error_bound(self) -> int:
        """By how much any count may be too high, at most; 0 while they are exact."""
        return 0 if self.is_exact else self.total // self._counters

    def add(self, key: bytes) -> None:
        """Count `key` once. Cost: O(1) while it has a counter, else O(log counters) on average."""
        self.total += 1
        counts = self._counts
        count = counts.get(key)
        if count is not None:
            counts[key] = count + 1
        elif len(counts) < self._counters:
            counts[key] = 1
        else:
            self._take_over(key)

    def add_all(self, keys: Iterable[bytes]) -> None:
        """Count each of `keys`."""
        for key in keys:
            self.add(key)

    def _take_over(self, key: bytes) -> None:
        counts = self._counts
        heap = self._heap
        if heap is None:
            heap = self._heap = [(count, each) for each, count in counts.items()]
            heapify(heap)
        while (count := counts[heap[0][1]]) != heap[0][0]:
            heapreplace(heap, (count, heap[0][1]))
        victim = heap[0][1]
        del counts[victim]
        self._errors.pop(victim, None)
        counts[key], self._errors[key] = count + 1, count
        heapreplace(heap, (count + 1, key))

    def top(self, k: int | None = None) -> list[Counted]:
        """Return the `k` most frequent keys (None: all that have a counter), the most frequent first.

        Among equals the smaller key comes first, so that the same stream always gives the same list.
        """
        ranked = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        errors = self._errors
        return [Counted(key, count, errors.get(key, 0)) for key, count in ranked[:k]]
