"""Finding things in the raw file of a run.

What lives here: questions, records by dimension, what was left out or went wrong. What does not: how they are shown
(`tables`, `plots`, `pages`). Pure: it is given what `json.load` returned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Record = Mapping[str, Any]
BASE: Final = "base"
HAVE_BASE: Final = frozenset({"connections", "keys", "read_percent", "value_bytes", "entries", "shards"})
"""The dimensions one of whose values is the base's. (A rate and copies have points of their own.)"""
OWNERS: Final = {"shards": "scaling", "copies": "scaling"}
BUSY_CORES: Final = 0.5
"""More than this busy with something else, and figures are noisy: as a run itself says when it begins."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run, as its raw file has it."""

    raw: Mapping[str, Any]

    @property
    def machine(self) -> Mapping[str, Any]:
        """What it ran on."""
        found: Mapping[str, Any] = self.raw["machine"]
        return found

    @property
    def questions(self) -> Sequence[Mapping[str, Any]]:
        """All that were asked."""
        found: Sequence[Mapping[str, Any]] = self.raw["questions"]
        return found

    def facts(self, question: str) -> Mapping[str, Any]:
        """Return how a question was measured; empty if it was not asked."""
        return next((asked["facts"] for asked in self.questions if asked["name"] == question), {})

    def figures(self) -> list[Mapping[str, Any]]:
        """Return everything that had a goal."""
        return [figure for asked in self.questions for figure in asked["figures"]]

    def records(self, question: str) -> list[Record]:
        """Return all records of a question, those of what was left out excepted."""
        return [record for asked in self.questions if asked["name"] == question
                for record in asked.get("records", ()) if "left_out" not in record]

    def series(self, dimension: str) -> dict[str, list[tuple[Any, Record]]]:
        """Return by side what was measured along a dimension: (value, record), in the order of the values."""
        taken = [BASE, dimension] if dimension in HAVE_BASE else [dimension]
        found: dict[str, list[tuple[Any, Record]]] = {}
        for record in self.records(OWNERS.get(dimension, "side_by_side")):
            if record["dimension"] in taken:
                found.setdefault(record["side"], []).append((record["point"][dimension], record))
        return {side: sorted(rows, key=lambda row: row[0]) for side, rows in found.items()}

    def base(self) -> list[Record]:
        """Return what was measured at the base, a record a side."""
        return [record for record in self.records("side_by_side") if record["dimension"] == BASE]

    def left_out(self) -> Iterator[str]:
        """Yield a line for everything that could not be measured."""
        for asked in self.questions:
            if "failed" in asked["facts"]:
                yield f"{asked['name']}: {asked['facts']['failed']}"
            for record in asked.get("records", ()):
                if "left_out" in record:
                    yield f"{_place(record)}: {record['left_out']}"

    def trouble(self) -> Iterator[str]:
        """Yield a line for every record with answers that were wrong or failed."""
        for asked in self.questions:
            for record in asked.get("records", ()):
                wrong, failed = record.get("wrong", 0), record.get("failed", 0)
                if asked["name"] != "pauses" and (wrong or failed):
                    said = "; ".join(record.get("errors", ()))
                    yield f"{_place(record)}: {wrong:,} wrong, {failed:,} failed{': ' if said else ''}{said}"

    def noise(self) -> list[str]:
        """Return which questions began while something else kept cores busy, with how many."""
        return [f"{asked['name']} ({asked['facts']['busy_cores_before']} cores)" for asked in self.questions
                if asked["facts"].get("busy_cores_before", 0) > BUSY_CORES]


def _place(record: Record) -> str:
    dimension = record["dimension"] if record["value"] is None else f"{record['dimension']} {record['value']}"
    return f"{record['side']}, {dimension}"


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return ours / theirs, round by round, where theirs measured anything."""
    return [mine / other for mine, other in zip(ours, theirs, strict=True) if other > 0]
