"""The miss-ratio curve of an LRU cache from a sample of its keys, of fixed size: SHARDS.

What lives here: the sample, reuse distances in it, and their histogram. What does not: which look-ups are shown to it
(`raycache.store.watching`), and time. One owner.

A key belongs to the sample if its place, a hash, is below a threshold. Then all its look-ups are seen, and how much
else of the sample was looked up between two of them, divided by the rate, estimates how much was in truth. When the
sample has grown too large, the key with the highest place leaves and the threshold falls to it; what was counted
before at a higher rate counts as much as it did. As many look-ups as the sample lacks, or has too many, beside what
its rate promises, are taken for hits at the shortest distance (SHARDS-adj): mostly whole hot keys are in it, or not.

A cache lives longer than a trace. So keys that no cache of interest would still hold leave the sample, which may then
take more of those that are used; and what was counted long ago fades.

Source: Waldspurger, Park, Garthwaite, Ahmad, "Efficient MRC Construction with SHARDS", USENIX FAST 2015.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Sequence
from math import inf, log2
from typing import Final

import numpy as np

from raycache.curves.tree import WeightTree

MOST_KEYS: Final = 8192
"""Keys in the sample, as in the paper: some 300 bytes each."""
PER_OCTAVE: Final = 32
"""Buckets of distance for each doubling: 2 % wide."""
_OCTAVES: Final = 48
_TIMES: Final = 4
"""Times that the tree has room for, for each key: then they are numbered anew."""
_DROPS: Final = 128
"""Keys that leave in one step, about half a millisecond."""


class MissRatioCurve:
    """What the sample knows.

    Args:
        space: places are from 0 to below this.
        threshold: the sample begins with the places below this; None: all.
        most_keys: how many it has at most.
    """

    def __init__(self, space: int, threshold: int | None = None, most_keys: int = MOST_KEYS) -> None:
        self.space = space
        self.threshold = space if threshold is None else threshold
        self._known_below = space
        """A key from here on that is seen for the first time may have been looked up before."""
        self._most_keys = most_keys
        self._tree = WeightTree(_TIMES * most_keys)
        self._now = 0
        self._known: dict[int, int] = {}
        """Of each key of the sample, by place: when it was looked up last."""
        self._weights: dict[int, int] = {}  # in the same order
        self._heap: list[int] = []  # of places, negative: the highest first; some may have left
        self._histogram = [0.0] * (PER_OCTAVE * _OCTAVES)
        self._seen = 0.0
        self._promised = 0.0

    def __len__(self) -> int:
        return len(self._known)

    @property
    def rate(self) -> float:
        """Which part of all keys belongs to the sample."""
        return self.threshold / self.space

    @property
    def lookups(self) -> float:
        """How many look-ups the curve stands for; fewer, where older ones have faded."""
        return max(self._promised, 0.0)

    def count(self, lookups: float) -> None:
        """So many keys were looked up, in the sample or not."""
        self._promised += lookups

    def look(self, place: int, weight: int) -> None:
        """The key at `place`, which is below the threshold, was looked up.

        Args:
            weight: of its entry; 0: it has none. A key that never had one is a miss however large the cache is.
        """
        tree, known = self._tree, self._known
        scale = self.space / self.threshold
        self._seen += scale
        now = self._now = self._now + 1
        before = known.get(place)
        if before is None:
            self._add(place, weight, now, scale)
            return
        old = self._weights[place]
        if weight or old:
            own = weight or old
            distance = tree.after(before) * scale + own
            self._histogram[int(log2(distance) * PER_OCTAVE)] += scale
            if old:
                tree.add(before, -old)
            tree.add(now, own)
            self._weights[place] = own
        known[place] = now

    def _add(self, place: int, weight: int, now: int, scale: float) -> None:
        """Take a key into the sample."""
        if place >= self._known_below:  # a hit or a miss, who knows: as if it had not been looked up
            self._seen -= scale
            self._promised -= scale
        self._weights[place] = weight
        self._known[place] = now
        if weight:
            self._tree.add(now, weight)
        heapq.heappush(self._heap, -place)
        if len(self._known) > self._most_keys:
            self.threshold = self._drop_highest()

    @property
    def is_due(self) -> bool:
        """Whether `renumber` has to run before the next look."""
        return self._now >= self._tree.size

    def renumber(self, farthest: float = inf) -> Generator[None, None, None]:
        """Number times anew from 1, in steps of about half a millisecond. No look may come between them.

        Args:
            farthest: keys leave that only a larger cache than this would still hold.
        """
        places = np.fromiter(self._known.keys(), np.int64, len(self._known))
        times = np.fromiter(self._known.values(), np.int64, len(places))
        yield
        weights = np.fromiter(self._weights.values(), np.int64, len(places))
        order = np.argsort(times)
        yield
        distances = np.cumsum(weights[order][::-1])[::-1]
        order = order[distances <= max(farthest * self.rate, float(distances[-1]) if len(places) else 0.0)]
        places, weights = places[order], weights[order]
        self._tree.refill(weights)
        yield
        listed = places.tolist()
        self._known = dict(zip(listed, range(1, len(listed) + 1), strict=True))
        self._now = len(listed)
        yield
        self._weights = dict(zip(listed, weights.tolist(), strict=True))
        yield
        self._heap = (-np.sort(places)[::-1]).tolist()  # sorted is a heap

    def forget(self, place: int) -> None:
        """The entry at `place` was deleted, or has expired: the next look will miss however large the cache is."""
        before = self._known.pop(place, None)
        if before is not None:
            self._tree.add(before, -self._weights.pop(place))

    def forget_all(self) -> None:
        """The cache was cleared. What was counted stays."""
        self._known.clear()
        self._weights.clear()
        self._heap.clear()
        self._tree = WeightTree(self._tree.size)
        self._now = 0

    def fade(self, factor: float) -> None:
        """Let what was counted count only `factor` times as much."""
        self._histogram = [count * factor for count in self._histogram]
        self._seen *= factor
        self._promised *= factor

    def narrow(self, threshold: int) -> Generator[None, None, None]:
        """Keep only the places below `threshold`, in steps: more cost too much. No look may come between them.

        0 leaves nothing: then all that is looked up counts as hits at the shortest distance.
        """
        self.threshold = threshold
        while self._heap and -self._heap[0] >= threshold:
            for _ in range(_DROPS):
                if not self._heap or -self._heap[0] < threshold:
                    return
                self.forget(-heapq.heappop(self._heap))
            yield

    def widen(self, threshold: int) -> None:
        """Take the places below `threshold` in, too. Until `settle`, first looks at the new ones say nothing."""
        self._known_below = self.threshold
        self.threshold = threshold

    def settle(self) -> None:
        """By now a key that was looked up before has been seen: one that is new is a miss."""
        self._known_below = self.space

    def _drop_highest(self) -> int:
        """Take the key with the highest place out of the sample, and return that place."""
        while True:  # the key that was just added is there
            place = -heapq.heappop(self._heap)
            if place in self._known:
                self.forget(place)
                return place

    def miss_ratios(self, capacities: Sequence[float]) -> list[float]:
        """Return the miss ratio of a cache of each capacity, in the unit of weights; 1.0 before the first look-up."""
        if self._promised <= 0:
            return [1.0] * len(capacities)
        histogram = np.array(self._histogram)
        histogram[0] += self._promised - self._seen
        edges = 2.0 ** (np.arange(len(histogram) + 1) / PER_OCTAVE)
        hits = np.concatenate(([0.0, 0.0], np.cumsum(histogram)))
        found = np.interp(np.asarray(capacities, float), np.concatenate(([0.0], edges)), hits)
        return np.clip(1.0 - found / self._promised, 0.0, 1.0).tolist()  # type: ignore[no-any-return]
