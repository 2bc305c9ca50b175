"""One connection from the gateway to a shard: requests of many clients in, replies back in order.

What lives here: writing, matching replies to requests, opening and authenticating. What does not:
which shard (`plan`), which connection (`pool`), what happens after a failure (`executor`). It belongs
to the gateway's loop.

Requests of one turn of the loop are written together, whichever clients they come from: under load
that is one system call for many commands. A request of several commands (a transaction) is written
in one piece, so nothing of another client can come between.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from raycache.errors import ProtocolError, ShardUnavailableError
from raycache.gateway.request import encoded
from raycache.resp.reply import Frame, ReplySplitter, is_error
from raycache.tls import TlsSettings, connect_options

_PUSH: Final = 0x3E
_AT_ONCE: Final = struct.pack("ii", 1, 0)
UNWATCH: Final = encoded([b"UNWATCH"])
READONLY: Final = encoded([b"READONLY"])


class Call(Protocol):
    """A request under way, as the connection sees it."""

    @property
    def expects(self) -> int:
        """How many replies the request brings."""

    def encode(self) -> bytes:
        """Return the request's bytes."""

    def answered(self, frames: list[Frame]) -> None:
        """All its replies have come."""

    def lost(self, reason: str, was_sent: bool) -> None:
        """The connection broke before they came. `was_sent`: the shard may have run it."""


def is_writing(call: object, client: object) -> bool:
    """Whether `call` is a command of `client` that changes something."""
    errand = getattr(call, "errand", None)
    if errand is None or errand.client is not client:
        return False
    command = getattr(call, "command", None)
    return command is None or bool(command.is_write())


class FutureCall:
    """A call that a coroutine waits for."""

    __slots__ = ("expects", "payload", "replies")

    def __init__(self, payload: bytes, expects: int = 1) -> None:
        self.payload = payload
        self.expects = expects
        self.replies: asyncio.Future[list[Frame]] = asyncio.get_running_loop().create_future()

    def encode(self) -> bytes:
        return self.payload

    def answered(self, frames: list[Frame]) -> None:
        if not self.replies.done():
            self.replies.set_result(frames)

    def lost(self, reason: str, was_sent: bool) -> None:
        if not self.replies.done():
            self.replies.set_exception(ShardUnavailableError(reason))


class Forgotten:
    """Stands for a call that was taken elsewhere meanwhile: if its replies come after all, nobody wants them."""

    __slots__ = ("expects",)

    def __init__(self, expects: int) -> None:
        self.expects = expects

    def encode(self) -> bytes:
        return b""

    def answered(self, frames: list[Frame]) -> None:
        pass

    def lost(self, reason: str, was_sent: bool) -> None:
        pass


class Setting:
    """A command for whoever uses the connection next and stands behind it; nobody waits for its reply."""

    __slots__ = ("_payload",)

    expects = 1

    def __init__(self, payload: bytes) -> None:
        self._payload = payload

    def encode(self) -> bytes:
        return self._payload

    def answered(self, frames: list[Frame]) -> None:
        pass

    def lost(self, reason: str, was_sent: bool) -> None:
        pass


