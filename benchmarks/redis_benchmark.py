"""How fast is one shard to a foreign load tool? `redis-benchmark -t get,set -c 50` and `-P 16`, beside Redis 7.

Closed loop, 50 connections. The goals are judged on the plain commands of the tool (3-byte values, one key). The same
with 100-byte values over 100,000 keys is measured too and shown beside them, without a goal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.harness import load
from benchmarks.harness.product import running_cluster
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Plan, Step, idle_check, interleave
from benchmarks.harness.servers import redis_server
from benchmarks.harness.stats import median, paired_ratios

NAME = "redis_benchmark"
MEMORY_BYTES = 256 * 1024 * 1024
TESTS = ("get", "set")
SPREAD_KEYS = ("-d", "100", "-r", "100000")


@dataclass(frozen=True, slots=True)
class Shape:
    """One way to call redis-benchmark."""

    label: str
    options: tuple[str, ...]
    requests: int
    at_least: float | None
    """Our throughput over that of Redis; None: shown without a goal."""


SHAPES = (
    Shape("-c 50", ("-c", "50"), 200_000, 0.95),
    Shape("-c 50 -P 16", ("-c", "50", "-P", "16"), 1_000_000, 0.6),
    Shape("-c 50 -d 100 -r 100000", ("-c", "50", *SPREAD_KEYS), 200_000, None),
    Shape("-c 50 -P 16 -d 100 -r 100000", ("-c", "50", "-P", "16", *SPREAD_KEYS), 1_000_000, None),
)


def steps(plan: Plan) -> int:
    """Return how many steps `run` reports."""
    return 1 + len(SHAPES) * 2 * plan.rounds


def run(plan: Plan, step: Step) -> Outcome:
    """Measure every shape in turns on a cluster of one shard and on Redis."""
    step("starting one shard and one Redis")
    outcome = Outcome(NAME, facts={"tests": list(TESTS), "busy_cores_before": idle_check()})
    with running_cluster(1, MEMORY_BYTES) as product, redis_server() as redis_port:
        for shape in SHAPES:
            _measure(shape, {"raycache": product.ports[0], "redis": redis_port}, plan, step, outcome)
    return outcome


def _measure(shape: Shape, ports: dict[str, int], plan: Plan, step: Step, outcome: Outcome) -> None:
    options = ("-t", ",".join(TESTS), *shape.options, "-n", str(plan.size(shape.requests)))
    outcome.facts[shape.label] = " ".join(("redis-benchmark", *options))

    def side(port: int) -> Callable[[], dict[str, load.Run]]:
        return lambda: load.run(port, options)

    sides = {f"{name} {shape.label}": side(port) for name, port in ports.items()}
    for measure in sides.values():
        measure()  # warm-up: page faults, the adaptive interpreter, first-time paths
    ours, theirs = interleave(sides, plan.rounds, step).values()
    for test in TESTS:
        our_rps, their_rps = [round_[test].rps for round_ in ours], [round_[test].rps for round_ in theirs]
        outcome.series.append(Series(f"{test} {shape.label}, raycache", "requests/s", our_rps))
        outcome.series.append(Series(f"{test} {shape.label}, Redis", "requests/s", their_rps))
        ratios = paired_ratios(our_rps, their_rps)
        if shape.at_least is None:
            outcome.series.append(Series(f"{test} {shape.label}, ratio", "x Redis", ratios))
        else:
            figure = f"redis-benchmark -t {test} {shape.label}, one shard over Redis 7"
            outcome.figures.append(Figure(figure, Goal(">=", shape.at_least), median(ratios), "x", tuple(ratios)))
