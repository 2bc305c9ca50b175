"""redis-benchmark as a side: a load tool in C, that nobody here wrote, on the servers that speak Redis' protocol.

What lives here: its options for a point, its rounds and record. What does not: running it (`benchmarks.harness.load`).
Its numbers are its own: it times all its GETs and all its SETs, one kind after the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.harness import load
from benchmarks.harness.rounds import Plan
from benchmarks.harness.servers import ServerFailedError
from benchmarks.harness.stats import median
from benchmarks.suite.names import RAYCACHE, REDIS, REDIS_CLUSTER, TOOL_PREFIX
from benchmarks.suite.points import Point, Task
from benchmarks.suite.sides import Side

SIDES: Final = (RAYCACHE, REDIS, REDIS_CLUSTER)
DIMENSIONS: Final = ("base", "connections", "value_bytes", "shards", "copies")
"""It draws keys uniformly, and knows no mixture of reads and writes and no open loop."""
CLUSTER_DIMENSIONS: Final = ("base", "shards", "copies")
REQUESTS: Final = 20_000
ROUND_BYTES: Final = 64 * 1024 * 1024
MOST_VALUE_BYTES: Final = 256 * 1024
CLUSTER_REQUESTS: Final = 100_000
"""With `--cluster` it notices only every 250 ms that it is done, so that fewer would measure its own clock. That takes
seconds a round: few dimensions have it, and a quick run has none."""
CLUSTER_KEYS: Final = 1_000
"""Its keys are others where it speaks to a cluster: it has to write them all before it reads them."""


def asks(side: Side, task: Task, plan: Plan) -> bool:
    """Whether it is used on a side at a point."""
    if side.name not in SIDES or task.point.value_bytes > MOST_VALUE_BYTES:
        return False
    if is_cluster(side):
        return task.dimension in CLUSTER_DIMENSIONS and not plan.quick
    return task.dimension in DIMENSIONS


def is_cluster(side: Side) -> bool:
    """Whether it has to follow the slots there."""
    return side.name == REDIS_CLUSTER or len(side.ports) > 1


def options(point: Point, plan: Plan, follows: bool) -> tuple[str, ...]:
    """Return its options for a point."""
    most = CLUSTER_REQUESTS if follows else plan.size(REQUESTS)
    requests = max(10 * point.connections, min(most, ROUND_BYTES // point.value_bytes))
    keys = CLUSTER_KEYS if follows else point.held
    taken = ("-t", "set,get", "-c", str(point.connections), "-d", str(point.value_bytes), "-r", str(keys), "-n",
             str(requests))
    return (*taken, "--cluster") if follows else taken


@dataclass(slots=True)
class Tool:
    """redis-benchmark on one side at one point. If it fails there, that is what is recorded."""

    side: Side
    point: Point
    plan: Plan
    _runs: list[dict[str, load.Run]] = field(default_factory=list)
    _failure: str = ""

    @property
    def name(self) -> str:
        """What it is called beside the sides."""
        return TOOL_PREFIX + self.side.name

    @property
    def options(self) -> tuple[str, ...]:
        """What it is called with."""
        return options(self.point, self.plan, is_cluster(self.side))

    def round(self) -> None:
        """Run it once."""
        if self._failure:
            return
        try:
            self._runs.append(load.run(self.side.ports[0], self.options))
        except ServerFailedError as error:
            self._failure = str(error)

    def record(self) -> dict[str, Any]:
        """Return what is kept of all rounds; plain JSON values."""
        if self._failure:
            return {"left_out": self._failure}
        kept: dict[str, Any] = {"command": " ".join(("redis-benchmark", *self.options))}
        for test, name in (("get", ""), ("set", "set_")):
            runs = [run[test] for run in self._runs]
            kept[f"{name}rps"] = median([run.rps for run in runs])
            kept[f"{name}rps_rounds"] = [run.rps for run in runs]
            kept[f"{name}p50_us_rounds"] = [run.p50_ms * 1000 for run in runs]
            kept[f"{name}p99_us_rounds"] = [run.p99_ms * 1000 for run in runs]
        return kept
