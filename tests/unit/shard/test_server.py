"""Turns of several connections: what one does wrong is its own affair."""

from __future__ import annotations

from functools import partial
from typing import Any

from raycache.config import ClusterConfig
from raycache.shard.build import build_server
from raycache.shard.server import TURN_S, Connection, ShardServer
from raycache.shard.turn import TURN_COMMANDS
from raycache.testing.clock import FakeClock

PING = b"*1\r\n$4\r\nPING\r\n"


class FakeTransport:
    """Keeps what is written, and fails where it is told to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.written = b""
        self.is_aborted = False

    def write(self, data: bytes) -> None:
        if self.fails:
            raise RuntimeError("this transport does not write")
        self.written += data

    def is_closing(self) -> bool:
        return self.is_aborted

    def abort(self) -> None:
        self.is_aborted = True

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_extra_info(self, name: str) -> tuple[str, int]:
        return ("127.0.0.1", 1)


def connect(server: ShardServer, transport: Any) -> Connection:
    connection = Connection(server)
    connection.connection_made(transport)
    return connection


async def test_a_turn_that_fails_ends_its_own_connection_only() -> None:
    server = build_server(ClusterConfig(name="x"), "s0", secret=None, require_auth=False)
    server.is_calm = False
    broken, whole = FakeTransport(fails=True), FakeTransport()
    for transport in (broken, whole):
        connect(server, transport).data_received(PING)
    server._turn()
    assert broken.is_aborted
    assert (whole.written, whole.is_aborted) == (b"+PONG\r\n", False)


class SteppedClock(FakeClock):
    """Each look at it takes this part of what a turn may."""

    def __init__(self, part: float) -> None:
        super().__init__()
        self._part = part

    def monotonic_s(self) -> float:
        self.advance(TURN_S * self._part)
        return super().monotonic_s()


async def test_steps_of_many_long_commands_have_the_time_of_one_turn_together() -> None:
    server = build_server(ClusterConfig(name="x"), "s0", secret=None, require_auth=False, clock=SteppedClock(0.5))
    done: list[int] = []
    for number in range(20):
        server.queue_step(partial(done.append, number))
    server._turn()
    assert 1 <= len(done) < 5
    while len(done) < 20:
        server._turn()
    assert done == list(range(20))


def written_to(server: ShardServer, count: int) -> list[FakeTransport]:
    """Let `count` clients have sent a PING each, as one pass of the loop sees it."""
    transports = [FakeTransport() for _ in range(count)]
    for transport in transports:
        connect(server, transport).data_received(PING)
    return transports


def answered(transports: list[FakeTransport]) -> int:
    return sum(transport.written == b"+PONG\r\n" for transport in transports)


async def test_replies_wait_for_each_other_in_one_pass_of_the_loop() -> None:
    server = build_server(ClusterConfig(name="x"), "s0", secret=None, require_auth=False, clock=FakeClock())
    server.is_calm = False
    transports = written_to(server, 20)
    assert answered(transports) == 0
    server._turn()
    assert answered(transports) == 20


async def test_what_a_pass_has_no_time_for_has_its_turn_in_the_next() -> None:
    server = build_server(ClusterConfig(name="x"), "s0", secret=None, require_auth=False, clock=SteppedClock(0.05))
    server.is_calm = False
    transports = written_to(server, 60)
    assert 0 < len(server.served) < 60
    while (before := answered(transports)) < len(transports) < 70:
        transports += written_to(server, 1)
        server._turn()
        now = answered(transports)
        assert before < now < before + 40
        assert answered(transports[:now]) == now  # in the order in which they came


async def test_what_comes_while_others_wait_has_its_turn_after_theirs() -> None:
    server = build_server(ClusterConfig(name="x"), "s0", secret=None, require_auth=False, clock=FakeClock())
    server.is_calm = False
    first, second = FakeTransport(), FakeTransport()
    connect(server, first).data_received(PING * (TURN_COMMANDS + 1))
    server._turn()
    assert first.written == b"+PONG\r\n" * TURN_COMMANDS
    connect(server, second).data_received(PING)
    assert len(server.served) == 0
    server._turn()
    assert first.written == b"+PONG\r\n" * (TURN_COMMANDS + 1)
    assert second.written == b"+PONG\r\n"


async def test_bytes_that_come_before_the_replies_are_sent_run_after_them() -> None:
    server = build_server(ClusterConfig(name="x"), "s0", secret=None, require_auth=False, clock=FakeClock())
    server.is_calm = False
    transport = FakeTransport()
    connection = connect(server, transport)
    connection.data_received(PING)
    connection.data_received(PING)
    assert connection.eof_received()
    server._turn()
    assert (transport.written, transport.is_aborted) == (b"+PONG\r\n", False)
    server._turn()
    assert transport.written == b"+PONG\r\n" * 2


async def test_it_is_calm_no_more_as_soon_as_many_send() -> None:
    server = build_server(ClusterConfig(name="x"), "s0", secret=None, require_auth=False, clock=FakeClock())
    assert server.is_calm
    transports = written_to(server, 20)
    assert 0 < answered(transports) < 5  # at once, each on its own
    assert len(server.served) == 20 - answered(transports)
    server._turn()
    assert answered(transports) == 20
