"""`redis-benchmark -t get,set` on one shard and on one shard per core, beside one Redis 7, pipelined and not.

What lives here: the parts `tool` and `shards`. What does not: running the tool (`harness.load`). Closed loop, 50
connections. The tool takes a core, too: with one shard per core, three processes share two on a machine that has two.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.fast.amount import Amount
from benchmarks.harness import load
from benchmarks.harness.parts import Part
from benchmarks.harness.product import running_cluster, running_ray
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check, interleave
from benchmarks.harness.servers import redis_server
from benchmarks.harness.stats import median, paired_ratios

MEMORY_BYTES: Final = 256 * 1024 * 1024
TESTS: Final = ("get", "set")
SPREAD_KEYS: Final = ("-d", "100", "-r", "100000")


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to call redis-benchmark."""

    label: str
    options: tuple[str, ...]
    requests: int
    at_least: float | None
    """Our throughput over that of Redis; None: shown without a goal."""

    def figure(self, test: str) -> str:
        """Return the name of the figure of one test."""
        return f"redis-benchmark -t {test} {self.label}, over one Redis 7"

    def goals(self) -> dict[str, Goal]:
        """Return the goals of its figures."""
        return {} if self.at_least is None else {self.figure(test): Goal(">=", self.at_least) for test in TESTS}


ONE: Final = (
    Shape("-c 50, one shard", ("-c", "50"), 200_000, 1.0),
    Shape("-c 50 -P 16, one shard", ("-c", "50", "-P", "16"), 1_000_000, 0.8),
    Shape("-c 50 -P 16 -d 100 -r 100000, one shard", ("-c", "50", "-P", "16", *SPREAD_KEYS), 1_000_000, None),
)
MANY: Final = (Shape("-c 50 -P 16, one shard per core", ("-c", "50", "-P", "16"), 1_000_000, 1.0),)


def run(shapes: tuple[Shape, ...], shards: int, amount: Amount, step: Step) -> Outcome:
    """Measure every shape in turns on a cluster of `shards` and on one Redis."""
    name = "tool" if shards == 1 else "shards"
    outcome = Outcome(name, facts={"shards": shards, "cores": os.cpu_count(), "busy_cores_before": idle_check()})
    step("starting the shards and one Redis")
    with running_ray(), running_cluster(shards, MEMORY_BYTES * shards) as product, redis_server() as redis_port:
        for shape in shapes:
            outcome.facts[shape.label] = " ".join(_words(shape, amount))
            theirs, ours = _words(shape, amount), _words(shape, amount)
            if shards > 1:  # the tool finds the others itself
                ours = ("--cluster", *ours)
            sides: dict[str, Callable[[], dict[str, load.Run]]] = {
                f"raycache {shape.label}": partial(load.run, product.ports[0], ours),
                f"Redis {shape.label}": partial(load.run, redis_port, theirs),
            }
            for measure in sides.values():
                measure()  # warm-up: page faults, the adaptive interpreter, first-time paths
            _report(shape, interleave(sides, amount.rounds, step), outcome)
    return outcome


def _words(shape: Shape, amount: Amount) -> tuple[str, ...]:
    return ("-t", ",".join(TESTS), *shape.options, "-n", str(amount.size(shape.requests)))


def _report(shape: Shape, rounds: dict[str, list[dict[str, load.Run]]], outcome: Outcome) -> None:
    ours, theirs = rounds.values()
    for test in TESTS:
        our_rps, their_rps = [one[test].rps for one in ours], [one[test].rps for one in theirs]
        outcome.series.append(Series(f"{test} {shape.label}, raycache", "requests/s", our_rps))
        outcome.series.append(Series(f"{test} {shape.label}, Redis", "requests/s", their_rps))
        ratios = paired_ratios(our_rps, their_rps)
        if shape.at_least is None:
            outcome.series.append(Series(f"{test} {shape.label}, ratio", "x Redis", ratios))
        else:
            goal = Goal(">=", shape.at_least)
            outcome.figures.append(Figure(shape.figure(test), goal, median(ratios), "x", tuple(ratios)))


def _part(name: str, about: str, shapes: tuple[Shape, ...], shards: int) -> Part[Amount]:
    goals = {figure: goal for shape in shapes for figure, goal in shape.goals().items()}
    return Part(name, about, lambda a: (8 if a.quick else 45) * len(shapes), lambda a: 1 + len(shapes) * 2 * a.rounds,
                partial(run, shapes, shards), goals)


TOOL: Final = _part("tool", "redis-benchmark on one shard beside Redis 7", ONE, 1)
SHARDS: Final = _part("shards", "the same on one shard per core", MANY, max(2, os.cpu_count() or 1))
