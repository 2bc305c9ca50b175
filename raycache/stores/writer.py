"""What the writer of a store does next: the core of write-behind.

What lives here: batches, their order, what a failure means, when to wait, when there is nothing left. What does not:
shards, databases, threads (`worker`). Pure: the time is handed in, and the caller does what `next_step` says and tells
what came of it.

Order per key: a shard keeps one record for a key, the newest. This takes some records, has them written, and then has
removed what still is as it was taken. One batch at a time: so of two writes of a key the older is in the database, or
given up, before the newer is taken. What is taken and not removed, because anybody dies, is taken again; the store
knows by its version that it has it.

What fails: a database that cannot be reached stops everything, is tried for ever, and what waits meanwhile goes on
being replaced by newer writes in the shards. A database that refuses a batch is offered its halves, until the one write
that it refuses is alone; that one is tried some times and then buried, and the others go on meanwhile.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from raycache.stores.backoff import Backoff

MAX_HELD_BACK: Final = 1000
"""Refused writes that wait for their next attempt; beyond it the oldest is buried before its attempts are over."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A record as a shard hands it out."""

    record: bytes
    """Its key, see `raycache.ring.records`."""
    key: bytes
    version: int
    queued_ms: int
    payload: bytes | None
    """A kind byte and the value; None: to be deleted."""


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """How a writer works.

    Raises:
        ValueError: a number is not positive.
    """

    batch: int = 500
    """Writes in one transaction at most: large enough that a commit costs little for each, small enough that a batch
    that is refused is halved nine times and no more."""
    flush_s: float = 0.05
    """Seconds between two looks while nothing waits: how long a write waits for others to share its transaction."""
    attempts: int = 5
    """How often a write is tried that the database refuses, before it is a dead letter."""
    backoff_s: float = 0.1
    """Seconds to wait after the first failure; doubled each time."""
    max_backoff_s: float = 10.0
    """The longest wait: how late a database that is back is noticed."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}")


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask every shard for its oldest `count` records, and say `pulled`."""

    count: int


@dataclass(frozen=True, slots=True)
class Store:
    """Have the store take `batch`, and say `stored`, `refused` or `unavailable`."""

    batch: Sequence[Waiting]


@dataclass(frozen=True, slots=True)
class Remove:
    """Have the shards remove `batch`, which the store has, and say `removed`."""

    batch: Sequence[Waiting]


