"""What do more shards bring, and what do more copies cost? raycache beside a Redis Cluster.

Each number of shards and copies has servers of its own. A Redis Cluster has three nodes at least. Where copies vary
there are three shards, and half the requests are writes: those are what copies cost.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

from benchmarks.harness.report import Outcome
from benchmarks.harness.rounds import Plan, Step, idle_check
from benchmarks.suite.crew import Crew
from benchmarks.suite.names import CLUSTERS
from benchmarks.suite.points import Task, scaling
from benchmarks.suite.sides import Wish, running
from benchmarks.suite.sweep import Sweep, rounds

NAME = "scaling"


def steps(plan: Plan) -> int:
    """Return how many steps `run` reports."""
    tasks = scaling(plan.quick)
    return len({_wish(task) for task in tasks}) + len(tasks) * (1 + rounds(plan))


def run(plan: Plan, step: Step) -> Outcome:
    """Measure every point on both clusters in turns."""
    outcome = Outcome(NAME, facts={"busy_cores_before": idle_check(), "sides": list(CLUSTERS)})
    records: list[dict[str, Any]] = []
    with Crew() as crew:
        for wish, tasks in groupby(scaling(plan.quick), _wish):
            step(f"starting {wish.shards} shards with {wish.copies} copies")
            with running(CLUSTERS, wish) as sides:
                for side in sides:
                    crew.open(side.name, side.target)
                sweep = Sweep(crew, sides, plan, step)
                sweep.run(list(tasks))
            records += sweep.records
    outcome.records = records
    return outcome


def _wish(task: Task) -> Wish:
    return Wish(shards=task.point.shards, copies=task.point.copies)
