"""How a load is shared among processes, and that the echo moves as many bytes as Redis' protocol does."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.suite import doors
from benchmarks.suite.crew import order
from benchmarks.suite.echo import FRAME
from benchmarks.suite.points import Point


@given(connections=st.integers(1, 64), size=st.integers(1, 8))
def test_every_connection_belongs_to_one_process(connections: int, size: int) -> None:
    of = min(size, connections)
    orders = [order("side", Point(connections=connections), 1.0, 1, number=number, of=of) for number in range(of)]
    assert sum(each["callers"] for each in orders) == connections
    assert min(each["callers"] for each in orders) >= 1
    assert [each["number"] for each in orders] == list(range(of))


class FakeSocket:
    """Answers every request as the echo does, in pieces of 1,000 bytes."""

    def __init__(self) -> None:
        self.sent = b""
        self._unread = 0

    def setsockopt(self, *_: int) -> None: ...

    def close(self) -> None: ...

    def sendall(self, data: bytes) -> None:
        if not self.sent:
            self._unread = FRAME.unpack_from(data)[1]
        self.sent += data

    def recv_into(self, buffer: memoryview) -> int:
        taken = min(len(buffer), self._unread, 1_000)
        self._unread -= taken
        return taken


def resp(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


@pytest.mark.parametrize("size", [0, 16, 100, 5_000, 200_000])
def test_the_echo_moves_as_many_bytes_as_a_get_and_a_set(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    wire = FakeSocket()
    monkeypatch.setattr(socket, "create_connection", lambda address: wire)
    client = doors.EchoClient(("", 0), lambda: size)
    assert len(client.get("key:000000000001")) == size
    assert len(wire.sent) == len(resp(b"GET", b"key:000000000001"))
    assert FRAME.unpack_from(wire.sent) == (len(wire.sent), len(b"$%d\r\n" % size) + size + 2)
    wire.sent = b""
    client.set("key:000000000001", b"x" * size)
    assert len(wire.sent) == len(resp(b"SET", b"key:000000000001", b"x" * size))
    assert FRAME.unpack_from(wire.sent) == (len(wire.sent), len(b"+OK\r\n"))


def test_an_echo_that_went_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    wire = FakeSocket()
    monkeypatch.setattr(socket, "create_connection", lambda address: wire)
    monkeypatch.setattr(wire, "recv_into", lambda buffer: 0)
    with pytest.raises(ConnectionError, match="closed"):
        doors.EchoClient(("", 0), lambda: 10).get("key")
