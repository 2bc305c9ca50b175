"""The gateway without a socket: commands go in, replies come out, in the process that asks.

What lives here: `InsideGateway`, for a program that gets Redis commands by another way than RESP (the HTTP door) and
must answer them exactly as a gateway does. What does not: anything about commands; it drives the gateway's own
connection with a transport that leads nowhere. Belongs to the loop that makes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

import hiredis

from raycache.config import Limits
from raycache.errors import ShardUnavailableError
from raycache.gateway.connection import ClientConnection
from raycache.gateway.request import encoded, encoded_transaction
from raycache.gateway.server import GatewayServer
from raycache.ring.topology import Topology
from raycache.tls import TlsSettings


class _Replies(asyncio.Transport):
    """What a connection writes to: reads the replies, and knows when all are there."""

    def __init__(self, count: int, address: str) -> None:
        super().__init__()
        self.done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._reader = hiredis.Reader()
        self._found: list[Any] = []
        self._count = count
        self._address = address
        self._is_closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take replies."""
        self._reader.feed(bytes(data))
        # A reply may be False, and so may be "no more": the reader says that with an object of its own.
        while len(self._found) < self._count and self._reader.has_data():
            reply = self._reader.gets()
            if reply is False:
                break
            if not isinstance(reply, hiredis.PushNotification):  # there is nobody to hear of changed keys
                self._found.append(reply)
        if len(self._found) == self._count and not self.done.done():
            self.done.set_result(self._found)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return where the commands come from."""
        return (self._address, 0) if name in ("peername", "sockname") else default

    def is_closing(self) -> bool:
        """Whether nobody waits for replies any more."""
        return self._is_closing

    def close(self) -> None:
        """Let whoever waits know that no more replies come."""
        self._is_closing = True
        if not self.done.done():
            self.done.set_exception(ShardUnavailableError("the gateway has ended the conversation"))
            self.done.exception()  # perhaps nobody waits

    def abort(self) -> None:
        """As `close`: there is nothing to flush."""
        self.close()

    def get_write_buffer_size(self) -> int:
        """Return 0: replies are taken at once."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def pause_reading(self) -> None:
        """All commands have come already."""

    def resume_reading(self) -> None:
        """All commands have come already."""


class InsideGateway:
    """A gateway of one's own. Life: `await start()`, use, `await close()`.

    Args:
        get_topology: the newest topology known here.
        refresh: asks somebody for a newer one.
        secret: shown to the shards.
        user: whose password that is, and whose rights all commands have; None: it is the cluster's secret.
        tls: certificates, where the shards speak TLS.
    """

    def __init__(self, get_topology: Callable[[], Topology | None], refresh: Callable[[], Awaitable[object]] | None,
                 secret: str | None, limits: Limits | None = None, *, user: str | None = None,
                 tls: TlsSettings | None = None) -> None:
        self._server = GatewayServer(get_topology=get_topology, refresh=refresh, secret=secret, limits=limits,
                                     user=user, tls=tls)

    async def start(self) -> Self:
        """Begin to look after connections."""
        await self._server.start(None)
        return self

    async def close(self) -> None:
        """Close the connections to the shards; who still waits gets an error."""
        await self._server.stop()

    async def run(self, commands: Sequence[list[bytes]], *, address: str = "http") -> list[Any]:
        """Run commands one after the other, as a client that pipelines them; return their replies, errors among them.

        Args:
            commands: each a name and its arguments.
            address: where they come from, for CLIENT LIST.
        Raises:
            ShardUnavailableError: the gateway was closed meanwhile.
        """
        return await self._talk(b"".join(map(encoded, commands)), len(commands), address)

    async def run_transaction(self, commands: Sequence[list[bytes]], *, address: str = "http") -> Any:
        """Run commands as MULTI and EXEC do; return EXEC's reply, or the error that refused all of them."""
        replies = await self._talk(encoded_transaction(commands), len(commands) + 2, address)
        return replies[-1]

    async def _talk(self, data: bytes, count: int, address: str) -> list[Any]:
        if not count:
            return []
        transport = _Replies(count, address)
        connection = ClientConnection(self._server)
        connection.connection_made(transport)
        try:
            connection.data_received(data)
            return await transport.done
        finally:
            transport.close()
            connection.connection_lost(None)
