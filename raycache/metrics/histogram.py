"""A histogram of durations with fixed buckets: cheap to add to, to merge and to send.

What lives here: counting into buckets, quantiles, the form on the wire. What does not: what is measured, and when.
Pure; belongs to the loop that writes it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

BOUNDS_S: Final = (
    0.000001, 0.000002, 0.000005, 0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005,
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0,
)
"""Upper ends of the buckets, in seconds: 1 us to 10 s, three a decade. One more bucket holds what took longer."""


class Histogram:
    """How often something took how long.

    Each observation has a weight: of how many it is an example, itself included. With weights of 1 it is exact.
    """

    __slots__ = ("bounds_s", "counts", "max_s", "sum_s")

    def __init__(self, bounds_s: Sequence[float] = BOUNDS_S) -> None:
        self.bounds_s = bounds_s
        self.counts = [0] * (len(bounds_s) + 1)
        """Observations (weighted) in each bucket, not cumulated."""
        self.sum_s = 0.0
        self.max_s = 0.0
        """The longest that was observed; no weight changes that."""

    def observe(self, duration_s: float, weight: int = 1) -> None:
        """Count one duration, as an example of `weight` ones."""
        self.counts[bisect_left(self.bounds_s, duration_s)] += weight
        self.sum_s += duration_s * weight
        if duration_s > self.max_s:
            self.max_s = duration_s

    @property
    def count(self) -> int:
        """Observations, weighted."""
        return sum(self.counts)

    @property
    def mean_s(self) -> float:
        """Mean duration, 0.0 before the first."""
        count = self.count
        return self.sum_s / count if count else 0.0

    def quantile_s(self, share: float) -> float:
        """Return the duration that `share` (0 to 1) of all do not exceed, 0.0 before the first.

        Inside a bucket durations are taken for evenly spread, as Prometheus does; none is above the longest observed.
        """
        wanted, below = share * self.count, 0
        for place, count in enumerate(self.counts):
            if count and below + count >= wanted:
                low = self.bounds_s[place - 1] if place else 0.0
                high = self.bounds_s[place] if place < len(self.bounds_s) else max(self.max_s, low)
                return min(low + (high - low) * max(0.0, wanted - below) / count, self.max_s)
            below += count
        return self.max_s

    def add(self, other: Histogram) -> None:
        """Add what another one with the same buckets has counted."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s
        self.max_s = max(self.max_s, other.max_s)

    def cumulated(self) -> list[tuple[float, int]]:
        """Return (upper end in seconds, observations up to it), the last with an infinite end."""
        pairs, below = [], 0
        for bound_s, count in zip((*self.bounds_s, float("inf")), self.counts, strict=True):
            below += count
            pairs.append((bound_s, below))
        return pairs

    def to_row(self) -> list[object]:
        """Return it as types that msgpack and JSON know; `of_row` reads them."""
        return [list(self.counts), self.sum_s, self.max_s]

    @classmethod
    def of_row(cls, row: Sequence[object]) -> Histogram:
        """Return what `to_row` wrote.

        Raises:
            ValueError: it is something else, or has other buckets.
        """
        made = cls()
        try:
            counts, sum_s, max_s = row
            made.counts = [int(count) for count in counts]  # type: ignore[attr-defined]
            made.sum_s, made.max_s = float(sum_s), float(max_s)  # type: ignore[arg-type]
        except TypeError as error:
            raise ValueError(f"not a histogram: {row!r}") from error
        if len(made.counts) != len(made.bounds_s) + 1 or min(made.counts) < 0:
            raise ValueError(f"not a histogram with {len(made.bounds_s) + 1} buckets: {row!r}")
        return made
