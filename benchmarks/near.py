"""What does a read cost that the process answers itself? A near hit beside a `get` from the shard, and their upkeep.

Closed loop, one process, one thread, 100-byte values over 10,000 keys, each call timed on its own: a handle with
`near="64MiB"` whose values are all here, and a handle without, on the same shard. Then how long a change takes to be
heard of: from the return of a write by another handle to the first read here that sees it.
"""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np

import raycache
from benchmarks.handle_get import time_calls, warm_up
from benchmarks.harness.product import Product, running_cluster
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Plan, Step, idle_check, interleave
from benchmarks.harness.stats import median, paired_ratios, percentile

NAME = "near"
MEMORY_BYTES = 256 * 1024 * 1024
NEAR = "64MiB"
KEYS = 10_000
VALUE_BYTES = 100
CALLS = 50_000
REMOTE_CALLS = 10_000
CHANGES = 1_000
HIT_GOAL = Goal("<", 2.0)
RATIO_GOAL = Goal(">=", 30.0)

HERE, THERE = "near hit", "get from the shard"


def steps(plan: Plan) -> int:
    """Return how many steps `run` reports."""
    return 1 + 3 * plan.rounds


def run(plan: Plan, step: Step) -> Outcome:
    """Time near hits and remote reads in turns, and how long a change takes to arrive."""
    step("starting one shard")
    outcome = Outcome(
        NAME,
        facts={"value_bytes": VALUE_BYTES, "keys": KEYS, "near": NEAR, "busy_cores_before": idle_check()},
    )
    rng = random.Random(plan.seed)
    values = {f"key:{number:012d}": rng.randbytes(VALUE_BYTES) for number in range(KEYS)}
    with (
        running_cluster(1, MEMORY_BYTES) as product,
        product.connect() as remote,
        _near_handle(product) as near,
    ):
        remote.set_many(values)
        warm_up(remote.get, values)
        _bring_near(near, values)
        hits = [f"key:{rng.randrange(KEYS):012d}" for _ in range(plan.size(CALLS))]
        reads = [f"key:{rng.randrange(KEYS):012d}" for _ in range(plan.size(REMOTE_CALLS))]
        changes = plan.size(CHANGES)
        rounds = interleave(
            {
                HERE: lambda: _time_hits(near, hits),
                THERE: lambda: time_calls(remote.get, reads),
                "change": lambda: _time_changes(remote, near, changes),
            },
            plan.rounds,
            step,
        )
    _judge(rounds, outcome)
    return outcome


def _near_handle(product: Product) -> raycache.Cache:
    # A sign of life may be late on a machine that is measured: what is timed are hits, so none must be too old.
    return raycache.connect(product.name, near=NEAR, max_staleness_s=60.0)


def _bring_near(near: raycache.Cache, values: dict[str, bytes]) -> None:
    """Read every key until all of them are here."""
    for _ in range(100):
        warm_up(near.get, values)
        stats = near.stats().near
        if stats is not None and stats.entries == len(values):
            return
        time.sleep(0.05)  # the link is being made
    raise AssertionError("the values do not come near")


def _time_hits(near: raycache.Cache, keys: list[str]) -> list[float]:
    """Return the microseconds of each `get`; all of them must have been answered here."""
    for key in set(keys):
        near.get(key)  # what a change has taken away comes back
    before = near.stats().near
    spent_us = time_calls(near.get, keys)
    after = near.stats().near
    if before is None or after is None or after.misses != before.misses:
        raise AssertionError("not every read was answered here")
    return spent_us


def _time_changes(writer: raycache.Cache, near: raycache.Cache, count: int) -> list[float]:
    """Return, for each change, the microseconds from the return of its `set` until a near read sees it."""
    clock = time.perf_counter_ns
    spent_ns = []
    for number in range(count):
        value: Any = b"%0100d" % number
        key = f"key:{number % KEYS:012d}"
        near.get(key)
        writer.set(key, value)
        began = clock()
        while near.get(key) != value:
            pass
        spent_ns.append(clock() - began)
    return [nanoseconds / 1000 for nanoseconds in spent_ns]


def _judge(rounds: dict[str, list[list[float]]], outcome: Outcome) -> None:
    here, there = ([percentile(samples, 50.0) for samples in rounds[name]] for name in (HERE, THERE))
    outcome.figures.append(Figure("near hit, 100 bytes, p50", HIT_GOAL, median(here), "us", tuple(here)))
    ratios = paired_ratios(there, here)
    outcome.figures.append(
        Figure("get from the shard over a near hit, p50", RATIO_GOAL, median(ratios), "x", tuple(ratios))
    )
    for name, samples in rounds.items():
        label = "write returned until a near read sees it" if name == "change" else name
        outcome.series.append(Series(label, "us", np.concatenate(samples).tolist()))
