"""Scaling 3 -> 4 -> 3 under load, with a million entries: what moves, what is missed, how long reads take meanwhile.

What lives here: the parts `scale` (one copy) and `scale-copies` (two). `raycache scale --json` says what moved; the
generators, which know what every key must hold, say what was missed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from benchmarks.failover.kills import NONE, total
from benchmarks.failover.strike import crew_for
from benchmarks.harness.parts import Part
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check
from benchmarks.harness.sites import Cluster, cluster_on, one_machine
from benchmarks.harness.stats import percentile
from benchmarks.rescale.amount import Amount
from benchmarks.traffic import findings
from benchmarks.traffic.crew import Crew, Harvest
from benchmarks.traffic.findings import Counts

SHARDS: Final = 3
# In all shards together, for one copy: room for the entries twice over, so that nothing is evicted and missed for that.
MEMORY_BYTES: Final = 1_200 << 20
BEFORE_S: Final = 10.0
AFTERWARDS_S: Final = 2.0
VALUE_BYTES: Final = 100
MOVED_GOAL: Final = Goal("<=", 1.05)
SLOWER_GOAL: Final = Goal("<=", 2.0)


@dataclass(frozen=True, slots=True)
class Move:
    """One change of the number of shards."""

    change: dict[str, Any]
    """As `raycache scale --json` says it."""
    share: float
    """Entries moved, over all entries and copies."""
    took_s: float
    p99_before_ms: float
    p99_during_ms: float
    counts: Counts
    lost_writes: int
    errors: dict[str, int]


def run(copies: int, amount: Amount, step: Step) -> Outcome:
    """Scale out and in again under load."""
    outcome = Outcome("scale" if copies == 1 else "scale-copies",
                      facts={"entries": amount.entries, "value_bytes": VALUE_BYTES, "copies": copies,
                             "busy_cores_before": idle_check()})
    step("starting Ray with four raylets, and three shards on it")
    with one_machine(SHARDS + 1) as site, \
            cluster_on(site, shards=SHARDS, memory_bytes=MEMORY_BYTES * copies, copies=copies) as cluster, \
            crew_for(cluster, amount.seed, keys=amount.entries) as crew:
        step(f"writing {amount.entries:,} entries")
        crew.fill()
        for shards in (SHARDS + 1, SHARDS):
            name = f"{SHARDS} -> {SHARDS + 1}" if shards > SHARDS else f"{SHARDS + 1} -> {SHARDS}"
            step(name)
            move = scale(cluster, crew, shards, amount.entries * copies)
            _judge(outcome, _prefix(name, copies), move)
            outcome.facts[name] = {"change": move.change, "errors": move.errors}
    return outcome


def scale(cluster: Cluster, crew: Crew, shards: int, entries: int) -> Move:
    """Change the number of shards while the load goes on."""
    crew.go()
    time.sleep(BEFORE_S)
    began_s = time.monotonic()
    change = cluster.site.driver.tell("scale", name=cluster.name, shards=shards)["change"]
    ended_s = time.monotonic()
    time.sleep(AFTERWARDS_S)
    crew.calm()
    harvest = crew.harvest()
    lost = crew.verify().lost_writes
    return Move(change, change["entries"] / entries, ended_s - began_s,
                _p99(harvest, began_s - BEFORE_S + 1, began_s), _p99(harvest, began_s, ended_s),
                findings.count(harvest.records), lost, harvest.errors)


def _p99(harvest: Harvest, from_s: float, to_s: float) -> float:
    return percentile(findings.read_times_ms(findings.between(harvest.records, from_s, to_s)), 99)


def _judge(outcome: Outcome, prefix: str, move: Move) -> None:
    moved, missed, slower = _names(prefix)
    # From n shards to n + 1 and back: each time, the slots of one of n + 1.
    share = move.share * (SHARDS + 1)
    ratio = move.p99_during_ms / move.p99_before_ms
    counts = move.counts
    missing = counts.missing_reads + counts.older_reads + counts.failed_reads + move.change["misses"]
    outcome.figures += [Figure(moved, MOVED_GOAL, share, "x"), total(missed, [missing, move.lost_writes], "keys"),
                        Figure(slower, SLOWER_GOAL, ratio, "x")]
    outcome.series += [
        Series(f"{prefix}: {what}", unit, [float(number)]) for what, unit, number in (
            ("share of entries moved", "x", move.share), ("took", "s", move.took_s),
            ("p99 of GET before", "ms", move.p99_before_ms), ("p99 of GET during", "ms", move.p99_during_ms),
            ("reads of nothing", "reads", counts.missing_reads), ("reads too old", "reads", counts.older_reads),
            ("failed reads", "reads", counts.failed_reads), ("failed writes", "writes", counts.failed_writes),
            ("acknowledged writes lost", "writes", move.lost_writes),
            ("misses reported", "reads", move.change["misses"]),
            ("operations", "operations", counts.reads + counts.writes),
        )
    ]


def _prefix(name: str, copies: int) -> str:
    return f"scale {name}, copies={copies}"


def _names(prefix: str) -> tuple[str, str, str]:
    return (f"{prefix}: entries moved, over 1/{SHARDS + 1} of all", f"{prefix}: extra misses and lost writes",
            f"{prefix}: p99 of GET during, over before")


def _goals(copies: int) -> dict[str, Goal]:
    goals: dict[str, Goal] = {}
    for name in (f"{SHARDS} -> {SHARDS + 1}", f"{SHARDS + 1} -> {SHARDS}"):
        moved, missed, slower = _names(_prefix(name, copies))
        goals |= {moved: MOVED_GOAL, missed: NONE, slower: SLOWER_GOAL}
    return goals


PARTS = (
    Part("scale", "3 -> 4 -> 3 with a million entries, one copy", lambda a: 30 if a.quick else 140, lambda a: 4,
         partial(run, 1), _goals(1)),
    Part("scale-copies", "the same with two copies", lambda a: 40 if a.quick else 400, lambda a: 4, partial(run, 2),
         _goals(2)),
)
