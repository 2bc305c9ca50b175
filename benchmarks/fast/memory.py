"""What one entry costs in memory, with and without a time to live, beside Redis 7.

What lives here: the part `memory`. 16-byte keys, 100-byte values, LRU, nothing evicted, each side filled by
redis-benchmark through its own door. Ours is the growth of the shard's resident memory, which hides nothing; Redis' is
the growth of its `used_memory`, which leaves out what its allocator loses. What is judged is ours beyond key and value
over Redis' whole; the stricter ratios, beyond key and value on both sides, and whole over whole, are shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks.fast.amount import Amount
from benchmarks.harness import load
from benchmarks.harness.machine import resident_bytes
from benchmarks.harness.parts import Part
from benchmarks.harness.product import running_cluster, running_ray
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check
from benchmarks.harness.servers import info, redis_server

ENTRIES: Final = 1_000_000
KEY_BYTES, VALUE_BYTES = 16, 100
MEMORY_BYTES: Final = 768 * 1024 * 1024
TTL_S: Final = 86_400
GOAL: Final = Goal("<=", 1.5)
SHAPES: Final[dict[str, tuple[str, ...]]] = {"without TTL": (), "with TTL": ("ex", str(TTL_S))}
# Out of a thousand million keys, hardly any comes twice; the growth is divided by what has really come.
LOAD: Final = ("-c", "50", "-P", "16", "-r", "1000000000")
WRITE: Final = ("set", "key:__rand_int__", "x" * VALUE_BYTES)


def run(amount: Amount, step: Step) -> Outcome:
    """Fill one shard and one Redis for each shape."""
    outcome = Outcome("memory", facts={"entries": amount.size(ENTRIES), "key_bytes": KEY_BYTES,
                                       "value_bytes": VALUE_BYTES, "busy_cores_before": idle_check()})
    with running_ray():
        for name, words in SHAPES.items():
            step(f"{name}, raycache")
            with running_cluster(1, MEMORY_BYTES) as product:
                port, pid = product.ports[0], product.shard_pid()
                ours = growth(port, words, amount, lambda pid=pid: resident_bytes(pid))
                charged = int(info(port)["used_memory"]) / entries(port)
                if int(info(port)["evicted_keys"]):
                    raise AssertionError("the shard is too small for this")
            step(f"{name}, Redis")
            with redis_server() as port:
                theirs = growth(port, words, amount, lambda port=port: int(info(port)["used_memory"]))
            _report(name, ours, charged, theirs, outcome)
    return outcome


def growth(port: int, words: tuple[str, ...], amount: Amount, measure: Callable[[], int]) -> float:
    """Return by how many bytes `measure` grows for each entry."""
    load.run(port, (*LOAD, "-n", "2000", *WRITE, *words))  # buffers, code, first-time paths
    before, there = measure(), entries(port)
    load.run(port, (*LOAD, "-n", str(amount.size(ENTRIES)), *WRITE, *words))
    return (measure() - before) / (entries(port) - there)


def entries(port: int) -> int:
    """Return how many entries the server on `port` has, by INFO's line "db0:keys=...,expires=..."."""
    return int(info(port)["db0"].split("=")[1].split(",")[0])


def _report(name: str, ours: float, charged: float, theirs: float, outcome: Outcome) -> None:
    payload = KEY_BYTES + VALUE_BYTES
    outcome.figures.append(Figure(figure(name), GOAL, (ours - payload) / theirs, "x"))
    outcome.series += [
        Series(f"an entry {name}: raycache, resident", "bytes", [ours]),
        Series(f"an entry {name}: raycache, charged", "bytes", [charged]),
        Series(f"an entry {name}: Redis, used_memory", "bytes", [theirs]),
        Series(f"an entry {name}: beyond key and value on both sides", "x Redis",
               [(ours - payload) / (theirs - payload)]),
        Series(f"an entry {name}: whole over whole", "x Redis", [ours / theirs]),
    ]


def figure(name: str) -> str:
    """Return the name of a shape's figure."""
    return f"memory an entry {name}, beyond key and value, over Redis' used_memory an entry"


PART: Final = Part("memory", "bytes an entry beside Redis 7", lambda a: 30 if a.quick else 60, lambda a: 4, run,
                   {figure(name): GOAL for name in SHAPES})
