"""The sync handle's connections to one shard: one for one thread, up to four for many.

What lives here: taking a connection and giving it back. What does not: which shard, and trying again
(`dispatcher.py`). Any thread. The uncontended path takes no lock: `list.pop` and `list.append` are atomic.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, TypeVar

import hiredis

from raycache.client.connection import Connection
from raycache.client.info import ANYBODY, Address, Login
from raycache.client.requests import Request
from raycache.client.retry import Lost, full_jitter_s, reply_failure
from raycache.client.settings import ClientSettings
from raycache.errors import DeadlineExceededError, ProtocolError

T = TypeVar("T")

# Threads share the interpreter: beyond this, more sockets bring no more operations a second.
MAX_CONNECTIONS: Final = 4


class Pool:
    """Connections to `address`.

    Args:
        most: how many there may be.
        one_for_all: whether what breaks one counts for the idle ones, too. On those of waiters hang leases.
    """

    def __init__(self, address: Address, login: Login | None, settings: ClientSettings, *,
                 most: int = MAX_CONNECTIONS, one_for_all: bool = True) -> None:
        self._most = most
        self._one_for_all = one_for_all
        self.address = address
        self._login = login or ANYBODY
        self._settings = settings
        self.connect_timeout_s = settings.connect_timeout_s
        self._dial_failures = 0
        self._not_before_s = 0.0
        self._last_error = ""
        self._idle: list[Connection] = []
        self._open = 0
        self._waiting = 0
        self._freed = threading.Condition()

    def run(self, request: Request[T], deadline_s: float) -> T:
        """Send `request` and return what its reply says; errors as `ask`."""
        return self.ask(request.frame, request.decode, deadline_s, request.replies, request.repeatable)

    def ask(self, frame: bytes, decode: Callable[[Any], T], deadline_s: float, replies: int = 1,
            repeatable: bool = True) -> T:
        """Send `frame` and return what `decode` makes of the reply; the parts of a `Request`. HOT.

        Raises:
            Failure: an attempt failed that may be repeated (see `retry.py`).
            RayCacheError: anything else.
        """
        try:
            connection = self._idle.pop() if repeatable else self.take(deadline_s, fresh=True)
        except IndexError:
            connection = self.take(deadline_s)
        try:
            if replies == 1:
                reply = connection.ask(frame, deadline_s)
            else:
                connection.send(frame, deadline_s)
                reply = connection.receive(replies, deadline_s)
        except BaseException:
            # A signal's exception counts, too: the reply that is still to come would be taken for the next one's.
            self.discard(connection)
            raise
        self._idle.append(connection)
        if self._waiting:
            self._tell_waiting()
        if type(reply) is hiredis.ReplyError:
            raise reply_failure(str(reply))
        try:
            return decode(reply)
        except ProtocolError:
            self.close_idle()
            raise

    def take(self, deadline_s: float, *, fresh: bool = False) -> Connection:
        """Return a connection for this thread alone; with `fresh`, one that the shard has not closed meanwhile.

        Raises:
            Lost, AuthenticationError: see `Connection.open`.
            DeadlineExceededError: other threads had all of them until the deadline.
        """
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                waited = self._reserve(deadline_s)
                if waited is None:
                    return self._dial(deadline_s)
                connection = waited
            if not (fresh and connection.is_stale()):
                return connection
            self.discard(connection)

    def give_back(self, connection: Connection) -> None:
        """Put a healthy connection back."""
        self._idle.append(connection)
        # A waiter announces itself before its last look at the idle ones: so either it sees this one, or we see it.
        if self._waiting:
            self._tell_waiting()

    def _tell_waiting(self) -> None:
        with self._freed:
            self._freed.notify()

    def discard(self, connection: Connection) -> None:
        """Close a connection that broke, and the idle ones with it: what broke one has most likely broken all."""
        connection.close()
        with self._freed:
            self._open -= 1
            self._freed.notify()
        if self._one_for_all:
            self.close_idle()

    def close_idle(self) -> None:
        """Close what no thread is using."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                return
            connection.close()
            with self._freed:
                self._open -= 1
                self._freed.notify()

    def is_live(self) -> bool:
        """Return whether there is a connection that worked when it was last used."""
        return bool(self._idle)

    def forget(self) -> None:
        """Start anew in a forked child: closing there does not end the parent's connections."""
        self._freed = threading.Condition()
        for connection in self._idle:
            connection.close()
        self._idle, self._open, self._waiting = [], 0, 0

    def _reserve(self, deadline_s: float) -> Connection | None:
        """Return an idle connection, or None: the caller may open one."""
        with self._freed:
            self._waiting += 1
            try:
                while True:
                    if self._idle:
                        try:
                            return self._idle.pop()
                        except IndexError:
                            pass
                    if self._open < self._most:
                        self._open += 1
                        return None
                    if not self._freed.wait(max(0.0, deadline_s - monotonic())):
                        raise self._all_busy()
            finally:
                self._waiting -= 1

    def _dial(self, deadline_s: float) -> Connection:
        try:
            if monotonic() < self._not_before_s:
                raise Lost(self._last_error, sent=False)
            connection = Connection.open(self.address, self._login, deadline_s, self.connect_timeout_s)
        except BaseException as error:
            if isinstance(error, Lost) and monotonic() >= self._not_before_s:
                self._dial_failures += 1
                self._last_error = str(error)
                self._not_before_s = monotonic() + full_jitter_s(self._dial_failures, self._settings.rng)
            with self._freed:
                self._open -= 1
                self._freed.notify()
            raise
        self._dial_failures = 0
        return connection

    def _all_busy(self) -> DeadlineExceededError:
        return DeadlineExceededError(
            f"all {self._most} connections to {self.address[0]}:{self.address[1]} were busy until the deadline; "
            "the operation has not happened"
        )
