"""Time and processes of the simulation."""

from __future__ import annotations

from raycache.testing.simulation.clocks import UNIX_MS, MachineClock
from raycache.testing.simulation.scheduler import Process, Scheduler


def test_events_run_in_the_order_of_their_times_and_then_of_asking() -> None:
    scheduler, seen = Scheduler(), []
    scheduler.at(2.0, seen.append, "c")
    scheduler.at(1.0, seen.append, "a")
    scheduler.at(1.0, seen.append, "b")
    scheduler.at(9.0, seen.append, "never")
    scheduler.run(3.0)
    assert (seen, scheduler.now_s) == (["a", "b", "c"], 3.0)


def test_what_was_meant_for_an_earlier_life_never_happens() -> None:
    scheduler, seen = Scheduler(), []
    process = Process(scheduler, "p")
    process.start()
    process.after(1.0, seen.append, "first life")
    process.die()
    process.start()
    process.after(1.0, seen.append, "second life")
    scheduler.run(2.0)
    assert seen == ["second life"]


def test_a_paused_process_does_everything_at_once_afterwards_in_order() -> None:
    scheduler, seen = Scheduler(), []
    process = Process(scheduler, "p")
    process.start()
    for number in range(3):
        process.after(0.1 * number, lambda number=number: seen.append((number, scheduler.now_s)))
    process.pause()
    scheduler.run(1.0)
    assert not seen
    process.resume()
    assert seen == [(0, 1.0), (1, 1.0), (2, 1.0)]


def test_a_process_that_is_paused_again_while_it_wakes_keeps_the_rest() -> None:
    scheduler, seen = Scheduler(), []
    process = Process(scheduler, "p")
    process.start()
    process.pause()
    process.run(1, process.pause)
    process.run(1, seen.append, "later")
    process.resume()
    assert not seen
    process.resume()
    assert seen == ["later"]


def test_clocks_are_off_run_unevenly_and_jump_but_monotonic_time_does_not_jump() -> None:
    scheduler = Scheduler()
    clock = MachineClock(scheduler, offset_ms=-5000, start_s=100.0, rate=1.01)
    scheduler.run(10.0)
    assert clock.unix_ms() == UNIX_MS - 5000 + 10_100
    before_s = clock.monotonic_s()
    clock.jump(-600_000)
    assert clock.unix_ms() == UNIX_MS - 605_000 + 10_100
    assert clock.monotonic_s() == before_s == 110.1
