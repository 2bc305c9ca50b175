"""Which policy serves best: trial caches in miniature, each under another policy, that see a sample of the look-ups.

What lives here: the trials and the verdict. What does not: taking the sample (`watching.py`), and changing the policy
(`switching.py`).

A cache of a hundredth of the size that sees a hundredth of the keys has nearly the miss ratio of the whole
(Waldspurger, Saemundsson, Ahmad, Park, "Cache Modeling and Optimization using Miniature Simulations", USENIX ATC 2017).
Which hot keys are in the sample distorts it: misses are divided by as many look-ups as the rate promises and not by
those that were seen, which is the correction of SHARDS-adj.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from raycache.store.errors import StoreFullError
from raycache.store.policies import make_policy

if TYPE_CHECKING:
    from raycache.store.store import Store

CANDIDATES: Final = ("lru", "s3-fifo", "sieve", "arc", "w-tinylfu")
TRIAL_ENTRIES: Final = 1024
"""A trial cache has about as many."""
BURST: Final = 8
"""Times its entries that are looked up in a trial cache between two rests, at least."""
BURST_LOOKS: Final = 1024
"""And so many in any case."""
MOST_PER_S: Final = 600
"""Looks a second that are worth their time in the long run, about 1 % of it: beyond that there are rests."""
WINDOW: Final = 512
"""Looks between two verdicts, at least; more where trial caches are larger."""
MEMORY: Final = 0.9
"""What a window counts for, beside the next."""
MARGIN: Final = 0.015
"""Part of the look-ups by which another policy has to miss less, for the policy to be changed. A change costs what the
old one knew, so chance must not bring it about: with 0.005 and a shorter memory there were a hundred on some traces."""


class Chooser:
    """Trial caches under all candidates.

    Args:
        make_store: makes a store, as `Store` does.
        serving: the name of the policy that serves.
    """

    COST: Final = 4
    """A look here takes as long as so many in a curve."""

    def __init__(self, make_store: Callable[..., Store], serving: str) -> None:
        self._make_store = make_store
        self.serving = "w-tinylfu" if serving == "auto" else serving
        self.reason = f"{self.serving}: nothing has been tried yet, as the store has room"
        self.changes = 0
        self._threshold = 0
        self._space = 1
        self._trials: dict[str, Store] = {}
        self._misses = dict.fromkeys(CANDIDATES, 0.0)
        self._before = dict.fromkeys(CANDIDATES, 0)
        self._promised = 0.0
        self._seen = self._window_seen = 0
        self._new = 0.0
        self._entries = 1.0
        self._burst_seen = 0
        self._burst_began_ms: int | None = None
        self._rests_until_ms: int | None = None
        self._warm_at = 0
        """Looks after which trials that have rested are judged again."""

    def begin(self, space: int, threshold: int) -> None:
        """Take part of a sample: places are below `space`, and the first ones below `threshold` can be had."""
        self._space = space
        self._threshold = threshold

    @property
    def threshold(self) -> int:
        """Looks at places below this are wanted now."""
        return self._threshold if self._trials and self._rests_until_ms is None else 0

    def count(self, lookups: float) -> None:
        """So many keys were looked up, in the sample or not."""
        self._new += lookups

    def look(self, place: int, weight: int) -> None:
        """The key at `place`, below the threshold, was looked up; its entry weighs so much, 0: there is none."""
        self._seen += 1
        for trial in self._trials.values():
            if trial.get(place, 0) is None and weight:  # type: ignore[arg-type]  # a place is as good a key as bytes
                with suppress(StoreFullError):
                    trial.put(place, weight, 0, None, 0)  # type: ignore[arg-type]

    def step(self, store: Store, now_ms: int) -> None:
        """Begin to try, judge, or rest, if it is time; by a verdict the policy of `store` may be changed."""
        if not self._trials:
            self._begin_trials(store)
        elif self._rests_until_ms is not None:
            self._wake_if_due(self._rests_until_ms, now_ms)
        elif self._seen < self._warm_at:
            self._begin_window()
        elif self._seen - self._window_seen >= max(WINDOW, int(self._entries) // 4):
            best = self._judge()
            if best != self.serving and not store.is_switching:
                self.serving = best
                self.changes += 1
                store.switch_policy(make_policy(best), by_chooser=True)
            self._rest_if_due(now_ms)

    def _rest_if_due(self, now_ms: int) -> None:
        """Rest if the looks of this burst have taken more than their share of the time."""
        if self._burst_began_ms is None or now_ms < self._burst_began_ms:
            self._burst_began_ms, self._burst_seen = now_ms, self._seen
        looks = self._seen - self._burst_seen
        if looks < max(BURST * self._entries, BURST_LOOKS):
            return
        due_ms = self._burst_began_ms + int(looks * 1000 / MOST_PER_S)
        if due_ms > now_ms:
            self._rests_until_ms = due_ms
        else:
            self._burst_began_ms, self._burst_seen = now_ms, self._seen

    def _wake_if_due(self, until_ms: int, now_ms: int) -> None:
        began_ms = self._burst_began_ms or 0
        if began_ms <= now_ms < until_ms:
            return
        self._rests_until_ms = None
        self._burst_began_ms, self._burst_seen = now_ms, self._seen
        self._warm_at = self._seen + int(self._entries)

    def _begin_window(self) -> None:
        """Count misses from here on for the next verdict."""
        self._window_seen = self._seen
        self._new = 0.0
        for name, trial in self._trials.items():
            self._before[name] = trial.stats.misses

    def _begin_trials(self, store: Store) -> None:
        if store.max_entries is not None:
            self._set_up(store.max_entries, True, store.max_entries)
        elif 2 * store.used_bytes >= store.capacity_bytes and len(store):
            self._set_up(store.capacity_bytes, False, len(store) * store.capacity_bytes / store.used_bytes)

    def _set_up(self, capacity: int, counts_entries: bool, expected: float) -> None:
        """Make trial caches that hold about `TRIAL_ENTRIES` of the `expected` entries of a store."""
        rate = min(TRIAL_ENTRIES / expected, self._threshold / self._space)
        self._entries = max(expected * rate, 1.0)
        self._threshold = max(int(self._space * rate), 1)
        size = max(int(capacity * rate), 1)
        for name in CANDIDATES:
            self._trials[name] = self._make_store(
                capacity_bytes=size, max_entries=size if counts_entries else None,
                policy=make_policy(name), segments=1, weigh=_weigh,
            )  # fmt: skip
        self._new = 0.0

    def _judge(self) -> str:
        """Return the name of the policy that should serve."""
        rate = self._threshold / self._space
        self._promised = self._promised * MEMORY + self._new * rate
        for name, trial in self._trials.items():
            self._misses[name] = self._misses[name] * MEMORY + trial.stats.misses - self._before[name]
        self._begin_window()
        best = min(CANDIDATES, key=self._misses.__getitem__)
        promised = max(self._promised, 1.0)
        gain = (self._misses[self.serving] - self._misses[best]) / promised
        ratios = ", ".join(f"{name} {min(self._misses[name] / promised, 1.0):.3f}" for name in CANDIDATES)
        sample = f"miss ratios tried with {rate:.3g} of the keys: {ratios}"
        if gain > MARGIN:
            self.reason = f"{best}: {100 * gain:.1f} points fewer misses than {self.serving}; {sample}"
            return best
        self.reason = f"{self.serving}: no other is {100 * MARGIN:g} points better; {sample}"
        return self.serving


def _weigh(key: bytes, value: Any) -> int:
    return int(value)
