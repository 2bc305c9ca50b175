"""Read-through: what is asked of whom, counted and compared, on a clock moved by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from raycache.demo.database import AirportDatabase, Question
from raycache.demo.reader import CHECK_EVERY, REPORT_EVERY_S, Reader
from raycache.demo.workload import question_of
from raycache.errors import OutOfMemoryError, ShardUnavailableError

AIRPORTS = 49


class FakeClock:
    """Moves by `step_s` whenever it is read."""

    def __init__(self, step_s: float = 0.001) -> None:
        self.now_s = 100.0
        self.step_s = step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


class FakeCache:
    """A dict that can refuse."""

    def __init__(self) -> None:
        self.entries: dict[str, Any] = {}
        self.refuses_get: Exception | None = None
        self.refuses_set: Exception | None = None

    def get(self, key: str) -> Any:
        if self.refuses_get:
            raise self.refuses_get
        return self.entries.get(key)

    def set(self, key: str, value: Any) -> None:
        if self.refuses_set:
            raise self.refuses_set
        self.entries[key] = value


@pytest.fixture
def cache() -> FakeCache:
    return FakeCache()


@pytest.fixture
def reader(cache: FakeCache, database: AirportDatabase) -> Reader:
    return Reader(cache, database, clock=FakeClock())


def test_a_miss_asks_the_database_and_keeps_the_answer(
    reader: Reader, cache: FakeCache, database: AirportDatabase
) -> None:
    question = question_of(3, AIRPORTS)
    assert reader.read(3) == cache.entries[question.key] == database.answer(question)
    tally = reader.take()
    assert (tally.hits, tally.misses, tally.failures) == (0, 1, 0)


def test_a_hit_does_not_ask_the_database(cache: FakeCache, database: AirportDatabase) -> None:
    asked: list[Question] = []

    class Counting:
        airports = database.airports

        def answer(self, question: Question) -> dict[str, Any]:
            asked.append(question)
            return database.answer(question)

    reader = Reader(cache, Counting(), clock=FakeClock())  # type: ignore[arg-type]
    assert reader.read(3) == reader.read(3)
    assert len(asked) == 1
    tally = reader.take()
    assert (tally.hits, tally.misses) == (1, 1)


def test_what_each_latency_spans(reader: Reader) -> None:
    # The clock moves 1 ms each time it is read: at the beginning, after the GET, at the end.
    reader.read(3)
    tally = reader.take()
    assert tally.gets.percentile_s(50) == pytest.approx(0.001, rel=0.02)
    assert tally.reads.percentile_s(50) == pytest.approx(0.002, rel=0.02)
    assert tally.queries.count == 0


def test_of_so_many_reads_one_is_timed_without_the_cache_and_compared(reader: Reader) -> None:
    for _ in range(2 * CHECK_EVERY):
        reader.read(3)
    tally = reader.take()
    assert (tally.checked, tally.wrong, tally.queries.count) == (2, 0, 2)


def test_a_wrong_answer_from_the_cache_is_found(reader: Reader, cache: FakeCache) -> None:
    for _ in range(CHECK_EVERY - 1):
        reader.read(3)
    cache.entries[question_of(3, AIRPORTS).key]["radius_km"] = 300.0  # equal, but no longer an int
    reader.read(3)
    assert (reader.take().checked, reader.take().checked) == (1, 0)
    reader.read(3)


def test_a_wrong_answer_is_counted(reader: Reader, cache: FakeCache) -> None:
    cache.entries[question_of(3, AIRPORTS).key] = {"something": "else"}
    for _ in range(CHECK_EVERY):
        reader.read(3)
    assert reader.take().wrong == 1


def test_a_miss_is_not_counted_as_compared(cache: FakeCache, database: AirportDatabase) -> None:
    reader = Reader(cache, database, clock=FakeClock())
    for number in range(CHECK_EVERY):
        cache.entries.clear()
        reader.read(number % AIRPORTS)
    tally = reader.take()
    assert (tally.checked, tally.queries.count) == (0, 1)


def test_a_full_shard_does_not_stop_a_reader(reader: Reader, cache: FakeCache) -> None:
    cache.refuses_set = OutOfMemoryError("OOM")
    assert reader.read(3) == reader.read(3)
    tally = reader.take()
    assert (tally.misses, tally.failures) == (2, 2)


def test_a_shard_that_is_away_does_not_stop_a_reader(reader: Reader, cache: FakeCache) -> None:
    cache.refuses_get = ShardUnavailableError("gone")
    assert reader.read(3)["airport"]
    tally = reader.take()
    assert (tally.misses, tally.failures) == (1, 1)


def test_a_run_ends_with_its_numbers(reader: Reader) -> None:
    tallies = list(reader.run(iter(range(40)), seconds=None))
    assert sum(tally.lookups for tally in tallies) == 40


def test_a_run_ends_with_its_time_and_reports_meanwhile(cache: FakeCache, database: AirportDatabase) -> None:
    clock = FakeClock(step_s=REPORT_EVERY_S / 8)
    reader = Reader(cache, database, clock=clock)
    begin_s = clock.now_s
    tallies = list(reader.run(itertools.cycle(range(AIRPORTS)), seconds=5.0))
    assert 5.0 <= clock.now_s - begin_s < 5.5
    # Each read takes half a report's time here.
    assert len(tallies) == pytest.approx(5.0 / REPORT_EVERY_S, rel=0.3)
    assert all(tally.lookups for tally in tallies[:-1])
