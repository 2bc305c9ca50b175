"""How long does one `get` take from Python? The handle beside redis-py on Redis 7, alone and under a foreign load.

Closed loop, one process, one connection each, 100-byte values over 10,000 keys, both over loopback TCP, each call timed
on its own. Under load: `redis-benchmark` with 20 connections works on the very shard that the handle asks.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import redis

from benchmarks.harness import load
from benchmarks.harness.product import running_cluster
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Plan, Step, idle_check, interleave
from benchmarks.harness.servers import HOST, info, redis_server
from benchmarks.harness.stats import median, paired_ratios, percentile

NAME = "handle_get"
MEMORY_BYTES = 256 * 1024 * 1024
KEYS = 10_000
VALUE_BYTES = 100
CALLS = 20_000
CALLS_LOADED = 10_000
LOAD = ("-t", "get,set", "-c", "20", "-d", str(VALUE_BYTES), "-r", "100000", "-n", "50000")
RATIO_GOAL = Goal("<=", 0.85)
LOADED_GOAL = Goal("<", 1.0)

OURS, THEIRS = "handle on one shard", "redis-py on Redis"
Get = Callable[[str], object]


def steps(plan: Plan) -> int:
    """Return how many steps `run` reports."""
    return 1 + 2 * 2 * plan.rounds


def run(plan: Plan, step: Step) -> Outcome:
    """Time single gets of both clients in turns: first alone, then with the load on the server that is asked."""
    step("starting one shard and one Redis")
    outcome = Outcome(
        NAME,
        facts={"value_bytes": VALUE_BYTES, "keys": KEYS, "load": " ".join(LOAD), "busy_cores_before": idle_check()},
    )
    rng = random.Random(plan.seed)
    values = {f"key:{number:012d}": rng.randbytes(VALUE_BYTES) for number in range(KEYS)}
    with (
        running_cluster(1, MEMORY_BYTES) as product,
        redis_server() as redis_port,
        product.connect() as cache,
        redis.Redis(host=HOST, port=redis_port) as client,
    ):
        cache.set_many(values)
        client.mset(values)
        gets: dict[str, tuple[Get, int]] = {OURS: (cache.get, product.ports[0]), THEIRS: (client.get, redis_port)}
        for get, _ in gets.values():
            warm_up(get, values)
        _alone(gets, rng, plan, step, outcome)
        _loaded(gets, rng, plan, step, outcome)
    return outcome


def warm_up(get: Get, values: dict[str, bytes]) -> None:
    """Read every key once, and make sure that what is timed afterwards gives the right answers."""
    for key, value in values.items():
        if get(key) != value:
            raise AssertionError(f"{key} does not read back")


def time_calls(get: Get, keys: list[str]) -> list[float]:
    """Return the microseconds of each `get`, one after the other."""
    clock = time.perf_counter_ns
    spent_ns = []
    for key in keys:
        began = clock()
        get(key)
        spent_ns.append(clock() - began)
    return [nanoseconds / 1000 for nanoseconds in spent_ns]


def _alone(gets: dict[str, tuple[Get, int]], rng: random.Random, plan: Plan, step: Step, outcome: Outcome) -> None:
    keys = _draw_keys(rng, plan.size(CALLS))
    sides = {name: lambda get=get: time_calls(get, keys) for name, (get, _) in gets.items()}
    rounds = interleave(sides, plan.rounds, step)
    for percent, label in ((50.0, "p50"), (99.0, "p99")):
        ours, theirs = ([percentile(samples, percent) for samples in rounds[name]] for name in (OURS, THEIRS))
        ratios = paired_ratios(ours, theirs)
        outcome.figures.append(
            Figure(
                f"handle get of 100 bytes, {label} over redis-py on Redis 7",
                RATIO_GOAL,
                median(ratios),
                "x",
                tuple(ratios),
            )
        )
    for name, samples in rounds.items():
        outcome.series.append(Series(f"get, {name}", "us", np.concatenate(samples).tolist()))


def _loaded(gets: dict[str, tuple[Get, int]], rng: random.Random, plan: Plan, step: Step, outcome: Outcome) -> None:
    keys = _draw_keys(rng, plan.size(CALLS_LOADED))
    loads: dict[str, list[float]] = {name: [] for name in gets}

    def side(name: str, get: Get, port: int) -> Callable[[], list[float]]:
        def measure() -> list[float]:
            with _load(port, loads[name]):
                time_calls(get, keys[: len(keys) // 20])  # the load takes a moment to connect
                return time_calls(get, keys)

        return measure

    rounds = interleave({f"{name}, loaded": side(name, *end) for name, end in gets.items()}, plan.rounds, step)
    for (name, samples), rates in zip(rounds.items(), loads.values(), strict=True):
        outcome.series.append(Series(f"get, {name}", "us", np.concatenate(samples).tolist()))
        outcome.series.append(Series(f"load on it, {name}", "commands/s", rates))
    p99_ms = [percentile(samples, 99) / 1000 for samples in rounds[f"{OURS}, loaded"]]
    figure = "handle get, p99 while redis-benchmark -c 20 loads the same shard"
    outcome.figures.append(Figure(figure, LOADED_GOAL, median(p99_ms), "ms", tuple(p99_ms)))


@contextmanager
def _load(port: int, rates: list[float]) -> Iterator[None]:
    """Load the server on `port`, and note the commands a second it answered to everybody: proof of the load."""
    with load.background(port, LOAD):
        before, began_s = int(info(port)["total_commands_processed"]), time.monotonic()
        yield
        rates.append((int(info(port)["total_commands_processed"]) - before) / (time.monotonic() - began_s))


def _draw_keys(rng: random.Random, count: int) -> list[str]:
    return [f"key:{rng.randrange(KEYS):012d}" for _ in range(count)]
