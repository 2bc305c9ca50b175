"""What readers count: reads, hits, and latencies that can be added up.

What lives here: a histogram of durations and the tally that a reader sends. What does not: measuring (`reader`) and
showing (`display`). Plain data: it pickles, and two of them add.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

# 32 buckets a doubling: a percentile is off by at most 1.1 %. From 0.1 us on, 30 doublings: up to 107 s.
_PER_DOUBLING = 32
_BUCKETS = 30 * _PER_DOUBLING
_FIRST_S = 1e-7


def _no_counts() -> npt.NDArray[np.int64]:
    return np.zeros(_BUCKETS, dtype=np.int64)


@dataclass(slots=True)
class Latencies:
    """Durations in seconds, counted in buckets that grow with the duration."""

    counts: npt.NDArray[np.int64] = field(default_factory=_no_counts)
    total_s: float = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration."""
        bucket = int(math.log2(max(seconds, _FIRST_S) / _FIRST_S) * _PER_DOUBLING)
        self.counts[min(bucket, _BUCKETS - 1)] += 1
        self.total_s += seconds

    def add(self, other: Latencies) -> None:
        """Count all of the other's durations too."""
        self.counts += other.counts
        self.total_s += other.total_s

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    @property
    def mean_s(self) -> float:
        """Their mean, exact; 0 where there is none."""
        return self.total_s / self.count if self.count else 0.0

    def percentile_s(self, percent: float) -> float | None:
        """Return the duration that `percent` of all do not exceed, within 1.1 %; None where there is none."""
        if not self.count:
            return None
        rank = max(1, math.ceil(self.count * percent / 100))
        bucket = int(np.searchsorted(np.cumsum(self.counts), rank))
        return float(_FIRST_S * 2 ** ((bucket + 0.5) / _PER_DOUBLING))


@dataclass(slots=True)
class Tally:
    """What one reader did since its last report, or all readers together."""

    hits: int = 0
    """Reads that the cache answered."""
    misses: int = 0
    """Reads that went on to the database."""
    failures: int = 0
    """Calls of the cache that failed and were done without it (a full shard that may not evict, a shard away)."""
    checked: int = 0
    """Answers from the cache that were compared with the database's own."""
    wrong: int = 0
    """Of those, the ones that differed. Must stay 0."""
    gets: Latencies = field(default_factory=Latencies)
    """The cache's GET alone."""
    reads: Latencies = field(default_factory=Latencies)
    """A whole read with the cache: GET, and on a miss the query and the SET."""
    queries: Latencies = field(default_factory=Latencies)
    """The same read without the cache: the query alone, on every so many of the reads."""

    def add(self, other: Tally) -> None:
        """Add the other's counts to these."""
        for name in ("hits", "misses", "failures", "checked", "wrong"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.gets.add(other.gets)
        self.reads.add(other.reads)
        self.queries.add(other.queries)

    @property
    def lookups(self) -> int:
        """Reads in all."""
        return self.hits + self.misses

    @property
    def hit_ratio(self) -> float:
        """Hits per read, 0 to 1; 0 before the first."""
        return self.hits / self.lookups if self.lookups else 0.0

    @property
    def saved_s(self) -> float:
        """Time that the database would have worked on what the cache answered, by the mean of the sample."""
        return self.hits * self.queries.mean_s
