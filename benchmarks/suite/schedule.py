"""What is asked, and when: keys drawn uniformly or by Zipf's law, reads among writes, arrivals at a constant rate.

What lives here: pure functions of a seed, and `Arrivals`. What does not: asking (`runner`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

ZIPF_EXPONENT: Final = 0.99
"""What YCSB takes for its skewed loads: of 100,000 keys the most popular gets 8 % of all requests."""
NS: Final = 1_000_000_000


def key_name(number: int) -> str:
    """Return the key with this number: 16 bytes, the same as redis-benchmark's."""
    return f"key:{number:012d}"


def zipf_weights(keys: int, exponent: float = ZIPF_EXPONENT) -> npt.NDArray[np.float64]:
    """Return how likely each of `keys` ranks is, the most popular first: proportional to 1 / rank ** exponent.

    Raises:
        ValueError: there are no keys.
    """
    if keys < 1:
        raise ValueError(f"keys must be at least 1, not {keys}")
    weights = np.arange(1, keys + 1, dtype=np.float64) ** -exponent
    return weights / weights.sum()


def draw(law: Literal["uniform", "zipf"], keys: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Return `count` numbers of keys, 0 to `keys` - 1.

    Which keys are the popular ones is decided by `keys` alone, the same for every seed, so that all callers agree; they
    lie anywhere among all, not at one end.
    """
    rng = np.random.default_rng(seed)
    if law == "uniform":
        return rng.integers(0, keys, count)
    edges = np.cumsum(zipf_weights(keys))
    ranks = np.searchsorted(edges, rng.random(count), side="right").clip(max=keys - 1)
    return np.random.default_rng(keys).permutation(keys)[ranks]


def draw_reads(read_percent: int, count: int, seed: int) -> list[bool]:
    """Return for each of `count` requests whether it is a read.

    Raises:
        ValueError: the percentage is none.
    """
    if not 0 <= read_percent <= 100:
        raise ValueError(f"read_percent must be 0 to 100, not {read_percent}")
    drawn: list[bool] = (np.random.default_rng(seed).random(count) * 100 < read_percent).tolist()
    return drawn


@dataclass(slots=True)
class Arrivals:
    """The arrivals of one process, out of `of` that share a constant rate: every `of`-th, from the `number`-th on.

    Threads take from it: each arrival is given out once, in the order of time. When it is late to take one, that
    arrival's time is in the past, and its wait counts from then.
    """

    start_ns: int
    rate: float
    duration_s: float
    number: int = 0
    of: int = 1
    _taken: itertools.count[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.duration_s <= 0:
            raise ValueError("rate and duration_s must be positive")

    @property
    def total(self) -> int:
        """How many arrivals all processes have together."""
        return round(self.rate * self.duration_s)

    def take(self) -> tuple[int, int] | None:
        """Return the next arrival: its place among this process's own, and its time in nanoseconds; None: no more."""
        taken = next(self._taken)  # one bytecode in C, so that no two threads get the same
        place = taken * self.of + self.number
        if place >= self.total:
            return None
        return taken, self.start_ns + round(place * NS / self.rate)
