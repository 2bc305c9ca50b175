"""Seeing which keys are looked up, at no cost for most of them: what curves and the choice of a policy live on.

What lives here: which segments are watched, the log of looks into them, working through that in steps, and keeping
the whole below a percent of the time. What does not: the curve (`raycache.curves`), the trial caches (`choosing.py`).

A test for each look-up would cost the hot loop some percent. But which segment a key is in is a hash, so a sample of
keys is a set of segments, and these few are handed to whoever looks things up in a wrapping that writes the key down.
The looks of one step are worked through in the next but one: by then a key that was missed has been filled, if it is
ever going to be, and what it weighs is known.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final

from raycache.curves.points import FACTORS
from raycache.curves.shards import MissRatioCurve
from raycache.store.choosing import Chooser
from raycache.store.entry import Entry

if TYPE_CHECKING:
    from raycache.store.store import Store

FINE_BITS: Final = 30
"""Places within a segment: so many bits of the hash, from further up."""
_SEGMENT: Final = 1 << FINE_BITS
_FINE_MASK: Final = _SEGMENT - 1
FIRST_SEGMENTS: Final = 1024
"""Watched at most; with some 200 entries each it is more than a sample may have."""
SETTLE_MS: Final = 100
"""How long a log is written to, and how long it then waits."""
STEP_LOOKS: Final = 128
"""Worked through in one step, about half a millisecond."""
MOST_LOGGED: Final = 4096
"""Looks of one log that are worked through; a log that is longer counts for so much less."""
MOST_PER_S: Final = 2500
"""Looks of the sample of the curve a second: about 1 % of the time. When there are more, the sample shrinks."""
MOST_SAVED: Final = 2 * MOST_PER_S
"""So many that were allowed and not there may come later, all at once."""
LOG_COST: Final = 0.1
"""What a look costs that is in a watched segment but not in the sample, beside one that is."""
FADE_EVERY_MS: Final = 60_000
FADE: Final = 0.5 ** (1 / 30)
"""After half an hour a look counts half."""

Logged = bytes | tuple[bytes]
"""A key that was looked up; or one whose entry was deleted or has expired."""


class Watched:
    """A segment for those who look things up in the name of a client: it writes down the keys."""

    __slots__ = ("get",)

    def __init__(self, segment: dict[bytes, Entry], note: Callable[[bytes], None]) -> None:
        find = segment.get

        def get(key: bytes) -> Entry | None:
            note(key)
            return find(key)

        self.get = get


class Watcher:
    """What is known of the look-ups in one store.

    Args:
        segments: how many the store has.
        most_keys: how many keys the sample of the curve may have; 0: no curve.
        chooser: chooses the store's policy; None: nobody does.
    """

    def __init__(self, segments: int, most_keys: int, chooser: Chooser | None) -> None:
        self._mask = segments - 1
        self._space = segments << FINE_BITS
        self._first = min(FIRST_SEGMENTS, segments) << FINE_BITS
        self.most_keys = most_keys
        self.curve = MissRatioCurve(self._space, self._first, most_keys) if most_keys else None
        self.choose(chooser)
        self._log: list[Logged] = []
        self._settling: tuple[list[Logged], float] = ([], 0.0)  # and how many look-ups it stands for
        self._waiting: list[Logged] = []
        self._at = 0
        self._taken_ms = 0
        self._faded_ms: int | None = None
        self._lookups = 0
        self._looks = self._looks_in_minute = 0
        self._cost, self._budget = 0.0, float(MOST_SAVED)
        self._shaping: Generator[None, None, None] | None = None
        self._watched = 0
        self._lookups_in: list[Any] = []

    def choose(self, chooser: Chooser | None) -> None:
        """Have the policy chosen by `chooser` from now on. `watch` must follow."""
        self.chooser = chooser
        if chooser is not None:
            chooser.begin(self._space, self._first)

    def watch(self, segments: list[dict[bytes, Entry]]) -> list[Any]:
        """Return `segments` for look-ups, some of them watched; the list changes with how many are."""
        self._lookups_in, self._watched = list(segments), 0
        self._watch_as_wanted(segments)
        return self._lookups_in

    def gone(self, key: bytes) -> None:
        """The entry of `key` was deleted or has expired."""
        if hash(key) & self._mask < self._watched:
            self._log.append((key,))

    def cleared(self, segments: list[dict[bytes, Entry]]) -> list[Any]:
        """The store was cleared, and begins anew with these segments, which are returned as by `watch`."""
        self._log.clear()
        self._settling, self._waiting, self._at, self._shaping = ([], 0.0), [], 0, None
        if self.curve is not None:
            self.curve.forget_all()
        return self.watch(segments)

    def step(self, store: Store, now_ms: int) -> bool:
        """Work through some looks; return whether more wait."""
        if self._shaping is not None:
            self._shape(self._shaping)
            return True
        if self._at >= len(self._waiting):
            if 0 <= now_ms - self._taken_ms < SETTLE_MS:
                return False
            self._take(store, now_ms)
        if self._shaping is None:
            self._work(store)
            if self.chooser is not None:
                self.chooser.step(store, now_ms)
        return self._at < len(self._waiting)

    def _take(self, store: Store, now_ms: int) -> None:
        """Begin with the looks that have settled, and let those that were written down since settle."""
        passed_s = min(max(now_ms - self._taken_ms, SETTLE_MS), 1000) / 1000
        self._taken_ms = now_ms
        (self._waiting, stands_for), self._at = self._settling, 0
        logged = len(self._log)
        lookups = store.stats.hits + store.stats.misses
        new, self._lookups = max(lookups - self._lookups, 0), lookups  # the counters may have been reset
        self._settling = (self._log[:MOST_LOGGED], new * min(MOST_LOGGED / logged, 1.0) if logged else new)
        self._log.clear()
        if self.chooser is not None:
            self.chooser.count(stands_for)
        if self.curve is not None:
            self.curve.count(stands_for)
            self._size(self.curve, passed_s)
            self._fade(self.curve, now_ms)
        self._watch_as_wanted(store.hot[0])

    def _size(self, curve: MissRatioCurve, passed_s: float) -> None:
        """Let the sample shrink if it costs too much."""
        allowed = MOST_PER_S * passed_s
        self._budget = min(self._budget + allowed, MOST_SAVED) - self._cost
        if self._budget < 0 and self._cost > allowed and curve.threshold:
            self._budget = 0.0
            threshold = int(curve.threshold * max(allowed / self._cost, 0.5))
            if curve.threshold < _SEGMENT and self._looks < allowed / 2:
                threshold = 0  # a hot key beside the sample, in the last segment that is watched
            self._shape(curve.narrow(threshold))
        self._looks_in_minute += self._looks
        self._looks, self._cost = 0, 0.0

    def _fade(self, curve: MissRatioCurve, now_ms: int) -> None:
        """Forget a little of what was, and take more keys into a sample that could have more, each minute."""
        if self._faded_ms is None or now_ms < self._faded_ms:
            self._faded_ms = now_ms
        if now_ms - self._faded_ms < FADE_EVERY_MS:
            return
        self._faded_ms = now_ms
        curve.fade(FADE)
        curve.settle()
        is_cheap = self._looks_in_minute * 1000 < MOST_PER_S * FADE_EVERY_MS / 8
        if is_cheap and len(curve) < self.most_keys / 4 and curve.threshold < self._first:
            curve.widen(min(max(2 * curve.threshold, _SEGMENT), self._first))
        self._looks_in_minute = 0

    def _shape(self, steps: Generator[None, None, None]) -> None:
        """Do the next step of changing the sample."""
        self._shaping = None if next(steps, self) is self else steps

    def _wanted(self) -> int:
        highest = 0 if self.curve is None else self.curve.threshold
        if self.chooser is not None:
            highest = max(highest, self.chooser.threshold)
        return (highest + _FINE_MASK) >> FINE_BITS

    def _watch_as_wanted(self, segments: list[dict[bytes, Entry]]) -> None:
        wanted, watched = self._wanted(), self._watched
        if wanted < watched:
            self._lookups_in[wanted:watched] = segments[wanted:watched]
        elif wanted > watched:
            note = self._log.append
            self._lookups_in[watched:wanted] = [Watched(segment, note) for segment in segments[watched:wanted]]
        self._watched = wanted

    def _work(self, store: Store) -> None:
        waiting, mask, curve, chooser = self._waiting, self._mask, self.curve, self.chooser
        segments = store.hot[0]
        curve_to = 0 if curve is None else (curve.threshold + _FINE_MASK) >> FINE_BITS
        at, end = self._at, self._at + STEP_LOOKS
        previous = None
        while at < min(end, len(waiting)):
            key = waiting[at]
            at += 1
            if key is previous:  # one request that was looked up twice
                continue
            previous = key
            is_look = type(key) is bytes
            name: Any = key if is_look else key[0]
            hashed = hash(name)
            place = (hashed & mask) << FINE_BITS | (hashed >> FINE_BITS & _FINE_MASK)
            if hashed & mask < curve_to:
                self._cost += LOG_COST
            if curve is not None and place < curve.threshold:
                self._looks += 1
                self._cost += 1
                if not is_look or (at < len(waiting) and waiting[at] == (key,)):  # the look itself found it expired
                    curve.forget(place)
            if not is_look:
                continue
            entry = segments[hashed & mask].get(name)
            weight = self._weight_gone(store, name) if entry is None else store.weight_of(entry)
            if curve is not None and place < curve.threshold:
                curve.look(place, weight)
                if curve.is_due:
                    capacity = store.max_entries or store.capacity_bytes
                    self._shaping = curve.renumber(capacity * FACTORS[-1])
                    break
            if chooser is not None and place < chooser.threshold:
                chooser.look(place, weight)
                end -= chooser.COST
        self._at = at

    def _weight_gone(self, store: Store, key: bytes) -> int:
        """Return what the entry of `key` will have weighed if there was one that was evicted since the look; else 0."""
        departure = store.departures.of(key)
        if departure.cause != "evicted" or departure.at_ms < self._taken_ms - 3 * SETTLE_MS:
            return 0
        return max(store.used_bytes // max(len(store), 1), 1) if store.max_entries is None else 1
