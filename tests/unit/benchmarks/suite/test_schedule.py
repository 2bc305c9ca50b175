"""What is asked, and when."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.suite.schedule import NS, Arrivals, draw, draw_reads, key_name, zipf_weights

START_NS = 5_000


def taken(arrivals: Arrivals) -> list[tuple[int, int]]:
    found = []
    while (arrival := arrivals.take()) is not None:
        found.append(arrival)
    return found


def test_arrivals_come_at_a_constant_rate() -> None:
    assert taken(Arrivals(START_NS, rate=4, duration_s=1.0)) == [
        (0, START_NS), (1, START_NS + NS // 4), (2, START_NS + NS // 2), (3, START_NS + 3 * NS // 4),
    ]  # fmt: skip


@given(rate=st.integers(1, 3_000), of=st.integers(1, 8), tenths=st.integers(1, 30))
def test_processes_share_a_rate_without_gaps_and_without_doubling(rate: int, of: int, tenths: int) -> None:
    duration_s = tenths / 10
    parts = [Arrivals(START_NS, rate, duration_s, number, of) for number in range(of)]
    times = sorted(due_ns for part in parts for _, due_ns in taken(part))
    assert times == [START_NS + round(place * NS / rate) for place in range(round(rate * duration_s))]


def test_the_wait_of_a_late_caller_counts_from_the_arrivals_own_time() -> None:
    arrivals = Arrivals(START_NS, rate=1_000, duration_s=0.01)
    dues = [due_ns for _, due_ns in taken(arrivals)]  # however late it is: nobody's clock moves them
    assert np.diff(dues).tolist() == [NS // 1_000] * 9


def test_each_arrival_is_given_to_one_thread() -> None:
    arrivals = Arrivals(0, rate=20_000, duration_s=1.0)
    found: list[list[tuple[int, int]]] = [[], [], [], []]

    def take(mine: list[tuple[int, int]]) -> None:
        mine.extend(taken(arrivals))

    threads = [threading.Thread(target=take, args=(mine,)) for mine in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(place for mine in found for place, _ in mine) == list(range(20_000))


@pytest.mark.parametrize(("rate", "duration_s"), [(0, 1.0), (1, 0.0)])
def test_a_rate_and_a_duration_are_needed(rate: float, duration_s: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Arrivals(0, rate, duration_s)


def test_zipf_gives_rank_r_a_share_of_one_over_r() -> None:
    weights = zipf_weights(1_000, exponent=1.0)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] / weights[9] == pytest.approx(10.0)
    assert (np.diff(weights) < 0).all()
    with pytest.raises(ValueError, match="at least 1"):
        zipf_weights(0)


def test_drawn_keys_follow_the_law() -> None:
    keys, count = 100, 200_000
    counts = np.sort(np.bincount(draw("zipf", keys, count, seed=1), minlength=keys))[::-1]
    # Three standard deviations and the error of sorting by what was drawn.
    expected = zipf_weights(keys) * count
    assert np.abs(counts - expected).max() < 4 * np.sqrt(expected.max())
    even = np.bincount(draw("uniform", keys, count, seed=1), minlength=keys)
    assert even.min() > 0.9 * count / keys
    assert even.max() < 1.1 * count / keys


@given(law=st.sampled_from(["uniform", "zipf"]), keys=st.integers(1, 50), seed=st.integers(0, 1_000))
def test_drawn_keys_exist_and_repeat_by_seed(law: str, keys: int, seed: int) -> None:
    drawn = draw(law, keys, 30, seed)  # type: ignore[arg-type]
    assert ((drawn >= 0) & (drawn < keys)).all()
    assert (drawn == draw(law, keys, 30, seed)).all()  # type: ignore[arg-type]


def test_everybody_agrees_which_keys_are_popular() -> None:
    favourites = {int(np.bincount(draw("zipf", 1_000, 5_000, seed)).argmax()) for seed in range(4)}
    assert len(favourites) == 1


def test_reads_have_their_part() -> None:
    assert draw_reads(100, 50, 1) == [True] * 50
    assert draw_reads(0, 50, 1) == [False] * 50
    assert 0.93 < sum(draw_reads(95, 10_000, 1)) / 10_000 < 0.97
    with pytest.raises(ValueError, match="0 to 100"):
        draw_reads(101, 1, 1)


def test_keys_are_those_of_redis_benchmark() -> None:
    assert key_name(123) == "key:000000000123"
    assert len(key_name(0)) == 16
