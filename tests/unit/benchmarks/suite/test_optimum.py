"""Belady's rule against trying everything, and the product's policies below it."""

from __future__ import annotations

from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.suite.hits import _policies, replay
from benchmarks.suite.optimum import optimal_hits

KEYS = st.lists(st.integers(0, 4), max_size=10)


def best_of_all(keys: tuple[int, ...], entries: int) -> int:
    """Try every victim at every miss."""

    @lru_cache(None)
    def best(place: int, held: frozenset[int]) -> int:
        if place == len(keys):
            return 0
        key = keys[place]
        if key in held:
            return 1 + best(place + 1, held)
        if len(held) < entries:
            return best(place + 1, held | {key})
        return max(best(place + 1, held - {victim} | {key}) for victim in held)

    return best(0, frozenset())


@settings(max_examples=60)
@given(keys=KEYS, entries=st.integers(1, 3))
def test_nobody_can_have_more(keys: list[int], entries: int) -> None:
    assert optimal_hits(keys, entries) == best_of_all(tuple(keys), entries)


@settings(max_examples=20)
@given(keys=st.lists(st.integers(0, 30), max_size=200), entries=st.integers(1, 20))
def test_no_policy_has_more(keys: list[int], entries: int) -> None:
    limit = optimal_hits(keys, entries)
    assert all(replay(keys, policy, entries) <= limit for policy in ("lru", "lfu", "fifo", "random"))


def test_a_loop_that_just_does_not_fit_is_what_lru_cannot_do() -> None:
    keys = [0, 1, 2, 3] * 25
    assert replay(keys, "lru", 3) == 0
    assert optimal_hits(keys, 3) == 64, "of three requests two are hits, once it is full"
    assert replay(keys, "lru", 4) == optimal_hits(keys, 4) == 96


def test_a_cache_of_nothing_is_none() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        optimal_hits([1], 0)


def test_every_policy_that_can_be_compared_is() -> None:
    assert {"lru", "lfu", "sieve", "random"} <= set(_policies())
    assert not {"ttl", "noeviction"} & set(_policies())
