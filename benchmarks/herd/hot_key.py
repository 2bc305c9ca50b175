"""One key is read all the time for a minute and lives two seconds; to load it takes 20 ms. Does any caller wait for it?

Eight processes with four tasks each read it through `raycache.cached` every 20 ms or so, 1,600 times a second in all:
steadily, and below what the machine can do, so that a wait is a wait for the value and not for a core. Early refresh
(XFetch, beta 1) and the lease are on; jitter is off, so that an expiry is every two seconds.

Loads per expiry: all loads of the minute over the lifetimes that it has. Refreshing early costs some: the first of so
many readers decides to refresh when some ln(rate x load time) load times of the lifetime are left.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, Final

import ray

import raycache
from benchmarks.harness.parts import Part
from benchmarks.harness.product import running_cluster, running_ray
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check
from benchmarks.harness.stats import percentile
from benchmarks.herd.amount import PROCESSES, Amount

TTL_S: Final = 2.0
LOAD_S: Final = 0.02
TASKS: Final = 4
PAUSE_S: Final = 0.02
P99_GOAL: Final = Goal("<", 5.0)
LOADS_GOAL: Final = Goal("<=", 1.1)
P99: Final = "hot key with XFetch and the lease, p99 of a caller"
LOADS: Final = "hot key with XFetch and the lease, loads per expiry"


class Reader:
    """One process that reads the key."""

    def __init__(self, cluster: str, beta: float) -> None:
        self._loads = 0

        @raycache.cached(cluster, ttl=TTL_S, jitter=0, beta=beta, name="bench.hot")
        async def hot() -> int:
            self._loads += 1
            await asyncio.sleep(LOAD_S)
            return time.time_ns()

        self._hot = hot

    async def read(self, seconds: float, seed: int) -> tuple[list[float], int, list[int]]:
        """Read for so long; return each wait in seconds, the loads here, and the values seen."""
        rng = random.Random(seed)
        await self._hot()
        self._loads, end_s = 0, time.monotonic() + seconds
        waits: list[float] = []
        seen: set[int] = set()

        async def one() -> None:
            while (began_s := time.monotonic()) < end_s:
                seen.add(await self._hot())
                waits.append(time.monotonic() - began_s)
                await asyncio.sleep(PAUSE_S * (0.5 + rng.random()))

        await asyncio.gather(*[one() for _ in range(TASKS)])
        return waits, self._loads, sorted(seen)


def run(amount: Amount, step: Step) -> Outcome:
    """Keep the key hot: as it is meant, and without early refresh for comparison."""
    outcome = Outcome("hot_key", facts={"ttl_s": TTL_S, "load_s": LOAD_S, "readers": PROCESSES * TASKS,
                                        "seconds": amount.hot_s, "busy_cores_before": idle_check()})
    step("starting Ray, a cluster of two shards, and eight processes")
    with running_ray(cpus=PROCESSES), running_cluster(2, 256 << 20) as product:
        for beta, label in ((1.0, "XFetch and the lease"), (0.0, "the lease alone")):
            readers = [ray.remote(Reader).options(num_cpus=0).remote(product.name, beta) for _ in range(PROCESSES)]
            ray.get([reader.read.remote(0.5, 0) for reader in readers])
            step(f"{label}: {amount.hot_s:g} s")
            _report(outcome, label, amount, ray.get([reader.read.remote(amount.hot_s, amount.seed + number)
                                                     for number, reader in enumerate(readers)]))
            for reader in readers:
                ray.kill(reader)
    return outcome


def _report(outcome: Outcome, label: str, amount: Amount, results: list[Any]) -> None:
    waits_ms = [wait * 1000 for waits, _, _ in results for wait in waits]
    loads = sum(count for _, count, _ in results)
    values = len({value for _, _, seen in results for value in seen}) - 1
    outcome.series.append(Series(f"wait, {label}", "ms", waits_ms))
    outcome.series.append(Series(f"loads per value that came into use, {label}", "loads", [loads / max(1, values)]))
    per_expiry = loads / (amount.hot_s / TTL_S)
    if label.startswith("XFetch"):
        outcome.figures.append(Figure(P99, P99_GOAL, percentile(waits_ms, 99), "ms"))
        outcome.figures.append(Figure(LOADS, LOADS_GOAL, per_expiry, "loads"))
    else:
        outcome.series.append(Series(f"loads per expiry, {label}", "loads", [per_expiry]))


PART: Final = Part("hot_key", "one key with a TTL of 2 s, read for a minute", lambda a: 30 if a.quick else 140,
                   lambda a: 3, run, {P99: P99_GOAL, LOADS: LOADS_GOAL})
