"""The router's connection to a gateway: a reset shows at once that it is gone.

What lives here: one connection, and AUTH. What does not: shards (`raycache.actors.shard_links`), and what follows
(`raycache.router`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from raycache.tls import TlsSettings, connect_options

log = logging.getLogger(__name__)


class Link(asyncio.Protocol):
    """Calls `lost`, once, when the connection is gone or could not be made."""

    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._is_open = True
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, host: str, port: int, secret: str, *, lost: Callable[[], None],
             tls: TlsSettings | None = None) -> Link:
        """Start connecting; a failure shows in the callback."""
        link = cls(lost)
        link._task = asyncio.get_running_loop().create_task(link._connect(host, port, secret, tls))
        return link

    async def _connect(self, host: str, port: int, secret: str, tls: TlsSettings | None) -> None:
        try:
            async with asyncio.timeout(1.0):
                await asyncio.get_running_loop().create_connection(lambda: self, host, port,
                                                                   **connect_options(tls, host))
        except OSError as error:  # TimeoutError is one, too
            log.info("no control connection to %s:%d: %s", host, port, error)
            self._end()
            return
        if not self._is_open:
            self.close()
            return
        self._write(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n" % (len(secret), secret.encode()))

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def close(self) -> None:
        """Close without telling anybody."""
        self._is_open = False
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _end(self) -> None:
        if self._is_open:
            self._is_open = False
            self._lost()
