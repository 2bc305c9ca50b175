"""The physical limit: a server that answers any request with as many bytes as it asks for, on the loop that shards use.

What lives here: the server, run as a process (`python -m benchmarks.suite.echo PORT`). A request begins with two
numbers, how long it is and how long the answer is to be; nothing else of it is looked at. What does not: its client
(`doors`).
"""

from __future__ import annotations

import asyncio
import struct
import sys
from typing import Final, cast

import uvloop

from benchmarks.harness.servers import HOST

FRAME: Final = struct.Struct("!II")
"""Bytes of the request, this included; bytes of the answer."""


class Echo(asyncio.Protocol):
    """One connection. Requests may come in pieces; the next one comes after the answer."""

    def __init__(self, answers: dict[int, bytes]) -> None:
        self._answers = answers
        self._head = b""
        self._missing = 0
        self._answer_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            data = self._head + data
            if len(data) < FRAME.size:
                self._head = data
                return
            self._head = b""
            self._missing, self._answer_bytes = FRAME.unpack_from(data)
        self._missing -= len(data)
        if not self._missing:
            self._transport.write(self._answer())

    def _answer(self) -> bytes:
        """Return the answer, made once for each length: making it is no part of what is measured."""
        size = self._answer_bytes
        if size not in self._answers:
            self._answers[size] = bytes(size)
        return self._answers[size]


async def serve(port: int) -> None:
    """Serve until the process ends."""
    answers: dict[int, bytes] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Echo(answers), HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
