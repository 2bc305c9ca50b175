"""Percentiles, summaries and ratios, on numbers whose answer is known."""

from __future__ import annotations

import pytest

from benchmarks.harness.stats import Summary, median, paired_ratios, percentile, summarise


def test_percentile_is_a_sample_that_was_measured() -> None:
    samples = list(range(1, 101))  # 1 to 100
    assert percentile(samples, 50) == 51
    assert percentile(samples, 99) == 100
    assert percentile(samples, 0) == 1
    assert percentile(samples, 100) == 100


def test_percentile_does_not_hide_the_slow_one_between_two_samples() -> None:
    assert percentile([1.0, 1000.0], 99) == 1000.0


def test_percentile_does_not_depend_on_the_order() -> None:
    assert percentile([5, 1, 4, 2, 3], 50) == 3


@pytest.mark.parametrize("function", [median, lambda samples: percentile(samples, 99), summarise])
def test_no_samples_is_an_error_not_a_zero(function) -> None:
    with pytest.raises(ValueError, match="no samples"):
        function([])


def test_percent_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="range"):
        percentile([1.0], 101)


@pytest.mark.parametrize(("samples", "middle"), [([3, 1, 2], 2), ([4, 1, 2, 3], 2.5), ([7], 7)])
def test_median(samples: list[float], middle: float) -> None:
    assert median(samples) == middle


def test_summary_of_a_thousand() -> None:
    summary = summarise(range(1, 1001))
    assert summary == Summary(count=1000, median=500.5, p99=991, p999=1000, low=1, high=1000)
    assert summary.spread == pytest.approx(999 / 500.5)


def test_spread_of_nothing_but_zeros_is_zero() -> None:
    assert summarise([0, 0]).spread == 0


def test_ratios_pair_the_rounds() -> None:
    # The machine became twice as slow after the first round: both sides show it, the ratio does not.
    assert paired_ratios([90, 45], [100, 50]) == [0.9, 0.9]


def test_ratios_refuse_rounds_that_do_not_pair() -> None:
    with pytest.raises(ValueError, match="2 rounds of ours against 1"):
        paired_ratios([1, 2], [1])


def test_ratios_refuse_a_baseline_of_nothing() -> None:
    with pytest.raises(ValueError, match="measured nothing"):
        paired_ratios([1.0], [0.0])
