"""Figures against goals: the table at the end of a run, and the JSON files beside it.

What lives here: `Goal`, `Figure`, `Series`, `Outcome`, printing and writing them. What does not: measuring.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from benchmarks.harness.stats import summarise

_VERDICT = {True: "met", False: "NOT MET"}


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a figure. `<` is for goals that say "under"."""

    relation: Literal["<", "<=", ">="]
    bound: float

    def is_met(self, value: float) -> bool:
        """Whether `value`, unrounded, keeps the bound."""
        if self.relation == "<":
            return value < self.bound
        return value <= self.bound if self.relation == "<=" else value >= self.bound

    def __str__(self) -> str:
        return f"{self.relation} {readable(self.bound)}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that a goal was set for, and the rounds it came from."""

    figure: str
    goal: Goal
    value: float | None
    """None: it could not be measured, so the goal is not met."""
    unit: str
    rounds: tuple[float, ...] = ()

    @property
    def met(self) -> bool:
        return self.value is not None and self.goal.is_met(self.value)

    def as_json(self) -> dict[str, Any]:
        return {"figure": self.figure, "goal": str(self.goal), "value": self.value, "unit": self.unit, "met": self.met}


@dataclass(frozen=True, slots=True)
class Series:
    """Raw samples of one side, or of one thing worth showing that no goal was set for."""

    name: str
    unit: str
    samples: Sequence[float]


@dataclass(slots=True)
class Outcome:
    """What one question answered."""

    name: str
    figures: list[Figure] = field(default_factory=list)
    series: list[Series] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    """How it was measured: sizes, rounds, commands, busy cores; plain JSON values."""
    records: list[dict[str, Any]] = field(default_factory=list)
    """What was measured point by point, where one number is not all that is asked; plain JSON values."""


def readable(value: float) -> str:
    """Return `value` with three or four significant digits, thousands with commas: 0.853, 12.4, 431,000."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 100 else f"{value:.3g}"


def print_series(console: Console, outcomes: Iterable[Outcome]) -> None:
    """Print what was measured on each side: the baseline stands beside ours."""
    table = Table(title="Measured", title_justify="left")
    table.add_column("series")
    for column in ("unit", "median", "p99", "p99.9", "low", "high", "samples"):
        table.add_column(column, justify="left" if column == "unit" else "right")
    for outcome in outcomes:
        for series in outcome.series:
            summary = summarise(series.samples)
            numbers = (summary.median, summary.p99, summary.p999, summary.low, summary.high)
            table.add_row(f"{outcome.name}: {series.name}", series.unit, *map(readable, numbers), f"{summary.count:,}")
    console.print(table)


def print_figures(console: Console, outcomes: Iterable[Outcome]) -> None:
    """Print the table that every run ends with."""
    table = Table(title="Figures", title_justify="left")
    for column in ("figure", "goal", "measured", "rounds, low to high", "met"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for outcome in outcomes:
        for figure in outcome.figures:
            spread = f"{readable(min(figure.rounds))} to {readable(max(figure.rounds))}" if figure.rounds else ""
            style = "green" if figure.met else "red"
            table.add_row(
                figure.figure,
                f"{figure.goal} {figure.unit}",
                "not measurable" if figure.value is None else f"{readable(figure.value)} {figure.unit}",
                spread,
                f"[{style}]{_VERDICT[figure.met]}[/]",
            )
    console.print(table)


def write_json(folder: Path, target: str, header: dict[str, Any], outcomes: Sequence[Outcome]) -> tuple[Path, Path]:
    """Write `<target>.json` (the figures alone) and `<target>-raw.json` (everything they came from); return both."""
    folder.mkdir(parents=True, exist_ok=True)
    figures_path, raw_path = folder / f"{target}.json", folder / f"{target}-raw.json"
    figures = [figure.as_json() for outcome in outcomes for figure in outcome.figures]
    figures_path.write_text(json.dumps(figures, indent=2) + "\n")
    raw_path.write_text(json.dumps({**header, "questions": [_raw(outcome) for outcome in outcomes]}) + "\n")
    return figures_path, raw_path


def _raw(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.name,
        "facts": outcome.facts,
        "records": outcome.records,
        "figures": [figure.as_json() | {"rounds": list(figure.rounds)} for figure in outcome.figures],
        "series": [
            {
                "name": s.name,
                "unit": s.unit,
                "summary": asdict(summarise(s.samples)),
                "samples": [float(v) for v in s.samples],
            }
            for s in outcome.series
        ],
    }
