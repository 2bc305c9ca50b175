"""Batches, delays and the rate limit."""

from __future__ import annotations

from typing import Any

import pytest

from raycache.warming.controller import Observations
from raycache.warming.pace import Pace, WarmSettings
from raycache.warming.report import POINTS, RateHistory, WarmReport

NOTHING = Observations()


def play(pace: Pace, seconds: float, load_s: float = 0.0, latency_s: float | None = None) -> tuple[int, list[int]]:
    """Load as fast as the pace allows; return keys in all, and the sizes of the batches."""
    now_s, keys, sizes = 0.0, 0, []
    while (now_s := now_s + pace.wait_s(now_s)) < seconds:
        size = pace.batch_size()
        began_s, now_s = now_s, now_s + load_s
        pace.loaded(began_s, now_s, size, Observations([latency_s]) if latency_s is not None else NOTHING)
        keys += size
        sizes.append(size)
    return keys, sizes


def test_by_default_a_hundred_keys_and_a_tenth_of_a_second() -> None:
    keys, sizes = play(Pace(WarmSettings()), 10.0, load_s=0.05)
    assert set(sizes) == {100}
    assert keys == pytest.approx(100 * 10 / 0.15, abs=100)


@pytest.mark.parametrize(("rate", "load_s"), [(50, 0.0), (50, 0.02), (900, 0.0), (3, 0.0)])
def test_the_rate_limit_holds(rate: float, load_s: float) -> None:
    keys, _ = play(Pace(WarmSettings(rate=rate)), 20.0, load_s)
    assert keys == pytest.approx(20 * rate, rel=0.03, abs=2)


def test_a_slow_rate_is_made_of_small_batches() -> None:
    assert set(play(Pace(WarmSettings(rate=50)), 5.0)[1]) == {10}


def test_without_a_delay_nothing_but_the_loads_limits_it() -> None:
    pace = Pace(WarmSettings(delay_s=0))
    assert pace.batch_size() == 100
    pace.loaded(0.0, 0.5, 100, NOTHING)
    assert pace.wait_s(0.5) == 0


def test_a_bound_that_is_broken_makes_batches_small() -> None:
    pace = Pace(WarmSettings(max_latency_ms=20))
    _, sizes = play(pace, 10.0, load_s=0.1, latency_s=0.1)
    assert sizes[-1] == 1
    assert pace.backoffs > 3


def test_a_bound_that_is_kept_lets_them_grow_to_what_was_set() -> None:
    _, sizes = play(Pace(WarmSettings(max_latency_ms=20)), 10.0, load_s=0.005, latency_s=0.005)
    assert sizes[0] == 10
    assert sizes[-1] == 100


def test_errors_make_it_wait_even_where_nothing_was_loaded() -> None:
    pace = Pace(WarmSettings())
    pace.observe(5.0, Observations(errors=1))
    assert pace.wait_s(5.0) == 0.5


@pytest.mark.parametrize("wrong", [
    {"batch": 0}, {"batch": 9000}, {"attempts": 0}, {"give_up_after": 0}, {"rate": 0}, {"rate": float("inf")},
    {"max_latency_ms": -1}, {"ttl_s": 0}, {"delay_s": -0.1}, {"jitter": 1}, {"jitter": -0.1}, {"probe_every_s": 0},
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        WarmSettings(**wrong)


def test_the_history_of_rates_stays_short_and_adds_up() -> None:
    report = WarmReport()
    history = RateHistory(report)
    for second in range(1, 1001):
        report.loaded += second % 7
        history.step(float(second))
    history.step(1000.0, is_last=True)
    points = report.rate_over_time
    assert POINTS / 2 <= len(points) <= POINTS
    begins = [0.0, *(at for at, _ in points)]
    stored = sum(rate * (at - begin) for begin, (at, rate) in zip(begins, points, strict=False))
    assert stored == pytest.approx(report.loaded, rel=0.02)
    assert report.as_json()["rate_over_time"][0][0] > 1
