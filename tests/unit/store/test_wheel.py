"""The timer wheel alone: what is due comes out, once, soon, and a bounded number at a time."""

from __future__ import annotations

import gc
import random

import pytest

from raycache.store.entry import Entry
from raycache.store.wheel import TICK_BITS, TimerWheel

TICK_MS = 1 << TICK_BITS
SECOND = 1000
DAY = 86_400 * SECOND
START = 1_700_000_000_000


def wheel_at(now_ms: int) -> TimerWheel:
    return TimerWheel(now_ms >> TICK_BITS)


def scheduled(wheel: TimerWheel, expires_ms: int) -> Entry:
    entry = Entry()
    entry.timer = None
    wheel.schedule(entry, expires_ms)
    return entry


def take(wheel: TimerWheel, now_ms: int, budget: int = 1000) -> list[Entry]:
    expired = wheel.take_due(now_ms, budget)
    for entry in expired:
        wheel.cancel(entry)
    return expired


@pytest.mark.parametrize("ttl_ms", [0, 1, 127, 128, 8191, 8192, 8193, 524_288, 33_554_432, 30 * DAY, 2000 * DAY])
def test_a_timer_comes_out_after_it_expires_and_within_two_ticks(ttl_ms: int) -> None:
    wheel = wheel_at(START)
    entry = scheduled(wheel, START + ttl_ms)
    assert take(wheel, START + ttl_ms - 1) == []
    assert take(wheel, START + ttl_ms + 2 * TICK_MS) == [entry]
    assert len(wheel) == 0


def test_timers_come_out_on_time_however_time_passes() -> None:
    rng = random.Random(7)
    wheel, now = wheel_at(START), START
    waiting: dict[int, tuple[Entry, int]] = {}
    for _ in range(3000):
        for _ in range(rng.randrange(4)):
            expires_ms = now + int(10 ** rng.uniform(0, 8))
            entry = scheduled(wheel, expires_ms)
            waiting[id(entry)] = (entry, expires_ms)
        now += int(10 ** rng.uniform(0, 6))
        for entry in take(wheel, now, budget=100_000):
            assert waiting.pop(id(entry))[1] <= now
        assert all(expires_ms > now - 2 * TICK_MS for _, expires_ms in waiting.values())
        assert len(wheel) == len(waiting)


def test_a_call_looks_at_no_more_timers_than_its_budget() -> None:
    wheel = wheel_at(START)
    entries = {id(scheduled(wheel, START + 5)): None for _ in range(10)}
    later = START + SECOND
    taken = take(wheel, later, budget=4)
    assert len(taken) == 4
    assert wheel.has_due
    taken += take(wheel, later, budget=100)
    assert {id(entry) for entry in taken} <= entries.keys()
    assert (len(taken), len(wheel), wheel.has_due) == (10, 0, False)


def test_moving_to_a_finer_level_spends_budget_as_well() -> None:
    wheel = wheel_at(START)
    for _ in range(10):
        scheduled(wheel, START + 60 * SECOND)
    for ms in range(0, 59 * SECOND, TICK_MS):
        wheel.take_due(START + ms, budget=3)
    assert len(take(wheel, START + 61 * SECOND)) == 10


def test_rescheduling_leaves_nothing_behind() -> None:
    wheel = wheel_at(START)
    entry = scheduled(wheel, START + SECOND)
    for days in range(1, 500):
        wheel.schedule(entry, START + days * DAY)
    assert len(list(wheel.timers())) == len(wheel) == 1
    assert take(wheel, START + 400 * DAY) == []
    assert take(wheel, START + 500 * DAY) == [entry]


def test_a_cancelled_timer_never_comes_out_even_when_it_was_due() -> None:
    wheel = wheel_at(START)
    first, second = scheduled(wheel, START), scheduled(wheel, START)
    wheel.take_due(START + SECOND, budget=0)  # both are on the due ring now
    wheel.cancel(first)
    assert first.timer is None
    assert take(wheel, START + SECOND) == [second]
    wheel.cancel(first)  # again: nothing to do
    assert len(wheel) == 0


def test_a_clock_that_goes_back_only_delays() -> None:
    wheel = wheel_at(START)
    wheel.take_due(START + DAY, 10)
    entry = scheduled(wheel, START + SECOND)
    assert take(wheel, START) == []
    assert not wheel.has_due
    assert take(wheel, START + DAY + 2 * TICK_MS) == [entry]


def test_a_wheel_that_was_never_told_the_time_catches_up() -> None:
    wheel = TimerWheel()
    entry = scheduled(wheel, START + SECOND)
    assert take(wheel, START) == []
    assert take(wheel, START + SECOND + 2 * TICK_MS) == [entry]


def test_an_expiry_beyond_the_last_level_waits_its_turn() -> None:
    wheel = wheel_at(START)
    entry = scheduled(wheel, START + 40 * 365 * DAY)
    for years in range(1, 40):
        assert take(wheel, START + years * 365 * DAY) == []
    assert take(wheel, START + 40 * 365 * DAY + 2 * TICK_MS) == [entry]


def test_nothing_needs_the_cyclic_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        wheel = wheel_at(START)
        for ms in range(50):
            scheduled(wheel, START + ms)
        assert len(take(wheel, START + SECOND)) == 50
        wheel.close()
        del wheel
        assert gc.collect() == 0
    finally:
        gc.enable()
