"""Two sides measured in turns: A, B, A, B, ... in the same run, so that a slow minute hits both.

What lives here: the order of the rounds, those that are made again, and what a question is given. What does not: the
sides themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from benchmarks.harness.machine import busy_cores

T = TypeVar("T")
Step = Callable[[str], None]
"""Told what starts next, before it starts."""

ROUNDS: Final = 7
MIN_ROUNDS: Final = 5
MOST_ATTEMPTS: Final = 4
"""How often rounds that something foreign disturbed are made in all, as a multiple of the rounds wanted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure: chosen on the command line, the same for every question."""

    rounds: int = ROUNDS
    quick: bool = False
    """A tenth of the work in each round: for trying the harness out, not for figures."""
    seed: int = 20260
    """Keys and values are drawn from it."""

    def __post_init__(self) -> None:
        if self.rounds < MIN_ROUNDS:
            raise ValueError(f"rounds must be at least {MIN_ROUNDS}, not {self.rounds}: fewer show no spread")

    def size(self, full: int) -> int:
        """Return how many operations a round makes: `full`, or a tenth of it when quick."""
        return max(1, full // 10) if self.quick else full


def interleave(sides: Mapping[str, Callable[[], T]], rounds: int, step: Step) -> dict[str, list[T]]:
    """Measure each side once per round, in the order given; return what they returned, by side."""
    results: dict[str, list[T]] = {name: [] for name in sides}
    for number in range(1, rounds + 1):
        for name, measure in sides.items():
            step(f"{name}, round {number} of {rounds}")
            results[name].append(measure())
    return results


@dataclass(slots=True)
class CalmRounds(Generic[T]):
    """Rounds of one side, for a figure that is a maximum: one that was disturbed from outside says nothing about us.

    Disturbed rounds are kept apart, to be shown and not judged, and made again.
    """

    wanted: int
    calm: list[T] = field(default_factory=list)
    disturbed: list[T] = field(default_factory=list)

    @property
    def are_enough(self) -> bool:
        """Whether at least half of the rounds wanted were undisturbed."""
        return 2 * len(self.calm) >= self.wanted

    def add(self, measure: Callable[[], T], is_disturbed: Callable[[T], bool]) -> None:
        """Measure until one more round was undisturbed, or `MOST_ATTEMPTS` times the rounds wanted have been made."""
        while len(self.calm) + len(self.disturbed) < MOST_ATTEMPTS * self.wanted:
            sample = measure()
            if not is_disturbed(sample):
                self.calm.append(sample)
                return
            self.disturbed.append(sample)


def idle_check() -> float:
    """Return how many cores are busy before anything is measured; the raw file keeps it beside the numbers."""
    return round(busy_cores(), 2)
