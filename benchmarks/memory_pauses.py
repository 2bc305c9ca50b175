"""Does a full shard stay within its memory, and does its loop never stop? One million entries of 100 bytes, evicting.

The budget is chosen so that one million entries (16-byte keys, 100-byte values) fill it: a small probe asks a shard
what it charges for one. Then `redis-benchmark -t set` writes random new keys: past the million, then on while full. The
loop measures its own longest pause; resident memory is what Linux says of the shard's process (VmRSS), the bare process
included.

The hypervisor of a virtual machine may stop a core for 10 to 20 ms. No program on it can help that, and it is even
charged to the loop's own CPU time. Linux counts what was taken ("steal" in /proc/stat): a round with steal is shown but
not judged, and made again. Before each round a process that only looks at the clock shows what the machine does alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import msgpack
import redis

from benchmarks.harness import busy_loop, load, machine
from benchmarks.harness.product import Product, running_cluster
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import CalmRounds, Plan, Step, idle_check
from benchmarks.harness.servers import HOST
from raycache.shard.build import store_capacity

NAME = "memory_pauses"
ENTRIES = 1_000_000
KEY_BYTES, VALUE_BYTES = 16, 100
PROBE_MEMORY_BYTES = 256 * 1024 * 1024
PROBE_ENTRIES = 20_000
FILL = 1_300_000
CHURN = 300_000
PAUSE_GOAL = Goal("<=", 5.0)
MEMORY_GOAL = Goal("<=", 1.15)
SAMPLE_S = 0.05
CONTROL_MS = 1_000

# Keys of redis-benchmark are "key:" and twelve digits: 16 bytes. Out of a thousand million, hardly any comes twice.
WRITE = ("-t", "set", "-d", str(VALUE_BYTES), "-r", "1000000000")

EVICTING = {"evicting": ("-c", "50"), "evicting, -P 16": ("-c", "50", "-P", "16")}


@dataclass(frozen=True, slots=True)
class Pause:
    """The longest pause of one round, as the loop measured it."""

    wall_ms: float
    """How late the loop came for its own timer. The goal is judged on this, whoever was to blame."""
    cpu_ms: float
    """The longest stretch of CPU time that the loop itself spent between two looks: the part that is ours."""
    stolen_ms: float = 0.0
    """What the hypervisor took from this machine during the round, on all cores together."""

    @property
    def is_disturbed(self) -> bool:
        """Whether the hypervisor had a part in the round."""
        return self.stolen_ms > 0


def steps(plan: Plan) -> int:
    """Return how many steps `run` reports."""
    return 2 + 2 * plan.rounds


def run(plan: Plan, step: Step) -> Outcome:
    """Fill a shard of one million entries past its budget, then write on: pipelined and not, in turns."""
    outcome = Outcome(
        NAME, facts={"key_bytes": KEY_BYTES, "value_bytes": VALUE_BYTES, "busy_cores_before": idle_check()}
    )
    step("probing what one entry is charged")
    # However quick: beside a small budget the bare process is all one sees.
    memory_bytes = budget_for(charge_per_entry() * ENTRIES)
    with running_cluster(1, memory_bytes) as product:
        _measure(product, memory_bytes, plan, step, outcome)
    return outcome


def budget_for(capacity_bytes: int) -> int:
    """Return the smallest budget of a shard whose entries may be charged `capacity_bytes`."""
    low, high = capacity_bytes, 2 * capacity_bytes
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if store_capacity(middle) >= capacity_bytes else (middle + 1, high)
    return low


def charge_per_entry() -> int:
    """Return the bytes that a shard charges for one entry, asked from a real one."""
    with running_cluster(1, PROBE_MEMORY_BYTES) as product:
        before = stats(product.ports[0])
        load.run(product.ports[0], (*WRITE, "-c", "50", "-P", "16", "-n", str(PROBE_ENTRIES)))
        after = stats(product.ports[0])
    return round((after["used_bytes"] - before["used_bytes"]) / (after["entries"] - before["entries"]))


def stats(port: int) -> dict[str, float]:
    """Return what the shard on `port` says of itself."""
    with redis.Redis(host=HOST, port=port) as client:
        return dict(msgpack.unpackb(client.execute_command("RC.STATS")))


def _measure(product: Product, memory_bytes: int, plan: Plan, step: Step, outcome: Outcome) -> None:
    port, pid = product.ports[0], product.shard_pid()
    evicting = {name: CalmRounds[Pause](plan.rounds) for name in EVICTING}
    gaps_ms = []
    with _sampled_memory(pid) as resident:
        step("filling past the budget")
        filling = _pause_during(port, EVICTING["evicting, -P 16"], FILL)
        _check_full(stats(port))
        for number in range(1, plan.rounds + 1):
            for name, options in EVICTING.items():
                step(f"{name}, round {number} of {plan.rounds}")
                gaps_ms.append(busy_loop.largest_gap_ms(plan.size(CONTROL_MS) / 1000))
                measure = partial(_pause_during, port, options, plan.size(CHURN))
                evicting[name].add(measure, lambda pause: pause.is_disturbed)
    after = stats(port)
    outcome.facts |= {"budget_bytes": memory_bytes, "entries": after["entries"], "used_bytes": after["used_bytes"]}
    outcome.series.append(Series("largest gap of a busy loop beside an idle shard", "ms", gaps_ms))
    _show_pauses("filling", [filling], outcome)
    _report_pauses(evicting, outcome)
    _report_memory([value / memory_bytes for value in resident], outcome)


def _check_full(filled: dict[str, float]) -> None:
    """Make sure that what is measured next is what the goal speaks of."""
    if not filled["evicted"] or filled["entries"] < 0.97 * ENTRIES:
        raise AssertionError(f"the shard is not full: {filled['entries']:,} entries, {filled['evicted']:,} evicted")


def _report_pauses(evicting: dict[str, CalmRounds[Pause]], outcome: Outcome) -> None:
    """The goal is a promise for the worst case: the figure is the largest value seen, not a median."""
    for name, rounds in evicting.items():
        _show_pauses(name, rounds.calm, outcome)
        _show_pauses(f"{name}, time was stolen", rounds.disturbed, outcome)
    outcome.facts["disturbed_rounds"] = {name: len(rounds.disturbed) for name, rounds in evicting.items()}
    worst_ms = tuple(pause.wall_ms for rounds in evicting.values() for pause in rounds.calm)
    is_measured = all(rounds.are_enough for rounds in evicting.values())
    figure = "longest pause of the loop, one million entries, evicting"
    outcome.figures.append(Figure(figure, PAUSE_GOAL, max(worst_ms) if is_measured else None, "ms", worst_ms))


def _show_pauses(name: str, pauses: list[Pause], outcome: Outcome) -> None:
    if not pauses:
        return
    outcome.series.append(Series(f"longest pause a round, {name}", "ms", [pause.wall_ms for pause in pauses]))
    outcome.series.append(Series(f"the loop's own CPU, {name}", "ms", [pause.cpu_ms for pause in pauses]))
    outcome.series.append(Series(f"stolen a round, {name}", "ms", [pause.stolen_ms for pause in pauses]))


def _report_memory(resident: list[float], outcome: Outcome) -> None:
    outcome.series.append(Series("resident memory over the budget, sampled", "x", resident))
    figure = "resident memory over the configured budget"
    outcome.figures.append(Figure(figure, MEMORY_GOAL, max(resident), "x", (max(resident),)))


def _pause_during(port: int, options: tuple[str, ...], requests: int) -> Pause:
    """Return the longest pause that the loop of the shard saw during `requests` writes of new keys."""
    with redis.Redis(host=HOST, port=port) as client:
        client.config_resetstat()
    before = machine.steal_ticks()
    load.run(port, (*WRITE, *options, "-n", str(requests)))
    seen = stats(port)
    stolen_ms = machine.stolen_ms(before, machine.steal_ticks())
    return Pause(float(seen["loop_pause_max_ms"]), float(seen["loop_cpu_max_ms"]), stolen_ms)


@contextmanager
def _sampled_memory(pid: int) -> Iterator[list[float]]:
    """Sample the resident bytes of process `pid` twenty times a second meanwhile."""
    samples: list[float] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_S):
            samples.append(machine.resident_bytes(pid))

    sampler = threading.Thread(target=sample, name="memory-sampler", daemon=True)
    sampler.start()
    try:
        yield samples
    finally:
        done.set()
        sampler.join()
        samples.append(machine.resident_bytes(pid))
