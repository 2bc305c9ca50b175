"""W-TinyLFU: newcomers wait in a window, and pass from it only if they are used more than who would leave for them.

The window is an LRU chain; behind it lies a segmented LRU, whose oldest entry contends with the oldest of the window.
How large the window should be differs between loads by more than anything else, so it climbs to where most hits are.
Overwriting counts as a use.

Sources: Einziger, Friedman, Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", ACM ToS 2017; Einziger, Eytan,
Friedman, Manes, "Adaptive Software Cache Management", Middleware 2018.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from raycache.store.policies.chain import RankedEntry
from raycache.store.policies.climber import Climber
from raycache.store.policies.sketch import UseSketch
from raycache.store.policies.weighing import WeighingPolicy
from raycache.store.weight import RANKED_ENTRY_BYTES, SKETCH_BYTES

WINDOW, PROBATION, PROTECTED = 0, 1, 2
_CHAIN: Final = 0b11
_USE: Final = 0b100
_USES: Final = 0b111100
_EPOCH: Final = 0b11000000
_EPOCH_SHIFT: Final = 6
_USES_SHIFT: Final = 2
PROTECTED_PART: Final = 0.8
"""Of what lies behind the window, as in the paper."""
MOST_MOVED: Final = 64
"""Entries that leave a window which has become smaller, for each that is evicted."""


class TinyLfuEntry(RankedEntry):
    """Its count, from the lowest bit: 2 bits of chain, 4 of uses, 2 of the epoch that those are of. So it is below 256,
    and CPython has it ready."""

    __slots__ = ()


class TinyLfuPolicy(WeighingPolicy[TinyLfuEntry]):
    """Three chains, oldest first."""

    name = "w-tinylfu"
    entry_type = TinyLfuEntry
    entry_bytes = RANKED_ENTRY_BYTES + SKETCH_BYTES
    queue_mask = _CHAIN
    _sketch: UseSketch

    def __init__(self) -> None:
        self._epoch = 0
        self._uses = 1
        super().__init__(3)

    def set_capacity(self, capacity: int) -> None:
        super().set_capacity(capacity)
        self.climber = Climber()

    def _make_tables(self, expected: int) -> None:
        self._sketch = UseSketch(expected)

    def on_arrival(self, key: bytes) -> None:
        self._uses = min(self._sketch.count(hash(key)) + 1, 15)
        self.climber.misses += 1
        if self.climber.is_due(self._count):
            self._climb()

    def on_insert(self, entry: TinyLfuEntry) -> None:
        entry.count = WINDOW | self._uses << _USES_SHIFT | self._epoch
        self._uses = 1
        self._add(entry, WINDOW)

    def on_hit(self, entry: TinyLfuEntry) -> None:
        self.climber.hits += 1
        count = entry.count
        if count & _EPOCH != self._epoch:
            count = self._aged(count)
        if count & _USES != _USES:
            count += _USE
        chain = count & _CHAIN
        if chain != PROBATION:
            entry.count = count
            root = self._roots[chain]
            youngest = root.prev
            if youngest is entry:
                return
            before, after = entry.prev, entry.next
            before.next = after
            after.prev = before
            entry.prev = youngest
            entry.next = root
            youngest.next = root.prev = entry
            return
        entry.count = count + PROTECTED - PROBATION
        self._move(entry, PROBATION, PROTECTED)
        capacity = self.capacity
        most = (capacity - self.climber.window(capacity)) * PROTECTED_PART
        while self._weights[PROTECTED] > most:
            oldest = self._chains[PROTECTED].oldest()
            oldest.count += PROBATION - PROTECTED
            self._move(oldest, PROTECTED, PROBATION)

    on_update = on_hit

    def on_hits(self, entries: Iterable[TinyLfuEntry]) -> None:
        on_hit = self.on_hit
        for entry in entries:
            on_hit(entry)

    def victim(self, spare: TinyLfuEntry | None = None) -> TinyLfuEntry:
        capacity, weights = self.capacity, self._weights
        window, probation, protected = self._chains
        most = self.climber.window(capacity)
        if window.holds_only(spare):
            return self._leaving((probation if not probation.holds_only(spare) else protected).oldest(spare))
        candidate: Any = window.oldest(spare)
        for _ in range(MOST_MOVED):
            younger = candidate.next if candidate.next is not spare else spare.next
            if younger is window.root or weights[WINDOW] - self.weight_of(candidate) < most:
                break
            self._pass_on(candidate)
            candidate = younger
        main = probation if not probation.holds_only(spare) else protected
        if main.holds_only(spare):
            return self._leaving(candidate)
        rival = main.oldest(spare)
        if weights[WINDOW] < most:
            return self._leaving(rival)
        if self._uses_of(candidate) > self._uses_of(rival):
            self._pass_on(candidate)
            return self._leaving(rival)
        return self._leaving(candidate)

    def _pass_on(self, entry: TinyLfuEntry) -> None:
        """Let an entry of the window pass into probation."""
        entry.count += PROBATION - WINDOW
        self._move(entry, WINDOW, PROBATION)

    def _leaving(self, entry: TinyLfuEntry) -> TinyLfuEntry:
        self._sketch.keep(hash(entry.key), self._uses_of(entry))
        return entry

    def _uses_of(self, entry: TinyLfuEntry) -> int:
        count = entry.count
        if count & _EPOCH != self._epoch:
            count = entry.count = self._aged(count)
        return (count & _USES) >> _USES_SHIFT

    def _aged(self, count: int) -> int:
        """Return a count with its uses halved for every epoch that has passed, up to three."""
        passed = (self._epoch - (count & _EPOCH)) % 256 >> _EPOCH_SHIFT
        return count & _CHAIN | ((count & _USES) >> passed) & _USES | self._epoch

    def _climb(self) -> None:
        self.climber.step()
        self._sketch.fade()
        self._epoch = (self._epoch + (1 << _EPOCH_SHIFT)) % 256

    def _coldest_first(self) -> Sequence[int]:
        return WINDOW, PROBATION, PROTECTED
