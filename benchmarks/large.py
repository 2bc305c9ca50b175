"""What does a large array cost? `get` and `set` of 64 MB of float64 beside redis-py with pickle, and beside `np.load`.

Closed loop, one process on the shards' machine. Ours goes through Ray's object store (docs/large.md): `set` returns
when the shard owns the object, so that it outlives this process; `get` returns a read-only view. redis-py pickles with
protocol 5 and copies through a socket twice. `np.load` copies a file that is in memory already (tmpfs); with
`mmap_mode` it maps it, which is what a view amounts to. Because neither a view nor a map has touched the pages yet,
each is also measured with one element of every page read afterwards.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import redis

from benchmarks.harness.product import running_cluster
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Plan, Step, idle_check, interleave
from benchmarks.harness.servers import HOST, redis_server
from benchmarks.harness.stats import median, paired_ratios

NAME = "large"
ELEMENTS: Final = 8 * 1024 * 1024
MEMORY_BYTES: Final = 1024 * 1024 * 1024
GETS: Final = 30
SETS: Final = 10
KEYS: Final = 3
"""Written in turns, so that what a write replaces is not what was written just before."""
PAGE: Final = 4096 // 8

GET_RATIO_GOAL = Goal(">=", 100)
GET_GOAL = Goal("<", 1.0)
SET_RATIO_GOAL = Goal(">=", 1.2)

OURS, REDIS, FILE, MAP = "raycache", "redis-py with pickle", "np.load from tmpfs", "np.load(mmap_mode='r') from tmpfs"


def steps(plan: Plan) -> int:
    """Return how many steps `run` reports."""
    return 1 + 2 * 4 * plan.rounds + 2 * plan.rounds


def run(plan: Plan, step: Step) -> Outcome:
    """Time reads, reads that touch every page, and writes, all sides in turns."""
    step("starting one shard and one Redis")
    outcome = Outcome(NAME, facts={"bytes": ELEMENTS * 8, "gets": plan.size(GETS), "sets": plan.size(SETS),
                                   "busy_cores_before": idle_check()})  # fmt: skip
    array = np.random.default_rng(plan.seed).random(ELEMENTS)
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with (
        running_cluster(1, MEMORY_BYTES) as product,
        redis_server() as port,
        product.connect() as cache,
        redis.Redis(host=HOST, port=port) as client,
        tempfile.TemporaryDirectory(dir=folder) as files,
    ):
        path = Path(files) / "array.npy"
        np.save(path, array)
        cache.set("array", array)
        client.set("array", pickle.dumps(array, 5))
        reads: dict[str, Callable[[], Any]] = {
            OURS: lambda: cache.get("array"), REDIS: lambda: pickle.loads(client.get("array")),  # type: ignore[arg-type]
            FILE: lambda: np.load(path), MAP: lambda: np.load(path, mmap_mode="r"),
        }  # fmt: skip
        for name, read in reads.items():
            if not np.array_equal(read(), array):
                raise AssertionError(f"{name} does not read back")
        _time_reads(reads, plan, step, outcome)
        _time_writes({
            OURS: lambda key: cache.set(key, array), REDIS: lambda key: client.set(key, pickle.dumps(array, 5)),
        }, plan, step, outcome)  # fmt: skip
        shard = next(iter(cache.stats().shards))
        outcome.facts["object_bytes_after"] = shard.object_bytes
        if shard.object_bytes < ELEMENTS * 8:
            raise AssertionError("the array is not in the object store")
    return outcome


def milliseconds(call: Callable[[int], Any], count: int) -> list[float]:
    """Return how long each of `count` calls took; what it returned is let go of outside of that."""
    clock, spent = time.perf_counter_ns, []
    for number in range(count):
        began = clock()
        result = call(number)
        spent.append((clock() - began) / 1e6)
        del result
    return spent


def _time_reads(reads: dict[str, Callable[[], Any]], plan: Plan, step: Step, outcome: Outcome) -> None:
    count = plan.size(GETS)
    plain = {name: lambda read=read: milliseconds(lambda _: read(), count) for name, read in reads.items()}
    rounds = interleave(plain, plan.rounds, step)
    medians = {name: [median(samples) for samples in results] for name, results in rounds.items()}
    for name, results in rounds.items():
        outcome.series.append(Series(f"get, {name}", "ms", [one for samples in results for one in samples]))
    ratios = paired_ratios(medians[REDIS], medians[OURS])
    outcome.figures += [
        Figure("get of 64 MB, redis-py with pickle over ours", GET_RATIO_GOAL, median(ratios), "x", tuple(ratios)),
        Figure("get of 64 MB after the first", GET_GOAL, median(medians[OURS]), "ms", tuple(medians[OURS])),
    ]
    touched = {name: lambda read=read: milliseconds(lambda _: read()[::PAGE].sum(), count)
               for name, read in reads.items()}  # fmt: skip
    for name, results in interleave(touched, plan.rounds, step).items():
        outcome.series.append(Series(f"get and touch, {name}", "ms", [one for samples in results for one in samples]))


def _time_writes(writes: dict[str, Callable[[str], Any]], plan: Plan, step: Step, outcome: Outcome) -> None:
    for write in writes.values():  # warm-up: memory that is written for the first time costs twice as much
        for number in range(KEYS):
            write(f"key{number}")
    count = plan.size(SETS)
    sides = {name: lambda write=write: milliseconds(lambda at: write(f"key{at % KEYS}"), count)
             for name, write in writes.items()}  # fmt: skip
    rounds = interleave(sides, plan.rounds, step)
    for name, results in rounds.items():
        outcome.series.append(Series(f"set, {name}", "ms", [one for samples in results for one in samples]))
    medians = {name: [median(samples) for samples in results] for name, results in rounds.items()}
    ratios = paired_ratios(medians[REDIS], medians[OURS])
    outcome.figures.append(
        Figure("set of 64 MB, redis-py with pickle over ours", SET_RATIO_GOAL, median(ratios), "x", tuple(ratios)))
