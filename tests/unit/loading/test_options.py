"""Settings of a load: what is refused, what is remembered, and the lifetime that follows."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.loading import LoadOptions, LoadSettings
from raycache.loading.options import NAMES, Storing, options_of


@pytest.mark.parametrize(("settings", "error"), [
    ({"ttl": 0}, ValueError), ({"ttl": -1}, ValueError), ({"ttl": "5"}, TypeError), ({"ttl": True}, TypeError),
    ({"ttl": 1e15}, ValueError), ({"ttl": float("nan")}, ValueError), ({"jitter": 1}, ValueError),
    ({"jitter": -0.1}, ValueError), ({"beta": -1}, ValueError), ({"beta": float("inf")}, ValueError),
    ({"stale_ttl": -1}, ValueError), ({"stale_if_error": None}, TypeError), ({"negative_ttl": -1}, ValueError),
    ({"tags": "text"}, TypeError), ({"tags": [b"bytes"]}, TypeError), ({"lease_s": 0}, ValueError),
    ({"lease_s": 3601}, ValueError), ({"wait_s": -1}, ValueError), ({"on_load_error": "ignore"}, ValueError),
    ({"no_such": 1}, TypeError),
])
def test_what_makes_no_sense_is_refused(settings: Any, error: type[Exception]) -> None:
    for base in (None, LoadOptions()):
        with pytest.raises(error):
            options_of(base, settings)


def test_every_field_is_a_setting_and_the_other_way_round() -> None:
    assert set(LoadSettings.__annotations__) == NAMES


def test_the_same_settings_are_checked_once_and_others_anew() -> None:
    assert options_of(None, {"ttl": 5.0}) is options_of(None, {"ttl": 5.0})
    assert options_of(None, {"ttl": 5.0}) is not options_of(None, {"ttl": 6.0})
    assert options_of(None, {"tags": ["a", "b", "a"]}).tags == ("a", "b")
    options_of(None, {"ttl": 1})
    with pytest.raises(TypeError):
        options_of(None, {"ttl": True})  # which is equal to 1
    for number in range(1, 1000):  # they are not kept for ever
        assert options_of(None, {"ttl": float(number)}).ttl == number


def test_settings_change_single_options() -> None:
    base = LoadOptions(ttl=5, tags=("a",))
    assert options_of(base, {}) is base
    assert options_of(base, {"ttl": timedelta(minutes=1)}) == base.but(ttl=timedelta(minutes=1))
    assert base.but() is base


@given(st.floats(0.001, 1e6), st.floats(0, 0.99), st.floats(0, 1e4), st.floats(0, 1e4), st.integers(0, 2**32))
def test_a_lifetime_is_within_its_jitter_and_followed_by_its_grace(ttl: float, jitter: float, stale: float,
                                                                   fallback: float, seed: int) -> None:
    options = LoadOptions(ttl=ttl, jitter=jitter, stale_ttl=stale, stale_if_error=fallback)
    storing = options.storing("value", random.Random(seed))
    assert storing is not None
    own_ms = storing.px - storing.grace_ms
    assert ttl * 1000 * (1 - jitter) - 1 <= own_ms <= ttl * 1000 + 1
    assert own_ms >= 1
    assert max(stale, fallback) * 1000 <= storing.grace_ms <= max(stale, fallback) * 1000 + 1


@pytest.mark.parametrize(("settings", "value", "expected"), [
    ({}, 1, Storing(0, 0)), ({"stale_ttl": 5}, 1, Storing(0, 0)),
    ({"ttl": 2, "jitter": 0}, 1, Storing(2000, 0)),
    ({"ttl": lambda value: timedelta(seconds=value), "jitter": 0}, 3, Storing(3000, 0)),
    ({"ttl": lambda value: None}, 3, Storing(0, 0)),
    ({"ttl": lambda value: value, "stale_ttl": 9}, 0, None), ({"ttl": lambda value: value}, -2.5, None),
    ({"ttl": lambda value: timedelta(seconds=value)}, -1, None),
    ({"ttl": 2, "jitter": 0, "negative_ttl": 1}, None, Storing(1000, 0)),
    ({"ttl": 2, "jitter": 0, "negative_ttl": 1}, 0, Storing(2000, 0)),
    ({"ttl": 2, "negative_ttl": 0}, None, None),
    ({"ttl": 2, "jitter": 0}, None, Storing(2000, 0)),
    ({"cache_if": lambda value: value > 3}, 3, None), ({"cache_if": lambda value: value > 3}, 4, Storing(0, 0)),
])
def test_what_is_stored_for_how_long(settings: Any, value: Any, expected: Storing | None) -> None:
    assert LoadOptions(**settings).storing(value, random.Random(1)) == expected


def test_a_lifetime_that_a_function_returns_is_checked_like_any_other() -> None:
    for wrong in (math.nan, math.inf, 1e30, "x", True):
        with pytest.raises((ValueError, TypeError)):
            LoadOptions(ttl=lambda value, wrong=wrong: wrong).storing(1, random.Random(1))
