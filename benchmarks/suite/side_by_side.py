"""How do all sides behave as connections, keys, reads, sizes, entries and the rate of arrivals change?

One shard, one copy; a closed loop, and an open one with arrivals at a constant rate. One thing changes at a time, from
a base of 8 connections, 100-byte values, 100,000 keys drawn uniformly, and 95 reads in 100 requests.
"""

from __future__ import annotations

from benchmarks.harness.report import Outcome, Series
from benchmarks.harness.rounds import Plan, Step, idle_check
from benchmarks.suite.crew import Crew
from benchmarks.suite.names import ALL
from benchmarks.suite.points import closed_and_open
from benchmarks.suite.sides import Wish, running
from benchmarks.suite.sweep import Sweep, rounds

NAME = "side_by_side"


def steps(plan: Plan) -> int:
    """Return how many steps `run` reports."""
    return 1 + len(closed_and_open(plan.quick)) * (1 + rounds(plan))


def run(plan: Plan, step: Step) -> Outcome:
    """Measure every point on all sides in turns."""
    step("starting everything")
    outcome = Outcome(NAME, facts={"busy_cores_before": idle_check()})
    with running(ALL, Wish()) as sides, Crew() as crew:
        for side in sides:
            crew.open(side.name, side.target)
        outcome.facts |= {"sides": [side.name for side in sides], "generators": crew.size}
        sweep = Sweep(crew, sides, plan, step)
        sweep.run(closed_and_open(plan.quick))
    outcome.records = sweep.records
    outcome.series += [Series(f"base, {kept['side']}", "requests/s", kept["rps_rounds"])
                       for kept in sweep.records if kept["dimension"] == "base" and "rps_rounds" in kept]
    return outcome
