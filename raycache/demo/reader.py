"""One reader: asks the cache, on a miss the database, and counts.

What lives here: the read-through that any application writes, with a stopwatch around it. What does not: Ray (`job`
runs readers as tasks) and the order of the questions (`workload`). One thread uses a reader.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from raycache.demo.database import AirportDatabase, Question
from raycache.demo.tally import Tally
from raycache.demo.workload import question_of
from raycache.errors import RetryableError

CHECK_EVERY = 50
"""Of so many reads one is also done without the cache, timed, and compared. More would slow down what is measured."""

REPORT_EVERY_S = 0.25


class ReadThroughCache(Protocol):
    """The two calls that a reader makes."""

    def get(self, key: str) -> Any: ...

    def set(self, key: str, value: Any) -> None: ...


class Reader:
    """Reads answers through the cache.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(
        self, cache: ReadThroughCache, database: AirportDatabase, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._cache = cache
        self._database = database
        self._airports = database.airports()
        self._clock = clock
        self._asked = 0
        self._tally = Tally()

    def read(self, number: int) -> dict[str, Any]:
        """Return the answer to question `number`, from the cache or else from the database."""
        question = question_of(number, self._airports)
        begin_s = self._clock()
        answer = self._cached(question)
        is_hit = answer is not None
        self._tally.gets.record(self._clock() - begin_s)
        if answer is None:
            self._tally.misses += 1
            answer = self._database.answer(question)
            self._keep(question, answer)
        else:
            self._tally.hits += 1
        self._tally.reads.record(self._clock() - begin_s)
        self._asked += 1
        if self._asked % CHECK_EVERY == 0:
            self._sample(question, answer if is_hit else None)
        return answer

    def run(self, numbers: Iterator[int], seconds: float | None) -> Iterator[Tally]:
        """Read `numbers` for `seconds` (None: to their end); yield what was counted, in parts."""
        begin_s = last_s = self._clock()
        for number in numbers:
            self.read(number)
            now_s = self._clock()
            if seconds is not None and now_s - begin_s >= seconds:
                break
            if now_s - last_s >= REPORT_EVERY_S:
                last_s = now_s
                yield self.take()
        yield self.take()

    def take(self) -> Tally:
        """Return what was counted since the last call."""
        tally, self._tally = self._tally, Tally()
        return tally

    def _cached(self, question: Question) -> dict[str, Any] | None:
        try:
            answer: dict[str, Any] | None = self._cache.get(question.key)
        except RetryableError:
            self._tally.failures += 1
            return None
        return answer

    def _keep(self, question: Question, answer: dict[str, Any]) -> None:
        try:
            self._cache.set(question.key, answer)
        except RetryableError:
            self._tally.failures += 1

    def _sample(self, question: Question, cached: dict[str, Any] | None) -> None:
        """Do the same read without the cache. What came from the cache must equal it, types and all."""
        begin_s = self._clock()
        fresh = self._database.answer(question)
        self._tally.queries.record(self._clock() - begin_s)
        if cached is not None:
            self._tally.checked += 1
            self._tally.wrong += repr(fresh) != repr(cached)
