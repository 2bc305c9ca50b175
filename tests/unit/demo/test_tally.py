"""Percentiles within their promised error, and sums."""

from __future__ import annotations

import pickle
import random

import pytest

from raycache.demo.tally import Latencies, Tally


@pytest.mark.parametrize("percent", [1, 50, 90, 99, 99.9, 100])
def test_percentiles_are_within_their_error(percent: float) -> None:
    rng = random.Random(3)
    durations = [rng.lognormvariate(-9, 1.5) for _ in range(5000)]
    latencies = Latencies()
    for duration in durations:
        latencies.record(duration)
    exact = sorted(durations)[max(1, -(-5000 * percent // 100).__int__()) - 1]
    assert latencies.percentile_s(percent) == pytest.approx(exact, rel=0.0115)
    assert latencies.count == 5000
    assert latencies.mean_s == pytest.approx(sum(durations) / 5000)


def test_nothing_recorded() -> None:
    assert Latencies().percentile_s(50) is None
    assert Latencies().mean_s == 0.0


@pytest.mark.parametrize("seconds", [0.0, 1e-12, 1e6])
def test_what_lies_outside_the_range_counts_at_its_edge(seconds: float) -> None:
    latencies = Latencies()
    latencies.record(seconds)
    assert latencies.count == 1
    assert latencies.percentile_s(50) is not None


def test_sums_equal_recording_all_in_one() -> None:
    parts = [Latencies(), Latencies()]
    whole = Latencies()
    for number in range(1, 200):
        parts[number % 2].record(number / 1e4)
        whole.record(number / 1e4)
    parts[0].add(pickle.loads(pickle.dumps(parts[1])))
    assert parts[0].counts.tolist() == whole.counts.tolist()
    assert parts[0].total_s == pytest.approx(whole.total_s)


def test_tallies_add() -> None:
    total = Tally(hits=3, misses=1, failures=1, checked=2, wrong=0)
    other = Tally(hits=1, misses=3, checked=1, wrong=1)
    other.queries.record(0.25)
    total.add(other)
    assert (total.hits, total.misses, total.failures, total.checked, total.wrong) == (4, 4, 1, 3, 1)
    assert (total.lookups, total.hit_ratio) == (8, 0.5)
    assert total.saved_s == 4 * 0.25


def test_an_empty_tally_has_no_ratio() -> None:
    assert Tally().hit_ratio == 0.0
    assert Tally().saved_s == 0.0
