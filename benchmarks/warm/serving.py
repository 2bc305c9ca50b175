"""Warming while the database also serves others: what they feel, with the feedback and without it.

The database is the demo's: a SQLite file of 28,000 airports, whose question takes a millisecond or two of honest work.
Two processes ask it 40 questions a second each, all the time. The warming loads 10,000 keys into a cluster of two
shards; its `load_many` asks for the keys of a batch through eight connections at once, as programs do that want to be
quick, and no delay or rate is set. Both sides load the same keys with the same function into an empty cluster. The one
has the bound (`max_latency_ms`) and a probe that asks what the others ask; the other has neither.

The bound is `BOUND_FACTOR` times the p99 that the others have while nobody warms, measured at the start of the run: a
bound in milliseconds would be lax on one machine and out of reach on another. It is the same for all rounds.
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.parts import Part
from benchmarks.harness.product import running_cluster, running_ray
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check
from benchmarks.harness.stats import median, percentile
from benchmarks.warm.amount import Amount
from benchmarks.warm.foreign import watched
from benchmarks.warm.other_clients import RADIUS_KM, OtherClients, other_clients, question
from raycache import Cache, WarmReport, WarmSettings, warm
from raycache.demo.database import AirportDatabase, Question, build, load_records

BOUND_FACTOR: Final = 4.0
LEAST_BOUND_MS: Final = 5.0
HEADROOM: Final = 0.6
"""The controller is given this share of the bound: it looks at the slowest tenth of a window, the bound is on the
slowest hundredth of all, and what it learns comes after the fact."""
CONNECTIONS: Final = 8
FOREIGN_CORES: Final = 0.3
"""A round during which other programs kept more of the machine busy than this is shown and not judged: the others' p99
is theirs then, and no pace of the warming keeps a bound that was measured without them."""
MEMORY_BYTES: Final = 256 << 20
WITH: Final = "others' p99 while 10,000 keys are warmed with feedback, over the bound"
WITHOUT: Final = "the same without feedback"
GOALS: Final = {WITH: Goal("<=", 1.0), WITHOUT: Goal(">=", 1.0)}


class Loader:
    """Asks the database for many keys through several connections at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(CONNECTIONS)

    def load_many(self, keys: list[str]) -> dict[str, Any]:
        """Return the answers to the questions that `keys` stand for."""
        return dict(zip(keys, self._pool.map(self._load, keys), strict=True))

    def _load(self, key: str) -> dict[str, Any]:
        _, airport, radius = key.split(":")
        return self.connection().answer(Question(int(airport), int(radius)))

    def connection(self) -> AirportDatabase:
        """Return this thread's connection."""
        if not hasattr(self._own, "database"):
            self._own.database = AirportDatabase(self._path)
        database: AirportDatabase = self._own.database
        return database

    def close(self) -> None:
        """End the threads; their connections go with them."""
        self._pool.shutdown()


@dataclass(frozen=True, slots=True)
class Round:
    """One warming: what others felt, and what it did."""

    latencies_ms: list[float]
    report: WarmReport
    foreign_cores: float = 0.0
    """Cores that were busy with programs that are no part of this."""

    @property
    def p99_ms(self) -> float:
        return percentile(self.latencies_ms, 99)


def run(amount: Amount, step: Step) -> Outcome:
    """Measure both sides in turns."""
    facts = {"busy_cores_before": idle_check(), "keys": amount.keys, "sqlite": sqlite3.sqlite_version,
             "headroom": HEADROOM, "factor": BOUND_FACTOR}  # fmt: skip
    outcome = Outcome("serving", facts=facts)
    step("building the database, starting Ray and a cluster of two shards")
    with _database() as (path, airports), running_ray(), running_cluster(2, MEMORY_BYTES) as product, \
            product.connect() as cache, other_clients(path, airports, amount.seed) as others:
        keys = [f"surroundings:{number % airports}:{RADIUS_KM}" for number in
                random.Random(amount.seed).sample(range(airports), amount.keys)]
        step("the others alone")
        alone = _alone(others, amount.rest_s)
        bound_ms = max(LEAST_BOUND_MS, BOUND_FACTOR * percentile(alone, 99))
        outcome.facts["bound_ms"] = bound_ms
        outcome.series.append(Series("others alone", "ms", alone))
        rounds: dict[str, list[Round]] = {"with feedback": [], "without feedback": []}
        for number in range(1, amount.rounds + 1):
            for name, side in rounds.items():
                step(f"{name}, round {number} of {amount.rounds}")
                bound = HEADROOM * bound_ms if name == "with feedback" else None
                side.append(_warm(cache, path, airports, keys, bound, others))
        _judge(outcome, rounds, bound_ms)
    return outcome


def _alone(others: OtherClients, seconds: float) -> list[float]:
    others.begin()
    time.sleep(seconds)
    return others.end()


def _warm(cache: Cache, path: Path, airports: int, keys: list[str], bound_ms: float | None,
          others: OtherClients) -> Round:  # fmt: skip
    cache.clear()
    loader, rng = Loader(path), random.Random(7)
    settings = WarmSettings(delay_s=0, max_latency_ms=bound_ms)
    probe = (lambda: loader.connection().answer(question(rng, airports))) if bound_ms is not None else None
    with watched() as foreign:
        others.begin()
        try:
            report = warm(cache, keys, loader, settings=settings, probe=probe)
        finally:
            latencies_ms = others.end()
            loader.close()
    if report.loaded != len(keys):
        raise LookupError(f"{report.loaded} of {len(keys)} keys were loaded: {report.error or report.end}")
    return Round(latencies_ms, report, foreign.cores)


def _judge(outcome: Outcome, rounds: dict[str, list[Round]], bound_ms: float) -> None:
    for (name, side), figure in zip(rounds.items(), (WITH, WITHOUT), strict=True):
        ratios = [one.p99_ms / bound_ms for one in side if one.foreign_cores <= FOREIGN_CORES]
        value = median(ratios) if 2 * len(ratios) >= len(side) else None
        outcome.figures.append(Figure(figure, GOALS[figure], value, "x", tuple(ratios)))
        outcome.series.append(Series(f"others, {name}", "ms", [each for one in side for each in one.latencies_ms]))
        outcome.series.append(Series(f"keys a second, {name}", "1/s", [one.report.rate for one in side]))
        outcome.series.append(Series(f"foreign cores, {name}", "cores", [one.foreign_cores for one in side]))
        outcome.series.append(Series(f"times slowed down, {name}", "", [float(one.report.backoffs) for one in side]))


@contextmanager
def _database() -> Iterator[tuple[Path, int]]:
    with tempfile.TemporaryDirectory(prefix="raycache-bench-") as folder:
        path = Path(folder) / "airports.sqlite"
        yield path, build(path, load_records())


PARTS = (
    Part("serving", "warming while the database serves others", lambda a: 25 if a.quick else 20 + 70 * a.rounds,
         lambda a: 2 + 2 * a.rounds, run, GOALS),
)
