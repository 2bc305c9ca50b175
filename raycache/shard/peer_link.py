"""One shard's connection to another: messages out, the other's messages back, and opened again whenever it breaks.

What lives here: the socket, its frames, what it may hold unsent, and the patience with a peer that is silent. What
does not: what the messages mean (`raycache.replication`), which peers there are (`peers`). It belongs to the shard's
loop.

A frame is `RC.PEER <sender> <packed messages>`, and its reply is a bulk string of the peer's messages for the sender,
perhaps none. So each side has an answer's place on the other's connection, and two shards have two connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

import hiredis

from raycache.replication.messages import Message, pack, unpack
from raycache.tls import TlsSettings, connect_options

log = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 0.02
LAST_RETRY_S: Final = 0.3
"""A restarted peer is there again after some 0.5 s, and its copies should not wait much longer than that."""
CONNECT_TIMEOUT_S: Final = 1.0
SILENCE_S: Final = 2.0
"""So long may a peer owe an answer before its connection is given up: its machine may have lost its power, which no
packet tells. Longer than the router's patience (1 s), because a new connection to a paused peer gains nothing."""
MOST_UNSENT_BYTES: Final = 16 * 1024 * 1024
"""What may lie unsent for a peer that does not read; beyond it the connection is given up. The replicator sends a few
batches ahead of their acknowledgement and no more, so only its answers to questions could come to so much."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Whom a link tells what happens; each gets the peer's id."""

    opened: Callable[[str], None]
    heard: Callable[[str, list[Message]], None]
    lost: Callable[[str], None]
    refused: Callable[[str], None] = lambda peer: None
    """Nobody listens there: the peer's process is gone."""


class PeerLink:
    """The way to one peer, for as long as it is wanted."""

    def __init__(self, me: str, peer: str, host: str, port: int, secret: str | None, listeners: Listeners,
                 rng: random.Random, tls: TlsSettings | None = None) -> None:
        self.peer = peer
        self._address = (host, port)
        self._secret = secret
        self._tls = tls
        self._listeners = listeners
        self._rng = rng
        self._prefix = b"*3\r\n$7\r\nRC.PEER\r\n$%d\r\n%b\r\n$" % (len(me), me.encode())
        self._loop = asyncio.get_running_loop()
        self._wire: _Wire | None = None
        self._complaint = ""
        self._task = self._loop.create_task(self._keep_open(), name=f"peer-{peer}")

    @property
    def is_open(self) -> bool:
        """Whether messages reach the peer, as far as can be known."""
        return self._wire is not None

    def send(self, messages: list[Message]) -> bool:
        """Send `messages` in one frame; return whether they are on their way."""
        wire = self._wire
        if wire is None:
            return False
        data = pack(messages)
        wire.write(b"%b%d\r\n%b\r\n" % (self._prefix, len(data), data))
        return True

    def check(self, now_s: float) -> None:
        """Give the connection up if the peer owes an answer and has been silent for too long."""
        if self._wire is not None and self._wire.is_silent(now_s):
            self._say(f"it has not answered for {SILENCE_S:g} s")
            self._wire.abort()

    def close(self) -> None:
        """Close for good; nobody is told."""
        self._task.cancel()
        if self._wire is not None:
            self._wire.abort()
            self._wire = None

    async def _keep_open(self) -> None:
        wait_s = FIRST_RETRY_S
        while True:
            wire = _Wire(self._loop, self._heard)
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await self._loop.create_connection(lambda wire=wire: wire, *self._address,  # type: ignore[misc]
                                                       **connect_options(self._tls, self._address[0]))
                    await wire.greet(self._secret)
            except OSError as error:  # TimeoutError is one, too
                wire.abort()
                self._say(str(error) or "no answer")
                if isinstance(error, ConnectionRefusedError):
                    self._listeners.refused(self.peer)
                await asyncio.sleep(wait_s * self._rng.uniform(0.5, 1.0))
                wait_s = min(2 * wait_s, LAST_RETRY_S)
                continue
            except asyncio.CancelledError:
                wire.abort()
                raise
            self._wire, self._complaint, wait_s = wire, "", FIRST_RETRY_S
            self._listeners.opened(self.peer)
            await wire.closed
            self._wire = None
            self._listeners.lost(self.peer)

    def _heard(self, reply: object) -> None:
        """Take in one answer; one that is no list of messages ends the connection, and nothing of it counts."""
        if isinstance(reply, bytes):
            with contextlib.suppress(ValueError):
                if messages := unpack(reply):
                    self._listeners.heard(self.peer, messages)
                return
        self._say(f"it answered {reply!r:.100}")
        if self._wire is not None:
            self._wire.abort()

    def _say(self, complaint: str) -> None:
        """Log what is wrong, once and not at each attempt."""
        if complaint != self._complaint:
            self._complaint = complaint
            log.info("no connection to shard %s at %s:%d: %s", self.peer, *self._address, complaint)


class _Wire(asyncio.Protocol):
    """One connection, from its greeting to its end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, heard: Callable[[object], None]) -> None:
        self._loop = loop
        self._heard = heard
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._greeting: asyncio.Future[object] = loop.create_future()
        self._owed = 0
        self._progress_s = 0.0
        self._is_paused = False
        self.closed: asyncio.Future[None] = loop.create_future()

    async def greet(self, secret: str | None) -> None:
        """Show the secret.

        Raises:
            ConnectionError: the peer refuses it, or went away.
        """
        # Without a secret there is nobody to show it to; the peer will say so.
        text = (secret or "").encode()
        self.write(b"*2\r\n$4\r\nAUTH\r\n$%d\r\n%b\r\n" % (len(text), text))
        answer = await self._greeting
        if answer != b"OK":
            raise ConnectionError(f"it refused the secret: {answer}")

    def write(self, data: bytes) -> None:
        """Send one request."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if not self._owed:
            self._progress_s = self._loop.time()
        self._owed += 1
        transport.write(data)
        if self._is_paused and transport.get_write_buffer_size() > MOST_UNSENT_BYTES:
            self.abort()

    def is_silent(self, now_s: float) -> bool:
        """Whether an answer is owed and has not come for too long."""
        return self._owed > 0 and now_s - self._progress_s > SILENCE_S

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports are none by inheritance
        self._transport.set_write_buffer_limits(high=MOST_UNSENT_BYTES // 2)

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False

    def data_received(self, data: bytes) -> None:
        self._progress_s = self._loop.time()
        reader = self._reader
        reader.feed(data)
        try:
            while (reply := reader.gets()) is not False:
                self._owed -= 1
                self._take(reply)
        except hiredis.ProtocolError as error:
            self._take(error)
            self.abort()

    def _take(self, reply: Any) -> None:
        if not self._greeting.done():
            self._greeting.set_result(reply)
        elif not self.closed.done():
            self._heard(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._greeting.done():
            self._greeting.set_exception(exc or ConnectionResetError("it closed the connection"))
            self._greeting.exception()  # nobody may be waiting any more
        if not self.closed.done():
            self.closed.set_result(None)
