"""Measuring points: all sides in turns, several rounds, on servers that hold what the point says.

What lives here: filling, the order of the rounds, the records that the raw file keeps. What does not: which points
(`points`), the parts of a run (`side_by_side`, `scaling`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.rounds import Plan, Step
from benchmarks.suite import foreign
from benchmarks.suite.crew import Crew
from benchmarks.suite.foreign import Tool
from benchmarks.suite.points import Point, Task
from benchmarks.suite.samples import Sample, is_sustained, record
from benchmarks.suite.sides import Side

ROUND_S: Final = 0.4
QUICK_ROUND_S: Final = 0.15
OPEN_ROUND_S: Final = 1.0
QUICK_OPEN_ROUND_S: Final = 0.3
QUICK_ROUNDS: Final = 2
ENTRY_BYTES: Final = 300
"""What one entry takes on any side beyond its value, at most: with so much free memory a point is measured."""


def rounds(plan: Plan) -> int:
    """Return how many rounds each side has."""
    return QUICK_ROUNDS if plan.quick else plan.rounds


def round_s(plan: Plan, point: Point) -> float:
    """Return how long a round is."""
    if point.rate:
        return QUICK_OPEN_ROUND_S if plan.quick else OPEN_ROUND_S
    return QUICK_ROUND_S if plan.quick else ROUND_S


@dataclass(slots=True)
class Sweep:
    """Points on the same servers, one after the other."""

    crew: Crew
    sides: Sequence[Side]
    plan: Plan
    step: Step
    records: list[dict[str, Any]] = field(default_factory=list)
    _filled: tuple[int, int] | None = None
    _overrun: set[str] = field(default_factory=set)
    """Who did not keep up with an open loop: it is not asked at higher rates."""

    def steps(self, tasks: Sequence[Task]) -> int:
        """Return how many steps `run` reports."""
        return len(tasks) * (1 + rounds(self.plan))

    def run(self, tasks: Sequence[Task]) -> None:
        """Measure all points; one for which this machine has no memory is left out, and the record says so."""
        for task in tasks:
            needed = task.point.held * (task.point.value_bytes + ENTRY_BYTES) * len(self.sides)
            if needed > 0.7 * available_bytes():
                self.records.append(described(task, "all") | {"left_out": "not enough free memory"})
                continue
            self.step(f"{task}: filling")
            self._fill(task.point)
            self._measure(task)

    def _fill(self, point: Point) -> None:
        if point.fill == self._filled:
            return
        for side in self.sides:
            self.crew.clear(side.name)
            self.crew.fill(side.name, *point.fill)
        self._filled = point.fill

    def _measure(self, task: Task) -> None:
        measures, tools = self._measures(task), self._tools(task)
        samples: dict[str, list[Sample]] = {name: [] for name in measures}
        for number in range(1, rounds(self.plan) + 1):
            self.step(f"{task}: round {number} of {rounds(self.plan)}")
            for name, measure in measures.items():
                samples[name].append(measure(self.plan.seed + number))
            for tool in tools:
                tool.round()
        for name, taken in samples.items():
            kept = record(taken)
            if task.point.rate:
                kept["sustained"] = is_sustained(kept, task.point.rate)
                if not kept["sustained"]:
                    self._overrun.add(name)
            self.records.append(described(task, name) | kept)
        self.records += [described(task, tool.name) | tool.record() for tool in tools]

    def _measures(self, task: Task) -> dict[str, Callable[[int], Sample]]:
        duration_s = round_s(self.plan, task.point)
        return {side.name: partial(self.crew.load, side.name, task.point, duration_s) for side in self.sides
                if not (task.point.rate and side.name in self._overrun)}

    def _tools(self, task: Task) -> list[Tool]:
        return [Tool(side, task.point, self.plan) for side in self.sides if foreign.asks(side, task, self.plan)]


def described(task: Task, side: str) -> dict[str, Any]:
    """Return what a record begins with."""
    return {"dimension": task.dimension, "value": task.value, "side": side, "point": task.point.as_json()}


def available_bytes() -> int:
    """Return how much memory Linux could give out without taking it from somebody."""
    line = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024
