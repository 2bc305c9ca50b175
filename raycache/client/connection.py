"""One blocking connection to one shard: frames out, replies in, always by a deadline.

What lives here: the socket of the sync handle. What does not: which connection to use (`pool.py`), trying again
(`dispatcher.py`). Used by one thread at a time.

The socket blocks, and the kernel ends the wait (SO_RCVTIMEO, SO_SNDTIMEO): Python's own `settimeout` costs one more
system call per receive. The kernel counts each wait anew, so the limit is set again when an operation needs several
and less than 95 % of it is left: a deadline is kept within 5 %. Python restarts a wait that a signal interrupts; only
a main thread that gets signals more often than `timeout_s`, without end, could so wait longer.
"""

from __future__ import annotations

import socket
import struct
from time import monotonic
from typing import Any, Final

import hiredis

from raycache.client import requests
from raycache.client.info import Address, Login
from raycache.client.requests import Request
from raycache.client.retry import Lost, accepts_anybody, no_reply, reply_failure
from raycache.client.tls_socket import TlsSocket
from raycache.errors import AuthenticationError, DeadlineExceededError, ProtocolError
from raycache.tls import TlsSettings

_TIMEVAL: Final = struct.Struct("@ll")
_FIRST_BYTES: Final = 64 * 1024
_MORE_BYTES: Final = 512 * 1024
# The kernel takes this much from an idle connection without waiting for the other side.
_SURELY_BUFFERED_BYTES: Final = 32 * 1024
# The smallest wait that is not 0, which would mean for ever.
_SHORTEST_S: Final = 0.001


