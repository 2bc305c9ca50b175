"""How fast does one process read 1,000 keys at once? `get_many` over four shards beside `RedisCluster.mget_nonatomic`.

Closed loop, one process, 100-byte values. The baseline is redis-py on a Redis Cluster of three nodes on the same
machine. Every batch draws other keys, so neither side profits from having seen a batch before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from redis.cluster import RedisCluster

from benchmarks.harness.product import running_cluster
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Plan, Step, idle_check, interleave
from benchmarks.harness.servers import HOST, redis_cluster
from benchmarks.harness.stats import median, paired_ratios

NAME = "get_many"
MEMORY_BYTES = 512 * 1024 * 1024
SHARDS = 4
REDIS_NODES = 3
KEYS = 50_000
BATCH = 1_000
BATCHES = 100
VALUE_BYTES = 100
RATE_GOAL = Goal(">=", 400_000)
RATIO_GOAL = Goal(">=", 3.0)

OURS, THEIRS = "get_many on 4 shards", "mget_nonatomic on 3 Redis nodes"


def steps(plan: Plan) -> int:
    """Return how many steps `run` reports."""
    return 1 + 2 * plan.rounds


def run(plan: Plan, step: Step) -> Outcome:
    """Time batches of both clients in turns."""
    step("starting four shards and a Redis Cluster of three")
    outcome = Outcome(
        NAME, facts={"value_bytes": VALUE_BYTES, "keys": KEYS, "batch": BATCH, "busy_cores_before": idle_check()}
    )
    rng = random.Random(plan.seed)
    values = {f"key:{number:012d}": rng.randbytes(VALUE_BYTES) for number in range(KEYS)}
    batches = [rng.sample(list(values), BATCH) for _ in range(plan.size(BATCHES))]
    with (
        running_cluster(SHARDS, MEMORY_BYTES) as product,
        redis_cluster(REDIS_NODES) as ports,
        product.connect() as cache,
    ):
        client = RedisCluster(host=HOST, port=ports[0])
        try:
            cache.set_many(values)
            client.mset_nonatomic(values)
            calls: dict[str, Callable[[list[str]], object]] = {OURS: cache.get_many, THEIRS: client.mget_nonatomic}
            _check(cache.get_many(batches[0]), client.mget_nonatomic(batches[0]), batches[0], values)
            _measure(calls, batches, plan, step, outcome)
        finally:
            client.close()
    return outcome


def time_batches(call: Callable[[list[str]], object], batches: list[list[str]]) -> list[float]:
    """Return the milliseconds of each batch, one after the other."""
    clock = time.perf_counter_ns
    spent_ns = []
    for batch in batches:
        began = clock()
        call(batch)
        spent_ns.append(clock() - began)
    return [nanoseconds / 1e6 for nanoseconds in spent_ns]


def keys_per_second(batches_ms: list[float], batch: int = BATCH) -> float:
    """Return the throughput of one round: all its keys over all its time, the slow batches included."""
    return len(batches_ms) * batch / (sum(batches_ms) / 1000)


def _check(ours: dict[str, object], theirs: list[object], batch: list[str], values: dict[str, bytes]) -> None:
    """Warm-up: both sides give the same right answers."""
    expected = {key: values[key] for key in batch}
    if ours != expected or dict(zip(batch, theirs, strict=True)) != expected:
        raise AssertionError("a batch does not read back")


def _measure(
    calls: dict[str, Callable[[list[str]], object]], batches: list[list[str]], plan: Plan, step: Step, outcome: Outcome
) -> None:
    for call in calls.values():
        time_batches(call, batches[:5])
    sides = {name: lambda call=call: time_batches(call, batches) for name, call in calls.items()}
    rounds = interleave(sides, plan.rounds, step)
    rates = {name: [keys_per_second(samples) for samples in results] for name, results in rounds.items()}
    for name, results in rounds.items():
        outcome.series.append(Series(f"1,000 keys, {name}", "ms", [value for samples in results for value in samples]))
        outcome.series.append(Series(name, "keys/s", rates[name]))
    ratios = paired_ratios(rates[OURS], rates[THEIRS])
    outcome.figures.append(
        Figure("get_many of 1,000 keys over 4 shards", RATE_GOAL, median(rates[OURS]), "keys/s", tuple(rates[OURS]))
    )
    figure = "get_many over RedisCluster.mget_nonatomic on 3 nodes"
    outcome.figures.append(Figure(figure, RATIO_GOAL, median(ratios), "x", tuple(ratios)))
