"""Values that are sent from where they stand: in their place among others, and never as a copy."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import hiredis
import pytest

from raycache.client import frames
from raycache.client.channel import Channel, Wire
from raycache.client.requests import Request
from raycache.client.settings import ClientSettings
from raycache.client.stored import BULKY_BYTES, Condition, put


class Transport(asyncio.Transport):
    """Keeps what is written to it, as it came."""

    def __init__(self) -> None:
        self.parts: list[Any] = []

    def write(self, data: Any) -> None:
        self.parts.append(data)

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.parts += list_of_data

    def abort(self) -> None:
        """Nothing to close."""


@pytest.fixture
async def transport() -> Transport:
    return Transport()


def channel_to(transport: Transport) -> Channel:
    """Return a channel whose connection is open."""
    channel = Channel(("h", 1), None, ClientSettings(), asyncio.get_running_loop())
    channel._wire = Wire(channel)
    channel._wire.connection_made(transport)
    return channel


@pytest.mark.parametrize("condition", ["ANY", "NX", 7])
@pytest.mark.parametrize("length", [0, BULKY_BYTES - 1, BULKY_BYTES, 3 * BULKY_BYTES])
def test_a_write_says_the_same_in_one_piece_and_in_several(length: int, condition: Condition) -> None:
    data = bytearray(b"v" * length)
    request = put(b"key", 7, data, 5, condition)
    word = b"7" if condition == 7 else str(condition).encode()
    said = request.frame + b"".join(request.tail)
    assert said == frames.command(b"RC.PUT", b"key", b"7", bytes(data), b"5000", word)
    assert request.repeatable is (condition == "ANY")
    assert bool(request.tail) is (length >= BULKY_BYTES)


async def test_it_leaves_without_a_copy_and_in_its_order(transport: Transport) -> None:
    channel, large = channel_to(transport), bytearray(BULKY_BYTES)
    small: Request[Any] = Request(frames.command(b"PING"), lambda reply: reply)
    for request in (small, put(b"a", 0, large, None, "ANY"), small):
        channel.submit(request, channel.now_s() + 10)
    await asyncio.sleep(0)
    assert any(part is large for part in transport.parts)
    reader = hiredis.Reader()
    reader.feed(b"".join(transport.parts))
    commands = [reader.gets() for _ in range(4)]
    assert [command[0] for command in commands[:3]] == [b"PING", b"RC.PUT", b"PING"]
    assert (commands[1][3], commands[3]) == (bytes(large), False)
    transport.parts.clear()
    channel.submit(small, channel.now_s() + 10)
    channel.submit(small, channel.now_s() + 10)
    await asyncio.sleep(0)
    assert transport.parts == [2 * small.frame]  # the next are joined again
    channel.close(ConnectionError())
