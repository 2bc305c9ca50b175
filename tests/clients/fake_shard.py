"""Shards that do what a test tells them, a gateway in front of them, and a client that sends raw bytes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from raycache.config import Limits
from raycache.gateway.request import encoded
from raycache.gateway.server import GatewayServer
from raycache.gateway.settings import GatewaySettings
from raycache.resp.parse import RequestParser
from raycache.resp.reply import ReplySplitter
from raycache.ring.topology import Topology
from raycache.shard.server import listening_socket
from tests.unit.gateway.topologies import shard, topology

CLOSE = b"close the connection"
SILENCE = b""
PATIENCE_S = 10.0

QUICK = GatewaySettings(retry_for_s=0.3, upstream_silence_s=0.3, connect_timeout_s=0.3, retry_interval_s=0.01)

Script = Callable[[list[bytes]], "bytes | Awaitable[bytes]"]


class FakeShard:
    """Answers each command with what `script` says: a reply, `SILENCE`, or `CLOSE`.

    `seen` are the commands that came, greetings and questions for the topology left out; the latter are `asked` and
    get `shown`.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.greeting = b"+hello\r\n"
        self.shown = b"$-1\r\n"
        self.asked = 0
        self.seen: list[list[bytes]] = []
        self.port = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        parser = RequestParser(Limits())
        has_fallen_silent = False
        try:
            while data := await reader.read(65536):
                parser.feed(data)
                while parser.drain():
                    reply = await self._answer(parser.ready.popleft())
                    if reply is CLOSE:
                        return
                    has_fallen_silent |= reply is SILENCE
                    if not has_fallen_silent:  # replies come in order, so whatever is asked later waits, too
                        writer.write(reply)
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _answer(self, argv: list[bytes]) -> bytes:
        if argv[0] == b"HELLO":
            return self.greeting
        if argv[0] == b"RC.TOPOLOGY":
            self.asked += 1
            return self.shown
        self.seen.append(argv)
        reply = self.script(argv)
        return reply if isinstance(reply, bytes) else await reply


class Client:
    """Sends commands and takes replies apart into frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._splitter = ReplySplitter()

    def send(self, *lines: str) -> None:
        self.writer.write(b"".join(encoded(line.encode().split()) for line in lines))

    async def reply(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            while (frame := self._splitter.next()) is None:
                data = await self.reader.read(65536)
                assert data, "the gateway closed the connection"
                self._splitter.feed(data)
            return frame

    async def ask(self, *lines: str) -> list[bytes]:
        self.send(*lines)
        return [await self.reply() for _ in lines]


class Stage:
    """Fake shards, a gateway, and the topology that it sees; `refreshes` counts its questions for a newer one."""

    gateway: GatewayServer

    def __init__(self, shards: list[FakeShard]) -> None:
        self.shards = shards
        self.topology: Topology | None = None
        self.next_topology: Topology | None = None
        self.refreshes = 0
        self._clients: list[Client] = []

    def publish(self, *, epoch: int = 1) -> Topology:
        """Return the topology of all shards at their present ports."""
        return topology(*[shard(number, port=each.port) for number, each in enumerate(self.shards)], epoch=epoch)

    async def refresh(self) -> None:
        self.refreshes += 1
        if self.next_topology is not None:
            self.topology = self.next_topology

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.gateway.port))
        self._clients.append(client)
        return client

    async def close(self) -> None:
        for client in self._clients:
            client.writer.transport.abort()
        await self.gateway.stop()
        for each in self.shards:
            await each.stop()


@asynccontextmanager
async def stage(*scripts: Script, settings: GatewaySettings = QUICK, **options: Any) -> AsyncIterator[Stage]:
    """Run one fake shard per script, and a gateway."""
    set_up = Stage([FakeShard(script) for script in scripts])
    for each in set_up.shards:
        await each.start()
    set_up.topology = set_up.publish()
    set_up.gateway = GatewayServer(
        get_topology=lambda: set_up.topology, refresh=set_up.refresh, settings=settings, rng=random.Random(1), **options
    )
    await set_up.gateway.start(listening_socket("127.0.0.1", 0))
    try:
        yield set_up
    finally:
        await set_up.close()
        # Aborted transports close their sockets in the next turn.
        await asyncio.sleep(0)


async def until(what: Callable[[], object]) -> None:
    """Give the loop turns until `what` is true."""
    async with asyncio.timeout(PATIENCE_S):
        while not what():
            await asyncio.sleep(0.005)
