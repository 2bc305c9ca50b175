"""What a second copy costs: redis-benchmark SET -c 50 on a primary with a replica, over the same without one.

Two clusters of two shards stand side by side and are measured in turns; the idle one costs next to nothing. All
requests go to the one shard that owns the tool's key, as with a single server: the other is its replica, or idle. The
goal is judged on the plain command of the tool; 100-byte values over 100,000 keys of one slot stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks.harness import load
from benchmarks.harness.parts import Part
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check, interleave
from benchmarks.harness.sites import Cluster, cluster_on, one_machine
from benchmarks.harness.stats import median, paired_ratios
from benchmarks.harness.watch import Watcher
from benchmarks.rescale.amount import Amount
from raycache.ring.slots import slot_of

MEMORY_BYTES: Final = 512 << 20
FIGURE: Final = "redis-benchmark SET -c 50, copies=2 over copies=1"
GOAL: Final = Goal(">=", 0.7)
PLAIN: Final = ("-t", "set", "-c", "50")
PLAIN_KEY: Final = b"key:__rand_int__"
"""What the tool writes where no -r is given: these very bytes."""
SPREAD_TAG: Final = b"bench"
SPREAD: Final = ("-c", "50", "-r", "100000", "SET", "key:{bench}:__rand_int__", "x" * 100)
SHAPES: Final = (("SET -c 50", PLAIN, PLAIN_KEY), ("SET -c 50, 100 bytes, 100,000 keys", SPREAD, SPREAD_TAG))


def run(amount: Amount, step: Step) -> Outcome:
    """Measure both clusters in turns."""
    outcome = Outcome("throughput", facts={"commands": [" ".join(PLAIN), " ".join(SPREAD)], "requests": amount.requests,
                                           "busy_cores_before": idle_check()})
    step("starting Ray with two raylets, and two clusters of two shards on it")
    with one_machine(2) as site, \
            cluster_on(site, name="one", shards=2, memory_bytes=MEMORY_BYTES) as one, \
            cluster_on(site, name="two", shards=2, memory_bytes=MEMORY_BYTES, copies=2) as two:
        for label, options, key in SHAPES:
            ratios = _measure(outcome, label, options, key, {"copies=2": two, "copies=1": one}, amount, step)
            if options is PLAIN:
                outcome.figures.append(Figure(FIGURE, GOAL, median(ratios), "x", tuple(ratios)))
    return outcome


def _measure(outcome: Outcome, label: str, options: tuple[str, ...], key: bytes, clusters: dict[str, Cluster],
             amount: Amount, step: Step) -> list[float]:
    sides = {f"{label}, {name}": _side(_port_of(cluster, key), ("-n", str(amount.requests), *options))
             for name, cluster in clusters.items()}
    for measure in sides.values():
        measure()  # warm-up
    rates = interleave(sides, amount.rounds, step)
    ours, alone = rates.values()
    ratios = paired_ratios(ours, alone)
    for name, samples in rates.items():
        outcome.series.append(Series(name, "requests/s", samples))
    outcome.series.append(Series(f"{label}, ratio", "x", ratios))
    return ratios


def _side(port: int, options: tuple[str, ...]) -> Callable[[], float]:
    def measure() -> float:
        (done,) = load.run(port, options).values()
        return done.rps

    return measure


def _port_of(cluster: Cluster, key: bytes) -> int:
    """Return where the primary of `key` listens."""
    with Watcher(cluster.addresses, cluster.secret) as watcher:
        shard = watcher.topology().primary_of(slot_of(key))
    assert shard is not None
    return shard.port


PARTS = (
    Part("throughput", "redis-benchmark SET on two copies and on one", lambda a: 30 if a.quick else 110,
         lambda a: 1 + 4 * a.rounds, run, {FIGURE: GOAL}),
)