@dataclass(frozen=True, slots=True)
class Bury:
    """Have the shard make a dead letter of `one`, and say `removed`."""

    one: Waiting
    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Do nothing for so many seconds."""

    seconds: float


Step = Pull | Store | Remove | Bury | Pause


@dataclass(slots=True)
class _HeldBack:
    version: int
    failures: int
    until_s: float


@dataclass(slots=True)
class WriterFigures:
    """What a writer has done since it began."""

    written: int = 0
    batches: int = 0
    refused: int = 0
    """Refusals of single writes, repeated ones counted."""
    buried: int = 0
    outages: int = 0
    """Times that the database, or the cache, could not be reached."""
    last_error: str = ""
    state: Literal["idle", "writing", "waiting for the database", "waiting for the cache"] = "idle"


class Writer:
    """See the module's text."""

    def __init__(self, settings: WriterSettings, rng: random.Random) -> None:
        self.settings = settings
        self.figures = WriterFigures()
        self.is_drained = False
        """Whether every shard has said, after the last write, that nothing waits."""
        self._backoff = Backoff(settings.backoff_s, settings.max_backoff_s, rng)
        self._work: deque[list[Waiting]] = deque()
        self._remove: list[Waiting] = []
        self._bury: tuple[Waiting, str] | None = None
        self._held: dict[bytes, _HeldBack] = {}
        self._written: dict[bytes, int] = {}
        """Record -> version of what the store has taken since the last pull, or was handed out though it has it."""
        self._failures = self._cache_failures = 0
        self._pause_until_s = float("-inf")

    def next_step(self, now_s: float) -> Step:
        """Return what to do now."""
        if now_s < self._pause_until_s:
            return Pause(self._pause_until_s - now_s)
        if self._remove:
            return Remove(self._remove)
        if self._bury is not None:
            return Bury(*self._bury)
        if self._work:
            self.figures.state = "writing"
            return Store(self._work[0])
        return Pull(self.settings.batch + len(self._held))

    def pulled(self, records: Sequence[Waiting], now_s: float, *, is_complete: bool) -> None:
        """Take in what the shards have handed out.

        Args:
            is_complete: whether all of them have answered.
        """
        self._cache_failures = 0
        held = self._held
        ready = [one for one in records if self._is_ready(one, now_s)]
        self.is_drained = is_complete and not records
        self._pace(ready, now_s)
        if is_complete and len(records) < self.settings.batch:  # what is held back and was not handed out has gone
            there = {one.record for one in records}
            for record in [record for record in held if record not in there]:
                del held[record]
        for start in range(0, len(ready), self.settings.batch):
            self._work.append(list(ready[start : start + self.settings.batch]))
        if not ready:
            soonest_s = min((one.until_s for one in held.values()), default=float("inf"))
            self._pause_until_s = min(now_s + self.settings.flush_s, max(soonest_s, now_s))
            self.figures.state = "idle"

    def _is_ready(self, one: Waiting, now_s: float) -> bool:
        held = self._held.get(one.record)
        if held is not None and held.version != one.version:
            del self._held[one.record]  # written again since: another value
            return True
        return held is None or held.until_s <= now_s

    def _pace(self, ready: Sequence[Waiting], now_s: float) -> None:
        """Wait a moment if the store has all of this already: shards that are about to lose a record hand it out again
        while everything is asked for."""
        self._written = {one.record: one.version for one in ready if self._written.get(one.record) == one.version}
        if ready and len(self._written) == len(ready):
            self._pause_until_s = now_s + self.settings.flush_s

    def stored(self, now_s: float) -> None:
        """Take in that the store has the batch."""
        self._remove = self._work.popleft()
        self._failures = 0
        self.figures.batches += 1
        self.figures.written += sum(self._written.get(one.record) != one.version for one in self._remove)
        self._written.update((one.record, one.version) for one in self._remove)

    def refused(self, reason: str, now_s: float) -> None:
        """Take in that the store will not have the batch."""
        batch = self._work.popleft()
        self._failures = 0
        self.figures.last_error = reason
        if len(batch) > 1:
            middle = len(batch) // 2
            self._work.extendleft((batch[middle:], batch[:middle]))
            return
        one = batch[0]
        self.figures.refused += 1
        held = self._held.get(one.record)
        failures = 1 + (held.failures if held is not None else 0)
        if failures >= self.settings.attempts or len(self._held) >= MAX_HELD_BACK:
            self._bury = (one, reason)
        else:
            self._held[one.record] = _HeldBack(one.version, failures, now_s + self._backoff.after(failures))

    def unavailable(self, reason: str, now_s: float) -> None:
        """Take in that the store cannot be reached: what was taken is dropped, and taken again, newer perhaps."""
        self._work.clear()
        self._failures += 1
        self._wait_out(reason, now_s + self._backoff.after(self._failures), "waiting for the database")

    def cache_failed(self, reason: str, now_s: float) -> None:
        """Take in that a shard could not be asked. What the store has is offered to it again: that changes nothing."""
        self._work.clear()
        self._remove, self._bury = [], None
        self.is_drained = False
        self._cache_failures += 1
        self._wait_out(reason, now_s + self._backoff.after(self._cache_failures), "waiting for the cache")

    def _wait_out(self, reason: str, until_s: float,
                  state: Literal["waiting for the database", "waiting for the cache"]) -> None:
        self._pause_until_s = until_s
        self.figures.outages += 1
        self.figures.last_error, self.figures.state = reason, state

    def removed(self, now_s: float) -> None:
        """Take in that the shards have removed the batch, or buried the one."""
        if self._remove:
            for one in self._remove:
                self._held.pop(one.record, None)
            self._remove = []
        elif self._bury is not None:
            self._held.pop(self._bury[0].record, None)
            self._bury = None
            self.figures.buried += 1
