"""Runs made of parts, each of which can be chosen alone, takes minutes, and may fail without taking the rest with it.

What lives here: what a part is, announcing and running them. What does not: any measurement.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rich.console import Console

from benchmarks.harness.progress import RunProgress
from benchmarks.harness.report import Figure, Goal, Outcome
from benchmarks.harness.rounds import Step
from benchmarks.harness.servers import ServerFailedError
from raycache.testing.hosts import HostError

A = TypeVar("A")
"""How much to do, as the run's command line chose it."""


@dataclass(frozen=True, slots=True)
class Part(Generic[A]):
    """One question."""

    name: str
    about: str
    estimate_s: Callable[[A], float]
    steps: Callable[[A], int]
    run: Callable[[A, Step], Outcome]
    """Raises `ServerFailedError`, `HostError` or `LookupError` where it cannot be answered."""
    goals: dict[str, Goal]
    """The figures that it gives: a part that failed leaves all of them unmet."""


def announce(console: Console, parts: Sequence[Part[A]], amount: A) -> None:
    """Say what will run, and about how long it will take."""
    for part in parts:
        console.print(f"{part.name:<16} about {_minutes(part.estimate_s(amount))}  {part.about}", highlight=False)
    console.print(f"together         about {_minutes(sum(part.estimate_s(amount) for part in parts))}", highlight=False)


def run_parts(console: Console, parts: Sequence[Part[A]], amount: A) -> list[Outcome]:
    """Run the parts one after the other. One that cannot be measured leaves its figures unmet, and the rest goes on."""
    outcomes = []
    with RunProgress(console, sum(part.steps(amount) for part in parts)) as progress:
        for part in parts:
            began_s = time.monotonic()
            try:
                outcome = part.run(amount, lambda text, name=part.name: progress.step(f"{name}: {text}"))  # type: ignore[misc]
            except (ServerFailedError, HostError, LookupError) as error:
                console.print(f"{part.name}: {error}", style="red", soft_wrap=True, markup=False, highlight=False)
                figures = [Figure(name, goal, None, "") for name, goal in part.goals.items()]
                outcome = Outcome(part.name, figures=figures, facts={"failed": str(error)})
            outcome.facts["took_s"] = round(time.monotonic() - began_s, 1)
            outcomes.append(outcome)
    return outcomes


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:4.1f} min"
