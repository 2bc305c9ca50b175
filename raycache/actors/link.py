"""The router's control connection to a shard or gateway: a reset shows at once, an answer is a sign of life.

What lives here: one connection to a cluster port or gateway, AUTH and PING. What does not: when to ping
and what silence means (`raycache.router.detector`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)


class Link(asyncio.Protocol):
    """Calls `heard` on every reply and `lost`, once, when the connection is gone or could not be made."""

    def __init__(self, heard: Callable[[], None], lost: Callable[[], None]) -> None:
        self._heard = heard
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._is_open = True
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def open(cls, host: str, port: int, secret: str, *, heard: Callable[[], None], lost: Callable[[], None]) -> Link:
        """Start connecting; the outcome shows in the callbacks."""
        link = cls(heard, lost)
        link._task = asyncio.get_running_loop().create_task(link._connect(host, port, secret))
        return link

    async def _connect(self, host: str, port: int, secret: str) -> None:
        try:
            await asyncio.wait_for(asyncio.get_running_loop().create_connection(lambda: self, host, port), 1.0)
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

    def data_received(self, data: bytes) -> None:
        if self._is_open:
            self._heard()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def ping(self) -> None:
        """Ask for a sign of life; does nothing before the connection is there."""
        self._write(b"*1\r\n$4\r\nPING\r\n")

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
