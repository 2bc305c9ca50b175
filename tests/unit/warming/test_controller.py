"""The control law: it converges to what the database can bear, backs off when that shrinks, and comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.warming.controller import (
    CALM,
    FIRST_RATE,
    LEAST_RATE,
    MAX_PAUSE_S,
    PAUSE_S,
    SETTLE_S,
    WINDOW_S,
    Observations,
    RateController,
)

BOUND_S = 0.02
NOTHING = Observations()


class Database:
    """A queue with one server: the fuller it is, the longer it takes, and without limit at `capacity`."""

    def __init__(self, capacity: float, base_s: float = 0.005) -> None:
        self.capacity = capacity
        self.base_s = base_s

    def latency_s(self, rate: float) -> float:
        use = min(0.99, rate / self.capacity)
        return self.base_s / (1 - use)

    def rate_at(self, latency_s: float) -> float:
        """The rate at which it takes so long."""
        return self.capacity * (1 - self.base_s / latency_s)


def drive(controller: RateController, database: Database, seconds: float, from_s: float = 0.0) -> list[float]:
    """Let them play against each other, ten samples a second; return the rate after each."""
    rates = []
    for number in range(int(seconds * 10)):
        controller.step(from_s + number / 10, Observations([database.latency_s(controller.rate)]))
        rates.append(controller.rate)
    return rates


@pytest.mark.parametrize("capacity", [60.0, 400.0, 900.0])
def test_it_converges_to_the_fastest_rate_that_keeps_the_bound(capacity: float) -> None:
    database, controller = Database(capacity), RateController(1000, BOUND_S)
    rates = drive(controller, database, 120)[300:]
    limit = database.rate_at(BOUND_S)
    assert max(rates) < limit + 25  # one step of growth
    assert sum(rates) / len(rates) > 0.5 * limit
    assert sum(database.latency_s(rate) > BOUND_S for rate in rates) < 0.1 * len(rates)


def test_a_database_with_room_gets_the_full_rate_within_seconds() -> None:
    controller = RateController(1000, BOUND_S)
    assert controller.rate == FIRST_RATE
    rates = drive(controller, Database(100_000), 5)
    assert rates[-1] == 1000
    assert controller.backoffs == 0


def test_it_backs_off_when_the_database_slows_down_and_comes_back() -> None:
    controller = RateController(1000, BOUND_S)
    drive(controller, Database(2000), 20)
    assert controller.rate > 700
    slow = Database(200)
    rates = drive(controller, slow, 3, from_s=20)
    assert rates[-1] < slow.rate_at(BOUND_S) * 1.2
    assert min(rates) >= LEAST_RATE
    assert drive(controller, Database(2000), 60, from_s=23)[-1] > 700


def test_it_never_stops_altogether() -> None:
    controller = RateController(1000, BOUND_S)
    for number in range(200):
        controller.step(number, Observations([10.0]))
    assert controller.rate == LEAST_RATE


def test_between_calm_and_the_bound_nothing_changes() -> None:
    controller = RateController(1000, BOUND_S)
    for number in range(100):
        decision = controller.step(number, Observations([BOUND_S * (CALM + 1) / 2]))
        assert decision.verdict == "steady"
    assert controller.rate == FIRST_RATE


def test_what_was_under_way_when_it_slowed_down_does_not_count_twice() -> None:
    controller = RateController(1000, BOUND_S)
    controller.step(0.0, NOTHING)
    assert controller.step(WINDOW_S, Observations([1.0])).verdict == "slower"
    rate = controller.rate
    assert controller.step(WINDOW_S + SETTLE_S / 2, Observations([1.0])).rate == rate
    controller.step(WINDOW_S + SETTLE_S + WINDOW_S, Observations([1.0]))
    assert controller.rate == rate / 2


def test_errors_slow_down_at_once_and_pause_twice_as_long_each_time() -> None:
    controller = RateController(1000)
    assert controller.rate == 1000
    now_s, pause_s = 0.0, PAUSE_S
    for _ in range(10):
        decision = controller.step(now_s, Observations(errors=1))
        assert decision.verdict == "errors"
        assert decision.not_before_s == now_s + pause_s
        now_s, pause_s = decision.not_before_s, min(MAX_PAUSE_S, 2 * pause_s)
    assert pause_s == MAX_PAUSE_S
    assert controller.rate == LEAST_RATE
    controller.step(now_s + WINDOW_S, Observations([0.001]))
    assert controller.step(now_s + 1, Observations(errors=1)).not_before_s == now_s + 1 + PAUSE_S


def test_without_a_bound_latency_means_nothing() -> None:
    controller = RateController(1000)
    for number in range(100):
        controller.step(number, Observations([10.0]))
    assert controller.rate == 1000


def test_without_samples_nothing_changes() -> None:
    controller = RateController(1000, BOUND_S)
    for number in range(100):
        assert controller.step(number, NOTHING).verdict == "steady"
    assert controller.rate == FIRST_RATE


SEEN = st.builds(Observations, st.lists(st.floats(0, 100), max_size=20), st.integers(0, 2))


@given(st.floats(1, 1e6), st.lists(st.tuples(st.floats(0, 5), SEEN), max_size=60))
def test_whatever_it_sees_the_rate_keeps_its_limits_and_a_pause_ends(
    most: float, steps: list[tuple[float, Observations]]
) -> None:
    controller, now_s = RateController(most, BOUND_S), 0.0
    for passed_s, seen in steps:
        now_s += passed_s
        before = controller.rate
        decision = controller.step(now_s, seen)
        assert LEAST_RATE <= decision.rate <= most
        assert decision.not_before_s <= now_s + MAX_PAUSE_S
        if seen.errors:
            assert decision.rate <= before


@pytest.mark.parametrize(("most", "bound_s"), [(0, 1), (-1, 1), (1, 0), (1, -1)])
def test_limits_are_positive(most: float, bound_s: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        RateController(most, bound_s)