class UpstreamConnection(asyncio.Protocol):
    """A pipelined connection. Open one with `open_connection`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self._loop = loop
        self._name = name
        self.shard_id = ""
        self._splitter = ReplySplitter()
        self._unsent: list[Call] = []
        self._waiting: deque[Call] = deque()
        self._frames: list[Frame] = []
        self._is_flush_due = False
        self._transport: asyncio.Transport | None = None
        self._reason = f"{name}: the connection was closed"
        self._progress_s = 0.0
        self.is_lost = False
        self.on_push: Callable[[Frame], None] | None = None
        """Takes what the shard says unasked."""
        self.on_lost: Callable[[], None] | None = None
        """Called when the connection is lost, for whatever reason."""

    @property
    def is_idle(self) -> bool:
        """Whether no reply is owed."""
        return not self._waiting and not self._unsent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one in all but its class, so isinstance would not do.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, call: Call) -> None:
        """Write `call` at the end of this turn of the loop. On a broken connection it is lost at once, unsent."""
        if self.is_lost:
            call.lost(self._reason, False)
            return
        self._unsent.append(call)
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        if not self._unsent or self._transport is None:
            return
        if not self._waiting:
            self._progress_s = self._loop.time()
        calls, self._unsent = self._unsent, []
        self._waiting.extend(calls)
        self._transport.write(b"".join([call.encode() for call in calls]))

    def data_received(self, data: bytes) -> None:
        self._progress_s = self._loop.time()
        splitter, waiting = self._splitter, self._waiting
        splitter.feed(data)
        try:
            while (frame := splitter.next()) is not None:
                if frame[0] == _PUSH:
                    if self.on_push is not None:
                        self.on_push(frame)
                    continue
                if not waiting:
                    raise ProtocolError("a reply nobody asked for")
                self._take(frame)
        except ProtocolError as error:
            self.abort(f"broken replies: {error}")

    def _take(self, frame: Frame) -> None:
        call = self._waiting[0]
        if call.expects == 1:
            self._waiting.popleft()
            call.answered([frame])
            return
        self._frames.append(frame)
        if len(self._frames) == call.expects:
            frames, self._frames = self._frames, []
            self._waiting.popleft()
            call.answered(frames)

    def silent_for_s(self, now_s: float) -> float:
        """Return for how long replies have been owed and no byte has come; 0 if nothing is owed."""
        return now_s - self._progress_s if self._waiting else 0.0

    def owes_write(self, client: object) -> bool:
        """Whether a command of `client` that changes something is under way here."""
        return any(is_writing(call, client) for call in (*self._waiting, *self._unsent))

    def take_away(self, choose: Callable[[Sequence[Call]], list[int]]) -> list[Call]:
        """Return those calls under way whose places `choose` names; their replies count for nothing any more."""
        waiting = list(self._waiting)
        places = choose(waiting)
        for place in places:
            self._waiting[place] = Forgotten(waiting[place].expects)
        return [waiting[place] for place in places]

    def check(self, now_s: float, silence_s: float) -> None:
        """Give the shard up if it owes replies and has sent nothing for `silence_s`."""
        if self.silent_for_s(now_s) > silence_s:
            self.abort(f"no answer in {silence_s:g} s")

    def abort(self, reason: str = "the connection was closed") -> None:
        """Close at once; what is under way is lost, with `reason`.

        What the kernel has not delivered yet it forgets, too: commands that are tried elsewhere must not arrive here
        after all when a cut network heals, and overwrite what has been written since.
        """
        if not self.is_lost:
            self._reason = f"{self._name}: {reason}"
        if self._transport is not None and not self._transport.is_closing():
            with contextlib.suppress(OSError):
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
            self._transport.abort()
        self._lose_all()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self.is_lost:
            self._reason = f"{self._name}: {exc or type(exc).__name__}"
        self._lose_all()

    def _lose_all(self) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        waiting, unsent = list(self._waiting), self._unsent
        self._waiting.clear()
        self._unsent = []
        for call in waiting:
            call.lost(self._reason, True)
        for call in unsent:
            call.lost(self._reason, False)
        if self.on_lost is not None:
            self.on_lost()


async def ask(connection: UpstreamConnection, payload: bytes, expects: int = 1) -> list[Frame]:
    """Send `payload` and return its replies.

    Raises:
        ShardUnavailableError: the connection broke first.
    """
    call = FutureCall(payload, expects)
    connection.send(call)
    return await call.replies


async def open_connection(name: str, host: str, port: int, protocol: int, secret: str | None,
                          timeout_s: float, tls: TlsSettings | None = None,
                          user: str | None = None) -> UpstreamConnection:
    """Return a connection that speaks `protocol` and is authenticated. `name` says in errors whose it is.

    Raises:
        ShardUnavailableError: nobody answers there within `timeout_s`, or the secret is refused.
    """
    loop = asyncio.get_running_loop()
    greeting = [b"HELLO", b"%d" % protocol]
    if secret is not None:
        greeting += [b"AUTH", (user or "default").encode(), secret.encode()]
    connection: UpstreamConnection | None = None
    try:
        async with asyncio.timeout(timeout_s):
            _, connection = await loop.create_connection(lambda: UpstreamConnection(loop, name), host, port,
                                                         **connect_options(tls, host))
            (reply,) = await ask(connection, encoded([*greeting, b"SETNAME", b"raycache-gateway"]))
    except (OSError, TimeoutError, ShardUnavailableError) as error:
        _close(connection)
        if isinstance(error, ShardUnavailableError):
            raise
        # asyncio's own texts repeat the address and leave out the reason.
        text = os.strerror(error.errno).lower() if error.errno else f"no answer in {timeout_s:g} s"
        if isinstance(error, ssl.SSLError):
            text = f"no TLS: {error.reason or error}"
        raise ShardUnavailableError(f"{name}: {text}") from None
    except BaseException:
        _close(connection)
        raise
    if is_error(reply):
        _close(connection)
        raise ShardUnavailableError(f"{name}: it refused the gateway: {reply[1:-2].decode(errors='replace')}")
    return connection


def _close(connection: UpstreamConnection | None) -> None:
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.abort()
