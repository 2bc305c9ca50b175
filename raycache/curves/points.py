"""A curve as a few points, so that those of many shards can be put together.

What lives here: the points and their sum. What does not: the sample that they come from (`shards.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

FACTORS: Final[tuple[float, ...]] = tuple(pow(2.0, step / 4) for step in range(-16, 17))
"""Times of the memory that there is: from a sixteenth to sixteen times, in quarters of a doubling."""
NOW: Final = 16
"""The place of the factor 1."""


def together(curves: Sequence[tuple[float, Sequence[float]]]) -> list[float]:
    """Return the hit ratios of several caches together, each with so many times of its memory.

    Args:
        curves: of each the number of look-ups, and its hit ratios at `FACTORS`.
    Returns:
        none if nothing was looked up.
    """
    total = sum(lookups for lookups, _ in curves)
    if total <= 0:
        return []
    return [sum(lookups * ratios[place] for lookups, ratios in curves) / total for place in range(len(FACTORS))]


def at(hit_ratios: Sequence[float], factor: float) -> float:
    """Return the hit ratio with `factor` times the memory, on a line between points; beyond the ends those at them."""
    if factor <= FACTORS[0]:
        return hit_ratios[0]
    for place in range(1, len(FACTORS)):
        low, high = FACTORS[place - 1], FACTORS[place]
        if factor <= high:
            part = (factor - low) / (high - low)
            return hit_ratios[place - 1] + part * (hit_ratios[place] - hit_ratios[place - 1])
    return hit_ratios[-1]
