"""The control: the largest gap between two looks at the clock."""

from __future__ import annotations

import pytest

from benchmarks.harness.busy_loop import largest_gap_s


@pytest.mark.parametrize(
    ("looks", "gap_s"),
    [
        ([0.0, 1.0, 2.0, 5.0, 10.0], 5.0),
        ([0.0, 3.0, 4.0, 10.0], 6.0),  # the look that passes the end counts, too
        ([7.0, 17.0], 10.0),
    ],
)
def test_the_longest_time_between_two_looks(looks: list[float], gap_s: float) -> None:
    clock = iter(looks)
    assert largest_gap_s(10.0, lambda: next(clock)) == gap_s
