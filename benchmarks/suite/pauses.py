"""How long does a server that is full and evicts make one wait? A probe every millisecond, beside a load of writes.

One process writes new keys at a constant rate, so that everybody evicts as much; another asks for a key a thousand
times a second at its times, whether or not the last answer is there. Who stands still for 20 ms makes twenty probes
wait. The same on the raw echo shows what of it is the machine's and the clients' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from benchmarks.harness.report import Outcome
from benchmarks.harness.rounds import Plan, Step, idle_check
from benchmarks.suite.crew import Crew, order
from benchmarks.suite.names import ECHO, MEMCACHED, RAYCACHE, REDIS
from benchmarks.suite.points import BASE
from benchmarks.suite.samples import PAUSE_EDGES_MS, Sample, counts_by_length, record
from benchmarks.suite.sides import MIB, Side, Wish, running
from benchmarks.suite.sweep import rounds

NAME = "pauses"
SIDES: Final = (RAYCACHE, REDIS, MEMCACHED, ECHO)
MEMORY_BYTES: Final = 256 * MIB
QUICK_MEMORY_BYTES: Final = 48 * MIB
SMALLEST_ENTRY_BYTES: Final = 160
"""So many entries are written as would fit if each took this with its key and value: more than anybody can keep."""
WRITES: Final = replace(BASE, connections=8, read_percent=0, rate=4_000)
PROBES: Final = replace(BASE, connections=4, read_percent=100, rate=1_000, entries=1)
ROUND_S: Final = 3.0
QUICK_ROUND_S: Final = 0.5


def steps(plan: Plan) -> int:
    """Return how many steps `run` reports."""
    return 1 + len(SIDES) + rounds(plan)


def run(plan: Plan, step: Step) -> Outcome:
    """Fill all past what they may hold, then probe them in turns while they evict."""
    step("starting everything")
    memory_bytes = QUICK_MEMORY_BYTES if plan.quick else MEMORY_BYTES
    filled = memory_bytes // SMALLEST_ENTRY_BYTES
    round_s = QUICK_ROUND_S if plan.quick else ROUND_S
    outcome = Outcome(NAME, facts={"busy_cores_before": idle_check(), "memory_bytes": memory_bytes, "written": filled,
                                   "writes_per_s": WRITES.rate, "probes_per_s": PROBES.rate, "round_s": round_s})
    with running(SIDES, Wish(memory_bytes=memory_bytes, is_full=True)) as sides, Crew(2) as crew:
        for side in sides:
            step(f"filling {side.name} past its memory")
            crew.open(side.name, side.target)
            crew.fill(side.name, filled, WRITES.value_bytes)
        outcome.records = _rounds(crew, sides, plan, step, filled, round_s)
    return outcome


def _rounds(crew: Crew, sides: Sequence[Side], plan: Plan, step: Step, filled: int,
            round_s: float) -> list[dict[str, Any]]:
    probes: dict[str, list[Sample]] = {side.name: [] for side in sides}
    writes: dict[str, list[Sample]] = {side.name: [] for side in sides}
    for number in range(1, rounds(plan) + 1):
        step(f"round {number} of {rounds(plan)}")
        first = filled + (number - 1) * round(WRITES.rate * round_s)
        for side in sides:
            written, probed = crew.at_once([
                order(side.name, WRITES, round_s, plan.seed + number, law="new", first=first),
                # The keys that are asked for were written last before the round: they may be evicted in it.
                order(side.name, PROBES, round_s, plan.seed + number, first=first - PROBES.held),
            ])
            probes[side.name].append(probed)
            writes[side.name].append(written)
    return [_record(side.name, probes[side.name], writes[side.name]) for side in sides]


def _record(side: str, probes: Sequence[Sample], writes: Sequence[Sample]) -> dict[str, Any]:
    waits = np.concatenate([sample.waits_ns for sample in probes])
    return {"dimension": "pauses", "value": None, "side": side, "edges_ms": list(PAUSE_EDGES_MS),
            "counts": counts_by_length(waits), "writes": record(writes)} | record(probes)
