"""Turns of several connections: what one does wrong is its own affair."""

from __future__ import annotations

from functools import partial
from typing import Any

from raycache.config import ClusterConfig
from raycache.shard.build import build_server
from raycache.shard.server import TURN_S, Connection, ShardServer
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
    """Each look at it takes half of what a turn may."""

    def monotonic_s(self) -> float:
        self.advance(TURN_S / 2)
        return super().monotonic_s()


async def test_steps_of_many_long_commands_have_the_time_of_one_turn_together() -> None:
    server = build_server(ClusterConfig(name="x"), "s0", secret=None, require_auth=False, clock=SteppedClock())
    done: list[int] = []
    for number in range(20):
        server.queue_step(partial(done.append, number))
    server._turn()
    assert 1 <= len(done) < 5
    while len(done) < 20:
        server._turn()
    assert done == list(range(20))
