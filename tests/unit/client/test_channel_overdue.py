"""A shard that answers late and one that does not answer: what ends on their connection, and what does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from raycache.client.channel import LATELY, LONGEST_PATIENCE, Channel, Wire
from raycache.client.pending import Call
from raycache.client.requests import Request
from raycache.client.settings import ClientSettings
from raycache.errors import DeadlineExceededError

TIMEOUT_S = 10.0
HEDGE_S = 0.1


class Clock:
    """The loop, as far as a channel that is never dialled needs it."""

    now_s = 100.0

    def time(self) -> float:
        return self.now_s

    def call_later(self, seconds: float, what: Any) -> None:
        """Nothing happens here by itself."""


class FakeTransport(asyncio.Transport):
    aborted = False

    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        self.aborted = True


class Line:
    """One open connection with calls in flight on it."""

    def __init__(self) -> None:
        self.clock, self.transport = Clock(), FakeTransport()
        channel = Channel(("h", 1), None, ClientSettings(timeout_s=TIMEOUT_S, hedge_s=HEDGE_S), self.clock)  # type: ignore[arg-type]
        self.wire = Wire(channel)
        self.wire.connection_made(self.transport)

    def ask(self) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        request: Request[Any] = Request(b"PING\r\n", lambda reply: reply)
        self.wire.send([Call(request, future, self.clock.now_s + TIMEOUT_S)])
        return future


@pytest.fixture
async def line() -> Line:
    return Line()


async def test_a_slow_shard_loses_what_is_overdue_and_nothing_else(line: Line) -> None:
    late = line.ask()
    line.clock.now_s += TIMEOUT_S - 1
    answered_first = line.ask()
    line.clock.now_s += 1
    line.wire.heard_s = line.clock.now_s - LATELY * TIMEOUT_S / 2
    line.wire.expire(line.clock.now_s)
    assert isinstance(late.result(), DeadlineExceededError)
    assert not answered_first.done()
    line.wire.data_received(b"+late\r\n+mine\r\n")  # the late reply must not be taken for somebody else's
    assert answered_first.result() == b"mine"
    assert isinstance(late.result(), DeadlineExceededError)
    assert not line.transport.aborted
    assert not line.wire.in_flight


async def test_what_has_ended_for_its_caller_is_not_overdue_again(line: Line) -> None:
    line.ask()
    line.clock.now_s += TIMEOUT_S
    line.wire.heard_s = line.clock.now_s
    line.wire.expire(line.clock.now_s)
    assert [item.deadline_s for item in line.wire.in_flight] == [float("inf")]


async def test_a_silent_shard_loses_its_connection_and_all_that_was_on_it(line: Line) -> None:
    late = line.ask()
    line.clock.now_s += TIMEOUT_S - 1
    younger = line.ask()
    line.clock.now_s += 1
    line.wire.heard_s = line.clock.now_s - LATELY * TIMEOUT_S
    line.wire.expire(line.clock.now_s)
    assert isinstance(late.result(), DeadlineExceededError)
    assert "stopped answering" in str(younger.result())
    assert line.transport.aborted


async def test_whose_answers_come_late_is_given_more_time_before_others_are_asked(line: Line) -> None:
    """With too much to do everywhere, what is asked twice makes everybody later still."""
    channel = line.wire._channel
    channel._wire = line.wire
    assert channel.patience_s == pytest.approx(HEDGE_S)
    for _ in range(4):  # a stream of answers, each half a second old
        line.ask()
        line.clock.now_s += 0.5
        line.ask()
        line.wire.data_received(b"+late\r\n")
        channel._look()
    assert channel.patience_s > 1.5
    while line.wire.in_flight:
        line.wire.data_received(b"+now\r\n")
    for _ in range(40):
        channel.heard += 1
        channel._look()
    assert channel.patience_s == pytest.approx(HEDGE_S), "it is quick again"


async def test_the_patience_leaves_time_to_ask_somebody_else(line: Line) -> None:
    channel = line.wire._channel
    channel._wire = line.wire
    line.ask()
    line.clock.now_s += TIMEOUT_S / 2
    channel.heard += 1
    channel._look()
    assert channel.patience_s == pytest.approx(LONGEST_PATIENCE * TIMEOUT_S)
