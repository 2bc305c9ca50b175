"""What is varied: a base point, and for each dimension the values that it takes while all else stays at the base.

What lives here: points and their lists, for a whole run and a quick one. What does not: measuring them (`sweep`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

MOST_HELD_BYTES: Final = 256 * 1024 * 1024
"""What the values of one point take together: large values get fewer keys."""
FEWEST_ENTRIES: Final = 4
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Point:
    """One load on one set of servers."""

    connections: int = 8
    """How many callers, each with a connection of its own and one request under way."""
    value_bytes: int = 100
    keys: Literal["uniform", "zipf"] = "uniform"
    read_percent: int = 95
    entries: int = 100_000
    shards: int = 1
    copies: int = 1
    rate: int = 0
    """Arrivals a second, begun at their times (open loop); 0: each caller asks when it has its answer (closed loop)."""

    @property
    def held(self) -> int:
        """How many keys there really are."""
        return max(FEWEST_ENTRIES, min(self.entries, MOST_HELD_BYTES // self.value_bytes))

    @property
    def fill(self) -> tuple[int, int]:
        """What the servers have to hold for it: keys, and bytes of each value."""
        return self.held, self.value_bytes

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Task:
    """A point, and what it is a value of."""

    dimension: str
    """"base", or the name of a field of `Point`."""
    point: Point

    @property
    def value(self) -> Any:
        """The value of the dimension, None for the base."""
        return None if self.dimension == "base" else getattr(self.point, self.dimension)

    def __str__(self) -> str:
        return "base" if self.dimension == "base" else f"{self.dimension} {self.value}"


BASE: Final = Point()
QUICK_BASE: Final = replace(BASE, entries=10_000)
OPEN_CONNECTIONS: Final = 16
"""Enough that arrivals wait for the server and not for a caller to come free."""

CLOSED: Final[Mapping[str, Sequence[Any]]] = {
    "connections": (1, 2, 4, 16, 32, 64),
    "keys": ("zipf",),
    "read_percent": (50, 100),
    "value_bytes": (16, 1024, 16 * 1024, 256 * 1024, 4 * MIB, 64 * MIB),
    "entries": (1_000, 10_000, 1_000_000, 4_000_000),
}
QUICK_CLOSED: Final[Mapping[str, Sequence[Any]]] = {
    "connections": (1, 64), "keys": ("zipf",), "read_percent": (50,), "value_bytes": (4 * 1024,), "entries": (1_000,),
}  # fmt: skip
RATES: Final = (500, 1_000, 2_000, 4_000, 8_000, 16_000)
QUICK_RATES: Final = (1_000, 4_000)
SHARDS: Final = (2, 4, 8)
QUICK_SHARDS: Final = (2,)
COPIES: Final = (1, 2, 3)
QUICK_COPIES: Final = (2,)
COPIES_SHARDS: Final = 3
"""So many shards have the points that vary copies; a copy needs a shard of its own."""
COPIES_READ_PERCENT: Final = 50
"""Copies cost writes, so half the requests are writes where copies vary."""


def around(base: Point, values: Mapping[str, Sequence[Any]]) -> list[Task]:
    """Return the base, then each dimension's values with everything else at the base."""
    tasks = [Task("base", base)]
    for dimension, taken in values.items():
        tasks += [Task(dimension, replace(base, **{dimension: value})) for value in taken]
    return tasks


def closed_and_open(quick: bool) -> list[Task]:
    """Return what is measured on servers of one shard, in an order that fills them as rarely as possible."""
    base = QUICK_BASE if quick else BASE
    tasks = around(base, QUICK_CLOSED if quick else CLOSED)
    opened = replace(base, connections=OPEN_CONNECTIONS)
    tasks += [Task("rate", replace(opened, rate=rate)) for rate in (QUICK_RATES if quick else RATES)]
    return sorted(tasks, key=lambda task: (task.point.fill != base.fill, task.point.held * task.point.value_bytes))


def scaling(quick: bool) -> list[Task]:
    """Return what is measured on servers of their own, by shards and copies; the base is among it, to compare with."""
    base = QUICK_BASE if quick else BASE
    tasks = around(base, {"shards": QUICK_SHARDS if quick else SHARDS})
    several = replace(base, shards=COPIES_SHARDS, read_percent=COPIES_READ_PERCENT)
    tasks += [Task("copies", replace(several, copies=copies)) for copies in (QUICK_COPIES if quick else COPIES)]
    return tasks
