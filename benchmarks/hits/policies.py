"""How many hits does each policy get on recorded traces? Against other implementations, LRU and the offline optimum.

LRU, FIFO, plain LFU, SIEVE and S3-FIFO leave no freedom: any difference is a fault. ARC and W-TinyLFU differ between
implementations. Everything here is counted, not timed, and the same on every machine.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Final

from benchmarks.harness.parts import Part
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step
from benchmarks.hits.amount import Amount
from benchmarks.hits.traces import Point, Replayed, replay

EXACT: Final = {"lru": "LRU", "fifo": "FIFO", "plain-lfu": "LFU", "sieve": "SIEVE", "s3-fifo": "S3FIFO"}
ARC: Final = "ARC (FAST 2003 pseudo-code)"
DIFFER: Final = "replays of lru, fifo, plain-lfu, sieve and s3-fifo that differ from the reference"
ARC_OFF: Final = "arc, furthest from the reference"
ARC_WORST: Final = "arc, most below LRU"
TINYLFU: Final = "w-tinylfu, fewer misses than LRU, mean"
GOALS: Final = {
    DIFFER: Goal("<=", 0), ARC_OFF: Goal("<=", 0.5), ARC_WORST: Goal("<=", 1.0), TINYLFU: Goal(">=", 3.0),
}  # fmt: skip

Job = tuple[Any, ...]


def in_processes(jobs: Iterable[Job], work: Callable[[Job], Any], step: Step, name: Callable[[Job], str]) -> list[Any]:
    """Do all jobs, one process a core; return what came of them, in order."""
    found, jobs = [], list(jobs)
    with ProcessPoolExecutor(os.cpu_count(), initializer=gc.disable) as processes:
        for job, result in zip(jobs, processes.map(work, jobs), strict=True):
            step(name(job))
            found.append(result)
    return found


def points_of(point: Point, hits: int) -> float:
    """Return by how many points the hit ratio is above that of LRU."""
    return 100 * (hits - point.lru) / point.requests


def _jobs(points: Sequence[Point]) -> list[Job]:
    exact = [(point, policy) for point in points for policy, name in EXACT.items() if point.exact(name) is not None]
    return exact + [(point, policy) for point in points if point.unit == "entries" for policy in ("arc", "w-tinylfu")]


def _replay(job: Job) -> Replayed:
    return replay(*job)


def run(amount: Amount, step: Step) -> Outcome:
    """Replay everything."""
    jobs = _jobs(amount.reference().points)
    replayed = in_processes(jobs, _replay, step, lambda job: f"{job[1]}, {job[0]}")
    outcome = Outcome("policies", facts={"hits": {}})
    differing, gains, arc_off = 0, dict[str, list[float]](), list[float]()
    for (point, policy), found in zip(jobs, replayed, strict=True):
        outcome.facts["hits"][f"{policy}, {point}"] = found.hits
        gains.setdefault(policy, []).append(points_of(point, found.hits))
        if policy in EXACT:
            differing += found.hits != point.exact(EXACT[policy])
        elif policy == "arc":
            arc_off.append(100 * abs(found.hits - point.known["near_hits"][ARC]) / point.requests)
    outcome.figures = [
        Figure(DIFFER, GOALS[DIFFER], differing, f"of {sum(policy in EXACT for _, policy in jobs)}"),
        Figure(ARC_OFF, GOALS[ARC_OFF], max(arc_off), "points", tuple(arc_off)),
        Figure(ARC_WORST, GOALS[ARC_WORST], -min(gains["arc"]), "points", tuple(-gain for gain in gains["arc"])),
        Figure(TINYLFU, GOALS[TINYLFU], sum(gains["w-tinylfu"]) / len(gains["w-tinylfu"]), "points",
               tuple(gains["w-tinylfu"])),
    ]  # fmt: skip
    outcome.series = [
        Series(f"{policy}, hit ratio above LRU's", "points", gains[policy]) for policy in gains if policy != "lru"
    ]
    return outcome


PART: Final = Part("policies", "hits on the traces against other implementations", lambda a: 10 if a.quick else 100,
                   lambda a: len(_jobs(a.reference().points)), run, GOALS)
