"""1,000 callers in 8 processes ask for one key that has expired; to load it takes 200 ms. How many load, who waits?

Ours, the lock that articles recommend (on our gateway, and on Redis), dogpile.cache and cashews on Redis, in turns.
The processes are Ray actors; each has the same number of callers, threads or tasks as the library has it. Before a
round the key is loaded, and has expired; every caller has used its connection. All start at one moment.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import ray

from benchmarks.harness.parts import Part
from benchmarks.harness.product import running_cluster, running_ray
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check, interleave
from benchmarks.harness.servers import redis_server
from benchmarks.harness.stats import median, percentile
from benchmarks.herd.amount import LOAD_S, PROCESSES, Amount
from benchmarks.herd.sides import OURS, SIDES, TTL_S, Loads
from raycache.cluster_status import ClusterStatus

MEMORY_BYTES: Final = 256 << 20
START_IN_S: Final = 0.5
"""Until every process has its order, and every thread stands at the barrier."""
ONE_LOAD: Final = Goal("<=", 1)
WAIT_GOAL: Final = Goal("<=", 1.2 * LOAD_S * 1000)
GOALS: Final = {f"{what} of the herd, {side}": goal
                for side in OURS for what, goal in (("loads", ONE_LOAD), ("p99 wait", WAIT_GOAL))}


class Herd:
    """One process of the herd."""

    def __init__(self, callers: int) -> None:
        self._callers = callers
        self._loads: dict[str, Loads] = {}
        self._gets: dict[str, Any] = {}
        self._threads = ThreadPoolExecutor(callers)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def prepare(self, side: str, target: str) -> None:
        """Make a side ready: its connections are open when this returns."""
        make, _, is_async = SIDES[side]
        loads = self._loads[side] = Loads()
        self._gets[side] = make(target, loads)
        self.run(side, time.time() + START_IN_S if not is_async else time.time())

    def run(self, side: str, start_s: float) -> tuple[int, list[float]]:
        """Let all callers ask at `start_s` (unix time); return how many loads there were here, and each one's wait."""
        loads, get, is_async = self._loads[side], self._gets[side], SIDES[side][2]
        loads.count = 0
        waits = self._in_tasks(get, start_s) if is_async else self._in_threads(get, start_s)
        return loads.count, waits

    def _in_threads(self, get: Any, start_s: float) -> list[float]:
        def call() -> float:
            time.sleep(max(0.0, start_s - time.time()))
            began_s = time.monotonic()
            get()
            return time.monotonic() - began_s

        return [each.result() for each in [self._threads.submit(call) for _ in range(self._callers)]]

    def _in_tasks(self, get: Any, start_s: float) -> list[float]:
        async def call() -> float:
            began_s = time.monotonic()
            await get()
            return time.monotonic() - began_s

        async def all_of_them() -> list[float]:
            await asyncio.sleep(max(0.0, start_s - time.time()))
            return await asyncio.gather(*[call() for _ in range(self._callers)])

        return asyncio.run_coroutine_threadsafe(all_of_them(), self._loop).result()


def run(amount: Amount, step: Step) -> Outcome:
    """Send the herd through every side, in turns."""
    step("starting Ray, a cluster of two shards, a Redis, and eight processes")
    each = amount.callers // PROCESSES
    outcome = Outcome("stampede", facts={"processes": PROCESSES, "callers": each * PROCESSES, "load_s": LOAD_S,
                                         "ttl_s": TTL_S, "busy_cores_before": idle_check()})
    with running_ray(cpus=PROCESSES), running_cluster(2, MEMORY_BYTES) as product, redis_server() as redis_port:
        status: ClusterStatus = product.status()
        targets = {"cluster": product.name, "gateway": status.gateways[0].rpartition(":")[2], "redis": str(redis_port)}
        herd = [ray.remote(Herd).options(num_cpus=0).remote(each) for _ in range(PROCESSES)]
        for side, (_, works_on, _) in SIDES.items():
            ray.get([one.prepare.remote(side, targets[works_on]) for one in herd])
        rounds = interleave({side: lambda side=side: _round(herd, side) for side in SIDES}, amount.rounds, step)
    for side, results in rounds.items():
        _report(outcome, side, results)
    return outcome


def _round(herd: list[Any], side: str) -> tuple[int, list[float]]:
    ray.get(herd[0].run.remote(side, time.time()))  # it is there now,
    time.sleep(TTL_S + 0.3)  # and has expired now
    start_s = time.time() + START_IN_S
    results = ray.get([one.run.remote(side, start_s) for one in herd])
    return sum(loads for loads, _ in results), [wait for _, waits in results for wait in waits]


def _report(outcome: Outcome, side: str, results: list[tuple[int, list[float]]]) -> None:
    loads = [float(count) for count, _ in results]
    p99_ms = [percentile(waits, 99) * 1000 for _, waits in results]
    outcome.series.append(Series(f"loads, {side}", "loads", loads))
    outcome.series.append(Series(f"wait, {side}", "ms", [wait * 1000 for _, waits in results for wait in waits]))
    outcome.series.append(Series(f"p99 of the wait, {side}", "ms", p99_ms))
    if side in OURS:
        outcome.figures.append(Figure(f"loads of the herd, {side}", ONE_LOAD, max(loads), "loads", tuple(loads)))
        outcome.figures.append(Figure(f"p99 wait of the herd, {side}", WAIT_GOAL, median(p99_ms), "ms", tuple(p99_ms)))


PART: Final = Part("stampede", "1,000 callers in 8 processes on one expired key", lambda a: 30 if a.quick else 100,
                   lambda a: 1 + len(SIDES) * a.rounds, run, GOALS)
