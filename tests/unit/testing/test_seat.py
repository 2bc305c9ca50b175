"""Seats: a loop in a thread that can be stopped in its tracks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from raycache.testing.seat import Seat


@pytest.fixture
def seat() -> Iterator[Seat]:
    seat = Seat("test-seat")
    yield seat
    seat.close()


def test_things_run_on_its_own_thread(seat: Seat) -> None:
    assert seat.call(lambda: threading.current_thread().name) == "test-seat"

    async def answer() -> int:
        await asyncio.sleep(0)
        return 7

    assert seat.run(answer()) == 7


def test_what_fails_there_fails_here(seat: Seat) -> None:
    def fail() -> None:
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        seat.call(fail)


def test_while_it_is_paused_nothing_runs_and_afterwards_everything_does(seat: Seat) -> None:
    done = threading.Event()
    seat.pause()
    seat.pause()  # once is enough
    seat.loop.call_soon_threadsafe(done.set)
    assert not done.wait(0.02)
    seat.resume()
    assert done.wait(5)


def test_closing_ends_what_runs_there_paused_or_not() -> None:
    seat = Seat("test-seat")
    ended = threading.Event()

    async def for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    seat.call(lambda: setattr(seat, "task", asyncio.ensure_future(for_ever())))
    seat.pause()
    seat.close()
    assert ended.is_set()
    assert "test-seat" not in [thread.name for thread in threading.enumerate()]
