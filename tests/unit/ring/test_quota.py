"""Loads in whole slots: fair shares, caps, who gives and who takes."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.ring.quota import Quota, after_release, drain, fair_shares, fill, limited_shares

SLOTS = 16384
weights = st.lists(st.integers(0, 9), min_size=1, max_size=40).filter(any)


def test_shares_are_proportional() -> None:
    assert fair_shares([1, 3, 0], 400) == [100.0, 300.0, 0.0]
    assert fair_shares([0, 0], 400) == [0.0, 0.0]


def test_cap_and_low() -> None:
    quota = Quota.of([100.0, 16.5, 0.5, 0.0], 1 / 32)
    assert list(quota.cap) == [104, 18, 1, 0]
    assert list(quota.low) == [95, 14, 0, 0]


@given(weights)
def test_from_nothing_everybody_is_within_one_slot_of_its_share(weights: list[int]) -> None:
    fair = fair_shares(weights, SLOTS)
    targets = fill([0] * len(weights), Quota.of(fair, 1 / 32), SLOTS)
    assert sum(targets) == SLOTS
    assert all(abs(target - share) < 1 for target, share in zip(targets, fair, strict=True))


@given(weights, st.data())
def test_fill_gives_exactly_the_amount_and_keeps_the_cap(weights: list[int], data: st.DataObject) -> None:
    quota = Quota.of(fair_shares(weights, SLOTS), 1 / 32)
    loads = [data.draw(st.integers(0, cap)) for cap in quota.cap]
    amount = data.draw(st.integers(0, sum(quota.cap) - sum(loads)))
    targets = fill(loads, quota, amount)
    assert sum(targets) == sum(loads) + amount
    assert all(load <= target <= cap for load, target, cap in zip(loads, targets, quota.cap, strict=True))


def fill_one_by_one(loads: list[int], quota: Quota, amount: int) -> list[int]:
    for _ in range(amount):
        open_ = [i for i in range(len(loads)) if loads[i] < quota.cap[i]]
        loads[min(open_, key=lambda i: (loads[i] - quota.fair[i], i))] += 1
    return loads


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any), st.data())
def test_fill_is_the_greedy_rule(weights: list[int], data: st.DataObject) -> None:
    quota = Quota.of(fair_shares(weights, 64), 0.1)
    loads = [data.draw(st.integers(0, cap)) for cap in quota.cap]
    amount = data.draw(st.integers(0, sum(quota.cap) - sum(loads)))
    assert fill(loads, quota, amount) == fill_one_by_one(list(loads), quota, amount)


def test_fill_stops_where_all_are_full() -> None:
    assert fill([0, 0], Quota.of([1.0, 0.0], 0.5), 9) == [2, 0]


def test_drain_takes_the_largest_excess_first_and_never_below_the_share() -> None:
    quota = Quota.of([10.0, 10.0, 10.0], 1)
    assert drain([14, 12, 9], quota, 3) == [11, 12, 9]
    assert drain([14, 12, 9], quota, 5) == [10, 11, 9]
    assert drain([14, 12, 9], quota, 99) == [10, 10, 9]


def test_nothing_is_released_between_low_and_cap() -> None:
    quota = Quota.of([100.0] * 4, 1 / 32)
    assert after_release([104, 96, 104, 96], quota, 0) == [104, 96, 104, 96]


def test_above_the_cap_only_the_surplus_goes() -> None:
    quota = Quota.of([100.0] * 3, 1 / 32)
    assert after_release([110, 95, 95], quota, 0) == [104, 95, 95]


def test_a_new_shard_is_given_its_fair_share_and_no_more() -> None:
    quota = Quota.of([100.0] * 3, 1)
    assert after_release([150, 150, 0], quota, 0) == [100, 100, 0]
    # What has no owner, or is above a cap, counts towards it.
    assert after_release([110, 110, 0], quota, 80) == [100, 100, 0]
    assert after_release([110, 110, 0], quota, 200) == [110, 110, 0]


@pytest.mark.parametrize(("limits", "shares"), [
    ([900, 900, 900], [450.0, 225.0, 225.0]),
    ([300, 900, 900], [300.0, 300.0, 300.0]),
    ([300, 310, 900], [300.0, 300.0, 300.0]),
    ([300, 200, 900], [300.0, 200.0, 400.0]),
    ([0, 900, 900], [0.0, 450.0, 450.0]),
])
def test_domains_at_their_limit_leave_the_rest_to_others(limits: list[int], shares: list[float]) -> None:
    assert limited_shares([2, 1, 1], 900, [0, 1, 2], limits) == shares


def test_members_of_a_full_domain_share_its_limit_by_weight() -> None:
    assert limited_shares([1, 3, 4, 0], 800, [0, 0, 1, 1], [200, 800]) == [50.0, 150.0, 600.0, 0.0]


@given(weights)
def test_without_effective_limits_they_are_fair_shares(weights: list[int]) -> None:
    limited = limited_shares(weights, SLOTS, [0] * len(weights), [SLOTS])
    assert all(math.isclose(a, b) for a, b in zip(limited, fair_shares(weights, SLOTS), strict=True))
