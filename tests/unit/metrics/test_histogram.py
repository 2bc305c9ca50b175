"""Histograms: where a duration is counted, and what is read off."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.metrics.histogram import BOUNDS_S, Histogram

durations = st.lists(st.floats(0, 20), min_size=1, max_size=200)


def filled(values: list[float], weight: int = 1) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.observe(value, weight)
    return histogram


@given(durations)
def test_each_bucket_has_what_is_at_most_its_end(values: list[float]) -> None:
    for end_s, count in filled(values).cumulated():
        assert count == sum(value <= end_s for value in values)


@given(durations, st.integers(1, 100))
def test_a_quantile_is_in_the_bucket_of_the_true_one(values: list[float], percent: int) -> None:
    found = filled(values).quantile_s(percent / 100)
    true = sorted(values)[ceil(percent * len(values) / 100) - 1]
    ends = (0.0, *BOUNDS_S, float("inf"))
    high = max(1, next(place for place, end in enumerate(ends) if end >= true))
    assert ends[high - 1] * (1 - 1e-9) <= found <= min(ends[high], max(values)) * (1 + 1e-9)


@given(durations, st.integers(1, 9))
def test_a_weight_is_that_many_observations(values: list[float], weight: int) -> None:
    weighted, repeated = filled(values, weight), filled(values * weight)
    assert weighted.counts == repeated.counts
    assert weighted.sum_s == pytest.approx(repeated.sum_s)
    assert weighted.max_s == repeated.max_s


@given(durations, durations)
def test_a_sum_is_as_if_one_had_counted_all(one: list[float], other: list[float]) -> None:
    total = filled(one)
    total.add(filled(other))
    assert (total.counts, total.max_s) == (filled(one + other).counts, filled(one + other).max_s)


@given(durations)
def test_the_row_brings_it_back(values: list[float]) -> None:
    histogram = filled(values)
    back = Histogram.of_row(histogram.to_row())
    assert (back.counts, back.sum_s, back.max_s) == (histogram.counts, histogram.sum_s, histogram.max_s)


@pytest.mark.parametrize("row", [[], [1, 2, 3], [[1], 0.0, 0.0], [[-1] * (len(BOUNDS_S) + 1), 0.0, 0.0]])
def test_a_row_that_is_none_is_refused(row: list[object]) -> None:
    with pytest.raises(ValueError, match=r"histogram|unpack"):
        Histogram.of_row(row)


def test_before_the_first_all_is_zero() -> None:
    assert (Histogram().count, Histogram().mean_s, Histogram().quantile_s(0.99)) == (0, 0.0, 0.0)
