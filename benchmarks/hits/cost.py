"""What does watching look-ups cost a shard? The curve, and `policy="auto"`, each beside the same shard without it.

Four clusters of one shard each, with 100,000 keys of 100 bytes, are asked in turns by `redis-benchmark -t get -P 16 -c
50`. The figure is throughput; the CPU time of the shard's process for each command, which does not depend on who else
has the other core, stands beside it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import redis

import raycache
from benchmarks.harness import load
from benchmarks.harness.machine import listening_pid
from benchmarks.harness.parts import Part
from benchmarks.harness.product import running_ray
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check, interleave
from benchmarks.harness.servers import HOST
from benchmarks.harness.stats import median, paired_ratios
from benchmarks.hits.amount import Amount
from raycache.curves.shards import MOST_KEYS

KEYS: Final = 100_000
MEMORY_BYTES: Final = 64 << 20
"""More than half full with these keys, so that "auto" has something to try; nothing is evicted."""
OPTIONS: Final = ("-c", "50", "-P", "16", "-d", "100", "-r", str(KEYS))
SETTLE_S: Final = 5.0
"""Until samples have the size that the load allows."""
CURVE: Final = "miss-ratio curve, throughput of get that it costs"
GOALS: Final = {CURVE: Goal("<", 2.0)}
SIDES: Final = {"plain": ("lru", 0), "curve": ("lru", MOST_KEYS), "w-tinylfu": ("w-tinylfu", 0), "auto": ("auto", 0)}
"""Policy, and keys in the sample of the curve."""

Sample = tuple[float, float]
"""Requests a second, and microseconds of CPU time for each."""


@contextmanager
def _running(policy: str, curve_keys: int) -> Iterator[int]:
    """Run a cluster of one full shard; yield its port."""
    name = f"bench-{os.getpid()}-{policy}-{curve_keys}"
    status = raycache.start(name, shards=1, memory=MEMORY_BYTES, policy=policy, bind=HOST)
    try:
        port = int(status.shards[0].address.rpartition(":")[2])
        with redis.Redis(HOST, port) as client:
            client.config_set("rc-curve-keys", curve_keys)
        load.run(port, ("-t", "set", *OPTIONS, "-n", str(10 * KEYS)))
        yield port
    finally:
        raycache.stop(name)


def _side(port: int, requests: int) -> Callable[[], Sample]:
    pid = listening_pid(port)

    def measure() -> Sample:
        before_s = _cpu_s(pid)
        done = load.run(port, ("-t", "get", *OPTIONS, "-n", str(requests)))
        return done["get"].rps, (_cpu_s(pid) - before_s) / requests * 1e6

    return measure


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(amount: Amount, step: Step) -> Outcome:
    """Measure all sides in turns."""
    outcome = Outcome("cost", facts={"options": OPTIONS, "busy_cores_before": idle_check()})
    with ExitStack() as stack:
        stack.enter_context(running_ray())
        sides: dict[str, Callable[[], Sample]] = {}
        for name, (policy, curve_keys) in SIDES.items():
            step(f"filling a shard: {name}")
            sides[name] = _side(stack.enter_context(_running(policy, curve_keys)), amount.requests)
        for measure in sides.values():
            until_s = time.monotonic() + SETTLE_S
            while time.monotonic() < until_s:
                measure()
        found = interleave(sides, amount.rounds, step)
    for name, samples in found.items():
        outcome.series.append(Series(f"{name}, get", "requests/s", [rps for rps, _ in samples]))
        outcome.series.append(Series(f"{name}, CPU time of the shard", "us/request", [us for _, us in samples]))
    for watched, beside in (("curve", "plain"), ("auto", "w-tinylfu")):
        lost = [100 * (1 - ratio) for ratio in _ratios(found, watched, beside, 0)]
        if watched == "curve":
            outcome.figures.append(Figure(CURVE, GOALS[CURVE], median(lost), "%", tuple(lost)))
        outcome.series.append(Series(f"{watched} beside {beside}, throughput lost", "%", lost))
        more = [100 * (ratio - 1) for ratio in _ratios(found, watched, beside, 1)]
        outcome.series.append(Series(f"{watched} beside {beside}, more CPU time", "%", more))
    return outcome


def _ratios(found: dict[str, list[Sample]], ours: str, beside: str, place: int) -> list[float]:
    return paired_ratios([sample[place] for sample in found[ours]], [sample[place] for sample in found[beside]])


PART: Final = Part("cost", "throughput that the curve costs, and auto", lambda a: 60 if a.quick else 150,
                   lambda a: len(SIDES) * (1 + a.rounds), run, GOALS)