class Connection:
    """An open, authenticated connection. Any exception from it but a reply's means: close it."""

    __slots__ = ("_armed_s", "_high_s", "_low_s", "_reader", "_socket", "address")

    def __init__(self, address: Address, sock: socket.socket | TlsSocket) -> None:
        self.address = address
        self._socket = sock
        self._reader = hiredis.Reader()
        self._reader.setmaxbuf(1024 * 1024)  # keeps the buffer between large replies
        self._low_s = self._high_s = 0.0
        sock.settimeout(None)

    @classmethod
    def open(cls, address: Address, login: Login, deadline_s: float, connect_timeout_s: float) -> Connection:
        """Connect, and authenticate if there is a secret.

        Raises:
            Lost: it cannot be reached in time.
            AuthenticationError: it refuses the secret, or its certificate is not one to be trusted.
        """
        limit_s = max(_SHORTEST_S, min(connect_timeout_s, deadline_s - monotonic()))
        try:
            sock = socket.create_connection(address, timeout=limit_s)
        except OSError as error:
            raise Lost(f"cannot connect to {address[0]}:{address[1]}: {error}", sent=False) from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection = cls(address, sock if login.tls is None else cls._encrypted(sock, login.tls, address))
        if login.secret is not None:
            connection._authenticate(login.secret, login.user, deadline_s)
        return connection

    @staticmethod
    def _encrypted(sock: socket.socket, tls: TlsSettings, address: Address) -> TlsSocket:
        try:
            return TlsSocket(sock, tls, address[0])
        except AuthenticationError:
            raise
        except OSError as error:
            raise Lost(f"no TLS with {address[0]}:{address[1]}: {error}", sent=False) from error

    def _authenticate(self, secret: str, user: str | None, deadline_s: float) -> None:
        request = requests.authenticate(secret, user)
        try:
            reply = self.exchange(request, deadline_s)
            if isinstance(reply, hiredis.ReplyError):
                if not accepts_anybody(str(reply)):
                    raise reply_failure(str(reply))
            else:
                request.decode(reply)
        except (Lost, DeadlineExceededError) as error:
            # Nothing but AUTH has been sent: whatever waits for this connection has surely not happened.
            self.close()
            raise Lost(f"{self._name} did not answer AUTH: {error}", sent=False) from error
        except BaseException:
            self.close()
            raise

    def exchange(self, request: Request[Any], deadline_s: float) -> Any:
        """Send a request and return its reply (a list where it has several; the first error if there is one).

        Raises:
                Lost, DeadlineExceededError, ProtocolError: see `send` and `receive`.
        """
        if request.replies == 1:
            return self.ask(request.frame, deadline_s)
        self.send(request.frame, deadline_s)
        return self.receive(request.replies, deadline_s)

    def send(self, frame: bytes, deadline_s: float) -> None:
        """Hand `frame` to the kernel.

        Raises:
            Lost: it could not be, so no command in it has run.
            RayCacheError: the shard said why, before it closed.
        """
        try:
            left_s = deadline_s - monotonic()
            if not self._low_s <= left_s <= self._high_s:
                self._arm(left_s)
            sent = self._socket.send(frame)
            if sent < len(frame):
                self._send_rest(memoryview(frame)[sent:], deadline_s)
        except OSError as error:
            raise self._not_sent(error) from error

    def ask(self, frame: bytes, deadline_s: float) -> Any:
        """Do as `send` and then `receive` of one reply; raises what they do. HOT.

        Both once more, because a caller who waits for one reply finds little of this in the processor's caches: each
        call between them costs several times what it does in a busy loop.
        """
        reader = self._reader
        try:
            left_s = deadline_s - monotonic()
            if not self._low_s <= left_s <= self._high_s:
                self._arm(left_s)
            sent = self._socket.send(frame)
            if sent < len(frame):
                self._send_rest(memoryview(frame)[sent:], deadline_s)
        except OSError as error:
            raise self._not_sent(error) from error
        try:
            reader.feed(self._socket.recv(_FIRST_BYTES))
            reply = reader.gets()
            if reply is False:
                reply = self._receive_rest(reply, 1, deadline_s)
        except (OSError, hiredis.ProtocolError) as error:
            raise self._not_received(error) from error
        if reader.has_data():
            raise self._surplus()
        return reply

    def _not_sent(self, error: OSError) -> Exception:
        """Return what an error while sending means.

        Raises:
            RayCacheError: the shard said why, before it closed.
        """
        if isinstance(error, BlockingIOError):
            return Lost(f"{self._name} did not take the command in before the deadline", sent=False)
        self._raise_last_words()
        return Lost(f"{self._name}: {error}", sent=False)

    def _not_received(self, error: Exception) -> Exception:
        """Return what an error while receiving means."""
        if isinstance(error, BlockingIOError):
            return no_reply(self.address)
        if isinstance(error, OSError):
            return Lost(f"{self._name}: {error}", sent=True)
        return ProtocolError(f"{self._name} sent something that is no RESP: {error}")

    def _surplus(self) -> ProtocolError:
        # A surplus reply would be taken for the next command's: another key's value.
        return ProtocolError(f"{self._name} sent more replies than it was asked for")

    def send_patiently(self, frame: bytes, deadline_s: float, patience_s: float) -> None:
        """Do as `send`, and let the wait for the reply's first bytes end after `patience_s`."""
        soon_s = monotonic() + patience_s
        if soon_s >= deadline_s:
            self.send(frame, deadline_s)
        elif len(frame) <= _SURELY_BUFFERED_BYTES:
            self.send(frame, soon_s)
        else:
            self.send(frame, deadline_s)
            self._arm(patience_s)

    def receive_within(self, replies: int, deadline_s: float, patience_s: float) -> Any:
        """Do as `receive`, but wait for the first bytes for `patience_s` only; may be called again when they are late.

        Raises:
            DeadlineExceededError: they are late.
        """
        try:
            self._arm(min(patience_s, deadline_s - monotonic()))
        except BlockingIOError as error:
            raise no_reply(self.address) from error
        return self.receive(replies, deadline_s)

    def _send_rest(self, rest: memoryview, deadline_s: float) -> None:
        while rest:
            self._arm(deadline_s - monotonic())
            rest = rest[self._socket.send(rest) :]

    def _raise_last_words(self) -> None:
        """Raise the error that the shard sent before it closed on us, if there is one (a value too large, say)."""
        try:
            self._reader.feed(self._socket.recv(_FIRST_BYTES, socket.MSG_DONTWAIT))
            reply = self._reader.gets()
        except (OSError, hiredis.ProtocolError):
            return
        if isinstance(reply, hiredis.ReplyError):
            raise reply_failure(str(reply))

    def receive(self, replies: int, deadline_s: float) -> Any:
        """Return the reply, or the list of `replies`; where one of them is an error, that.

        Raises:
            Lost: the connection broke; the command may have run.
            DeadlineExceededError: no complete reply in time.
            ProtocolError: no RESP, or more of it than was asked for.
        """
        reader = self._reader
        try:
            reader.feed(self._socket.recv(_FIRST_BYTES))
            reply = reader.gets()
            if reply is False or replies > 1:
                reply = self._receive_rest(reply, replies, deadline_s)
        except (OSError, hiredis.ProtocolError) as error:
            raise self._not_received(error) from error
        if reader.has_data():
            raise self._surplus()
        return reply

    def _receive_rest(self, reply: Any, replies: int, deadline_s: float) -> Any:
        taken: list[Any] = []
        while True:
            while reply is False:
                self._reader.feed(self._receive_more(deadline_s))
                reply = self._reader.gets()
            taken.append(reply)
            if len(taken) == replies:
                break
            reply = self._reader.gets()
        if replies == 1:
            return reply
        errors = [each for each in taken if isinstance(each, hiredis.ReplyError)]
        return errors[0] if errors else taken

    def _receive_more(self, deadline_s: float) -> bytes:
        left_s = deadline_s - monotonic()
        if not self._low_s <= left_s <= self._high_s:
            self._arm(left_s)
        data = self._socket.recv(_MORE_BYTES)
        if not data:
            raise Lost(f"{self._name} closed the connection", sent=True)
        return data

    def listen(self, wait_s: float) -> list[Any]:
        """Return what has come, replies and what was not asked for; wait for `wait_s` at most.

        For connections that speak RESP3, where nothing else is received.

        Raises:
            Lost: the connection broke.
            ProtocolError: what has come is no RESP.
        """
        found: list[Any] = []
        try:
            self._arm(max(wait_s, _SHORTEST_S))
            data = self._socket.recv(_FIRST_BYTES)
            if not data:
                raise Lost(f"{self._name} closed the connection", sent=True)
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not False:
                found.append(reply)
        except BlockingIOError:
            pass
        except OSError as error:
            raise Lost(f"{self._name}: {error}", sent=True) from error
        except hiredis.ProtocolError as error:
            raise ProtocolError(f"{self._name} sent something that is no RESP: {error}") from error
        return found

    def _arm(self, left_s: float) -> None:
        """Have the kernel end each wait after `left_s`.

        Raises:
            BlockingIOError: nothing is left, as the kernel would say.
        """
        if left_s <= 0:
            raise BlockingIOError
        timeval = _TIMEVAL.pack(*divmod(int(max(left_s, _SHORTEST_S) * 1_000_000), 1_000_000))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        self._low_s, self._high_s = left_s * 0.95, left_s

    def is_stale(self) -> bool:
        """Return whether the shard has closed the connection, or said something unasked. Cost: one system call."""
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()

    def __del__(self) -> None:
        # A handle may be dropped without close(), in Ray tasks above all; that is no mistake worth a ResourceWarning.
        self._socket.close()

    @property
    def _name(self) -> str:
        return f"{self.address[0]}:{self.address[1]}"
