"""How much of the way from LRU to the offline optimum does `policy="auto"` go, and is it ever worse than LRU?

The store is stepped as a shard steps it, at 500 requests a second, so that the trial caches see all they want. The
same at 20,000 a second, where they rest most of the time, stands beside it.
"""

from __future__ import annotations

from typing import Final

from benchmarks.harness.parts import Part
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step
from benchmarks.hits.amount import Amount
from benchmarks.hits.policies import Job, in_processes, points_of
from benchmarks.hits.traces import Point, Replayed, replay

SLOW: Final = 500
FAST: Final = 20_000
ENOUGH: Final = 0.01
"""Part of the keys: from here on it may never be worse than LRU."""
CLOSED: Final = "auto, part of the gap between LRU and the optimum that is closed"
WORST: Final = "auto, most below LRU at 1 % of the keys or more"
GOALS: Final = {CLOSED: Goal(">=", 0.25), WORST: Goal("<=", 0.5)}


def _replay(job: Job) -> Replayed:
    point, per_s = job
    return replay(point, "auto", per_s)


def _closed(points: list[Point], hits: list[int]) -> float:
    """Return the mean gain over the mean gap: each point counts by how much there was to gain."""
    gap = sum((point.optimum - point.lru) / point.requests for point in points)
    return sum((own - point.lru) / point.requests for point, own in zip(points, hits, strict=True)) / gap


def run(amount: Amount, step: Step) -> Outcome:
    """Replay at every capacity in entries."""
    points = amount.reference().of("entries")
    jobs = [(point, per_s) for per_s in (SLOW, FAST) for point in points]
    replayed = in_processes(jobs, _replay, step, lambda job: f"{job[0]}, {job[1]:,} a second")
    outcome = Outcome("auto", facts={"replays": {}})
    for per_s, part in ((SLOW, replayed[: len(points)]), (FAST, replayed[len(points) :])):
        gains = [points_of(point, found.hits) for point, found in zip(points, part, strict=True)]
        worst = max(-gain for gain, point in zip(gains, points, strict=True) if point.fraction >= ENOUGH)
        closed = _closed(points, [found.hits for found in part])
        if per_s == SLOW:
            outcome.figures = [
                Figure(CLOSED, GOALS[CLOSED], closed, ""),
                Figure(WORST, GOALS[WORST], worst, "points", tuple(-gain for gain in gains)),
            ]
        outcome.series += [
            Series(f"{per_s:,} a second, hit ratio above LRU's", "points", gains),
            Series(f"{per_s:,} a second, part of the gap closed", "", [closed]),
            Series(f"{per_s:,} a second, most below LRU", "points", [worst]),
        ]
        for point, found, gain in zip(points, part, gains, strict=True):
            outcome.facts["replays"][f"{point}, {per_s:,} a second"] = {
                "hits": found.hits, "points_above_lru": gain, "changes": found.changes, "serving": found.serving,
                "optimum_above_lru": points_of(point, point.optimum),
            }  # fmt: skip
    return outcome


PART: Final = Part("auto", "policy=\"auto\" between LRU and the optimum", lambda a: 15 if a.quick else 150,
                   lambda a: 2 * len(a.reference().of("entries")), run, GOALS)
