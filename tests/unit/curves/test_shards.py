"""The sampled miss-ratio curve against the exact one."""

from __future__ import annotations

import random
from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raycache.curves.points import FACTORS, NOW, at, together
from raycache.curves.shards import MissRatioCurve
from raycache.curves.tree import WeightTree

SPACE = 1 << 40


def exact(looks: list[tuple[int, int]], capacities: list[float]) -> list[float]:
    """The miss ratios of LRU caches, by definition: the weight of all that was looked up since, and its own."""
    tree, last = WeightTree(len(looks)), dict[int, int]()
    distances = []
    for now, (key, weight) in enumerate(looks, 1):
        if key in last:
            distances.append(tree.after(last[key]) + weight)
            tree.add(last[key], -weight)
        tree.add(now, weight)
        last[key] = now
    distances.sort()
    return [1 - bisect_right(distances, capacity) / len(looks) for capacity in capacities]


def sampled(looks: list[tuple[int, int]], most_keys: int, seed: int = 1) -> MissRatioCurve:
    rng = random.Random(seed)
    curve, places = MissRatioCurve(SPACE, most_keys=most_keys), dict[int, int]()
    for key, weight in looks:
        place = places.get(key)
        if place is None:
            place = places[key] = rng.randrange(SPACE)
        if place < curve.threshold:
            curve.look(place, weight)
            if curve.is_due:
                for _ in curve.renumber():
                    pass
    curve.count(len(looks))
    return curve


def skewed(count: int, keys: int, seed: int, *, sizes: bool) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    drawn = (rng.zipf(1.2, count) % keys).tolist()
    return [(key, 1 + key * 7919 % 500 if sizes else 1) for key in drawn]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 100)), min_size=1, max_size=300))
def test_the_whole_sample_is_exact_up_to_the_width_of_a_bucket(looks: list[tuple[int, int]]) -> None:
    weights = dict(looks)
    looks = [(key, weights[key]) for key, _ in looks]
    curve = sampled(looks, 10)  # so few that times are numbered anew often; or all
    curve_of_all = sampled(looks, 1000)
    assert len(curve) <= 10
    for capacity in (1, 10, 100, 1000, 4000):
        low, high = exact(looks, [capacity / 1.025, capacity * 1.025])
        found = curve_of_all.miss_ratios([capacity])[0]
        assert high - 1e-9 <= found <= low + 1e-9


@pytest.mark.parametrize("sizes", [False, True])
def test_a_sample_of_a_thousand_keys_is_within_two_points_on_average(sizes: bool) -> None:
    looks = skewed(60_000, 20_000, 3, sizes=sizes)
    total = sum(dict(looks).values())
    capacities = [total * step / 50 for step in range(1, 51)]
    curve = sampled(looks, 1024)
    assert curve.rate < 0.25
    found = np.array(curve.miss_ratios(capacities))
    assert np.abs(found - exact(looks, capacities)).mean() <= 0.02


def test_what_was_forgotten_misses_and_what_is_nothing_weighs_nothing() -> None:
    curve = MissRatioCurve(SPACE)
    for place in (1, 2, 1):
        curve.look(place, 10)
    curve.forget(1)
    curve.look(1, 10)
    curve.look(3, 0)
    curve.look(3, 0)
    curve.count(6)
    assert curve.miss_ratios([1e9]) == [pytest.approx(5 / 6)]
    curve.forget_all()
    curve.look(2, 10)
    curve.count(1)
    assert curve.miss_ratios([1e9]) == [pytest.approx(6 / 7)]


def test_fading_keeps_the_curve_and_makes_the_next_looks_count_more() -> None:
    curve = sampled(skewed(5000, 500, 1, sizes=False), 1000)
    before = curve.miss_ratios([50, 200])
    curve.fade(0.5)
    assert curve.miss_ratios([50, 200]) == pytest.approx(before)
    assert curve.lookups == 2500


def test_a_curve_before_the_first_look_says_that_all_misses() -> None:
    assert MissRatioCurve(SPACE).miss_ratios([1, 2]) == [1.0, 1.0]


def test_narrowing_takes_keys_out_of_the_sample() -> None:
    curve = sampled(skewed(5000, 5000, 1, sizes=False), 1000)
    keys, rate, promised = len(curve), curve.rate, curve.lookups
    steps = sum(1 for _ in curve.narrow(curve.threshold // 4))
    assert keys / 8 < len(curve) < keys / 2
    assert steps >= (keys - len(curve)) // 128
    assert (curve.rate, curve.lookups) == (pytest.approx(rate / 4), promised)
    assert list(curve.narrow(0)) is not None
    assert (len(curve), curve.rate) == (0, 0.0)
    curve.count(10_000)
    assert curve.miss_ratios([2])[0] < 0.5  # what is not seen counts as hits


def test_after_widening_a_key_that_is_new_to_the_sample_says_nothing() -> None:
    curve = MissRatioCurve(SPACE, SPACE // 4)
    curve.look(1, 10)
    curve.count(4)
    curve.widen(SPACE // 2)
    curve.look(SPACE // 3, 10)
    curve.count(2)
    assert (curve.lookups, curve.rate) == (4, 0.5)
    curve.look(SPACE // 3, 10)
    curve.count(2)
    assert curve.miss_ratios([1000]) == [pytest.approx(4 / 6)]
    curve.settle()
    curve.look(SPACE // 3 + 1, 10)
    curve.count(2)
    assert curve.miss_ratios([1000]) == [pytest.approx(6 / 8)]


def test_keys_that_would_be_farther_away_than_asked_for_leave() -> None:
    curve = MissRatioCurve(SPACE, most_keys=100)
    for place in range(50):
        curve.look(place, 10)
    for _ in curve.renumber(200):
        pass
    assert len(curve) == 20
    curve.look(49, 10)
    curve.look(1, 10)
    curve.count(52)
    assert curve.miss_ratios([11, 1e6]) == [pytest.approx(51 / 52)] * 2


def test_curves_are_put_together_by_their_look_ups() -> None:
    one, other = [0.2] * len(FACTORS), [0.8] * len(FACTORS)
    assert FACTORS[NOW] == 1.0
    assert together([(100, one), (300, other)])[NOW] == pytest.approx(0.65)
    assert together([]) == together([(0, one)]) == []
    rising = [place / len(FACTORS) for place in range(len(FACTORS))]
    assert at(rising, 1.0) == rising[NOW]
    assert at(rising, 0.001) == 0.0
    assert at(rising, 100) == rising[-1]
    assert rising[NOW] < at(rising, 1.1) < rising[NOW + 1]
