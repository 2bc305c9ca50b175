"""From raw samples to the numbers that are shown.

What lives here: percentiles, the summary of one series, the ratio of two series measured in turns.
What does not: what is measured (one file per question) and how it is printed (`report`). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Summary:
    """One series in its own unit. `low` and `high` are the extremes: the spread is shown, not an error bar."""

    count: int
    median: float
    p99: float
    p999: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """(high - low) / median: 0.1 means that the samples lie within about 10 % of each other."""
        return (self.high - self.low) / self.median if self.median else 0.0


def percentile(samples: ArrayLike, percent: float) -> float:
    """Return the sample at or above which the rest lies: a value that was really measured, never interpolated.

    Raises:
        ValueError: there are no samples, or `percent` is outside 0 to 100.
    """
    array = np.asarray(samples, dtype=np.float64)
    if array.size == 0:
        raise ValueError("no samples")
    return float(np.percentile(array, percent, method="higher"))


def median(samples: ArrayLike) -> float:
    """Return the middle sample, or the mean of the middle two.

    Raises:
        ValueError: there are no samples.
    """
    array = np.asarray(samples, dtype=np.float64)
    if array.size == 0:
        raise ValueError("no samples")
    return float(np.median(array))


def summarise(samples: ArrayLike) -> Summary:
    """Return the summary of `samples`.

    Raises:
        ValueError: there are no samples.
    """
    array = np.asarray(samples, dtype=np.float64)
    return Summary(
        count=int(array.size),
        median=median(array),
        p99=percentile(array, 99),
        p999=percentile(array, 99.9),
        low=float(array.min()),
        high=float(array.max()),
    )


def paired_ratios(ours: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Return ours / baseline, round by round.

    Both sides of a round were measured within seconds of each other, so what slows the machine for a minute
    slows both, and cancels. The median of these is the figure; their extremes are its spread.

    Raises:
        ValueError: the sides differ in length, or a baseline is not positive.
    """
    if len(ours) != len(baseline):
        raise ValueError(f"{len(ours)} rounds of ours against {len(baseline)} of the baseline")
    if any(value <= 0 for value in baseline):
        raise ValueError("a baseline round measured nothing")
    return [mine / theirs for mine, theirs in zip(ours, baseline, strict=True)]
