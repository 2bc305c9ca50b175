"""Space-Saving: the most frequent keys of a stream, in bounded memory, with a bound on the error of each count.

What lives here: the sketch. What does not: which keys are shown to it (`looks`). Pure.

Source: Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", ICDT
2005. For a stream of total weight N and `size` counters: count - error <= true count <= count for every key that is
kept; error <= N / size; and a key whose true count is above N / size is kept. All three hold for weights, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Final

FADED: Final = 0.01
"""Below this a key is forgotten."""


@dataclass(frozen=True, slots=True)
class Heavy:
    """A key that is seen often."""

    key: bytes
    count: float
    """At least how often it was seen, perhaps up to `error` too much."""
    error: float


class SpaceSaving:
    """A sketch of `size` counters. Cost of `add`: O(1) for a key that is kept, O(size) for another."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"a sketch has at least one counter, not {size}")
        self._size = size
        self._counts: dict[bytes, float] = {}
        self._errors: dict[bytes, float] = {}
        self.total = 0.0
        """Weight of everything that was added, faded as the counts are."""

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, key: bytes, weight: float = 1.0) -> None:
        """See `key` once more."""
        counts = self._counts
        self.total += weight
        if key in counts:
            counts[key] += weight
        elif len(counts) < self._size:
            counts[key] = weight
            self._errors[key] = 0.0
        else:
            least, count = min(counts.items(), key=itemgetter(1))
            del counts[least], self._errors[least]
            counts[key] = count + weight
            self._errors[key] = count

    def fade(self, factor: float) -> None:
        """Multiply everything by `factor`, above 0 and at most 1: what was long ago counts less, and all bounds hold.

        What has faded to less than `FADED` is dropped, so that the sketch of a quiet shard becomes empty; a count may
        thereby lack twice as much at most.
        """
        self.total *= factor
        self._counts = {key: count * factor for key, count in self._counts.items() if count * factor >= FADED}
        self._errors = {key: self._errors[key] * factor for key in self._counts}

    def top(self, count: int) -> list[Heavy]:
        """Return the `count` keys with the highest counts, the highest first."""
        ranked = sorted(self._counts.items(), key=lambda pair: (-pair[1], pair[0]))[:count]
        return [Heavy(key, seen, self._errors[key]) for key, seen in ranked]
