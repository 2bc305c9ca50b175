"""TLS at a door: the handshake of each connection, before anything else of it is looked at.

What lives here: accepting connections on a listening socket and making encrypted ones of them, and the bounds on those
that do not get that far. What does not: certificates (`raycache.tls`), what is said afterwards. Belongs to the loop of
its door.

The event loop could do both by itself; but it does not tell how many handshakes are under way, so nothing would bound
the connections of those who never finish one. And each connection gets the newest certificates.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from raycache.config import Limits
from raycache.tls import TlsSettings, server_context

log = logging.getLogger(__name__)

ACCEPTED_AT_ONCE: Final = 32
"""Connections taken in one turn of the loop; as the handshakes that follow, they take its time."""
BREATH_S: Final = 0.2
"""How long nothing is accepted when the process has no file descriptor left."""


class TlsDoor:
    """Accepts connections on a socket; `make`'s protocols get their transports once these are encrypted."""

    def __init__(self, settings: TlsSettings, limits: Limits, make: Callable[[], asyncio.Protocol]) -> None:
        settings.check_door()
        server_context(settings)  # raises here, and not at the first client, where the files are of no use
        self.settings = settings
        self.limits = limits
        self.make = make
        self.waiting: dict[socket.socket, asyncio.Task[None]] = {}
        """Handshakes under way, oldest first."""
        self.failed = 0
        """Connections that ended before their handshake did."""
        self._loop = asyncio.get_running_loop()
        self._listener: socket.socket | None = None

    def start(self, listener: socket.socket) -> None:
        """Accept on `listener`, which belongs to the door from here on."""
        listener.setblocking(False)
        self._listener = listener
        self._loop.add_reader(listener.fileno(), self._accept)

    def close(self) -> None:
        """Accept no more, and end the handshakes under way."""
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for task in list(self.waiting.values()):
            task.cancel()

    def _accept(self) -> None:
        listener = self._listener
        if listener is None:
            return
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("no connection can be accepted: %s", error)
                self._loop.remove_reader(listener.fileno())
                self._loop.call_later(BREATH_S, self._again)
                return
            if len(self.waiting) >= self.limits.max_unauthenticated:  # the newest are the likeliest to be honest
                oldest = next(iter(self.waiting))
                self.waiting.pop(oldest).cancel()
            connection.setblocking(False)
            task = self.waiting[connection] = self._loop.create_task(self._shake(connection))
            task.add_done_callback(partial(self._ended, connection))

    def _again(self) -> None:
        if self._listener is not None:
            self._loop.add_reader(self._listener.fileno(), self._accept)

    async def _shake(self, connection: socket.socket) -> None:
        address = "?"
        try:
            address = str(connection.getpeername()[0])
            async with asyncio.timeout(self.limits.handshake_timeout_s):
                await self._loop.connect_accepted_socket(self.make, connection, ssl=server_context(self.settings))
        except (OSError, ssl.SSLError) as error:  # a time-out is an OSError, too
            log.info("no TLS with %s: %s", address, getattr(error, "reason", None) or type(error).__name__)
            raise

    def _ended(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        """A handshake is over; a task that is cancelled before it has begun says so here only."""
        self.waiting.pop(connection, None)
        if task.cancelled() or task.exception() is not None:
            self.failed += 1
            connection.close()


def certificate_of(transport: asyncio.BaseTransport) -> dict[str, Any] | None:
    """Return the certificate that the other side has shown, verified; None where there is none, or no TLS."""
    found: dict[str, Any] | None = transport.get_extra_info("peercert")
    return found or None
