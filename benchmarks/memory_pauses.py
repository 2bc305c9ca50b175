"""Does a full shard stay within its memory, and does its loop never stop? One million entries of 100 bytes, evicting.

The budget is chosen so that one million entries (16-byte keys, 100-byte values) fill it: a small probe asks a shard
what it charges for one. Then `redis-benchmark -t set` writes random new keys: past the million, then on while full. The
loop measures its own longest pause; resident memory is what Linux says of the shard's process (VmRSS), the bare process
included.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgpack
import redis

from benchmarks.harness import load
from benchmarks.harness.machine import resident_bytes
from benchmarks.harness.product import Product, running_cluster
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Plan, Step, idle_check
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
    pauses: dict[str, list[Pause]] = {name: [] for name in ("filling", *EVICTING)}
    with _sampled_memory(pid) as resident:
        step("filling past the budget")
        pauses["filling"].append(_pause_during(port, EVICTING["evicting, -P 16"], FILL))
        _check_full(stats(port))
        for number in range(1, plan.rounds + 1):
            for name, options in EVICTING.items():
                step(f"{name}, round {number} of {plan.rounds}")
                pauses[name].append(_pause_during(port, options, plan.size(CHURN)))
    after = stats(port)
    outcome.facts |= {"budget_bytes": memory_bytes, "entries": after["entries"], "used_bytes": after["used_bytes"]}
    _report(pauses, [value / memory_bytes for value in resident], outcome)


def _check_full(filled: dict[str, float]) -> None:
    """Make sure that what is measured next is what the goal speaks of."""
    if not filled["evicted"] or filled["entries"] < 0.97 * ENTRIES:
        raise AssertionError(f"the shard is not full: {filled['entries']:,} entries, {filled['evicted']:,} evicted")


def _report(pauses: dict[str, list[Pause]], resident: list[float], outcome: Outcome) -> None:
    """Both goals are promises for the worst case: the figure is the largest value seen, not a median."""
    for name, samples in pauses.items():
        outcome.series.append(Series(f"longest pause a round, {name}", "ms", [pause.wall_ms for pause in samples]))
        outcome.series.append(Series(f"the loop's own CPU, {name}", "ms", [pause.cpu_ms for pause in samples]))
    outcome.series.append(Series("resident memory over the budget, sampled", "x", resident))
    worst_ms = tuple(pause.wall_ms for name in EVICTING for pause in pauses[name])
    figure = "longest pause of the loop, one million entries, evicting"
    outcome.figures.append(Figure(figure, PAUSE_GOAL, max(worst_ms), "ms", worst_ms))
    figure = "resident memory over the configured budget"
    outcome.figures.append(Figure(figure, MEMORY_GOAL, max(resident), "x", (max(resident),)))


def _pause_during(port: int, options: tuple[str, ...], requests: int) -> Pause:
    """Return the longest pause that the loop of the shard saw during `requests` writes of new keys."""
    with redis.Redis(host=HOST, port=port) as client:
        client.config_resetstat()
    load.run(port, (*WRITE, *options, "-n", str(requests)))
    seen = stats(port)
    return Pause(float(seen["loop_pause_max_ms"]), float(seen["loop_cpu_max_ms"]))


@contextmanager
def _sampled_memory(pid: int) -> Iterator[list[float]]:
    """Sample the resident bytes of process `pid` twenty times a second meanwhile."""
    samples: list[float] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SAMPLE_S):
            samples.append(resident_bytes(pid))

    sampler = threading.Thread(target=sample, name="memory-sampler", daemon=True)
    sampler.start()
    try:
        yield samples
    finally:
        done.set()
        sampler.join()
        samples.append(resident_bytes(pid))
