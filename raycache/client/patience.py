"""The sync handle's way to a shard that has company: a read does not wait for long, a write looks around meanwhile.

What lives here: `PatientPool`, which stands in front of a pool where slots have several copies. What does not: which
other copy to ask (`owners.py`). Any thread.

A read that has no answer after `hedge_s` gives up its connection, and for a second reads avoid the shard. A write has
perhaps been done, so it keeps its connection and asks the other shards, ever less often, whether somebody has taken
over; if so it is given up, and repeated there where that is safe.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, TypeVar

import hiredis

from raycache.client.connection import Connection
from raycache.client.info import Address
from raycache.client.pool import Pool
from raycache.client.reading import silent
from raycache.client.requests import Request
from raycache.client.retry import Lost, elsewhere, no_reply, reply_failure
from raycache.errors import DeadlineExceededError, ProtocolError

T = TypeVar("T")

# About as long as it takes until a lost shard has been replaced; then it is asked once more.
SUSPECT_S: Final = 1.0
_LONGEST_LOOK_S: Final = 0.4


class PatientPool:
    """`pool`, with a limit to what one shard may cost.

    Args:
        pool: the connections.
        hedge_s: how long a read waits before somebody else is asked, in seconds.
        is_replaced: looks for a newer topology, by a deadline, and tells whether others have taken over for the shard.
    """

    def __init__(self, pool: Pool, hedge_s: float, is_replaced: Callable[[Address, float], bool]) -> None:
        self.pool = pool
        self.address = pool.address
        self._hedge_s = hedge_s
        self._is_replaced = is_replaced
        self._suspect_until_s = 0.0
        self._insisting: list[Connection] = []
        self._answers = 0
        """How often the shard has answered, on any connection (give or take a few: threads may count at once)."""
        self.has_written = False
        """Whether anything that may write has been sent to the shard."""

    @property
    def is_doubtful(self) -> bool:
        """Whether it is not the one to ask for a newer topology."""
        return bool(self._insisting) or self.is_suspect

    @property
    def is_suspect(self) -> bool:
        """Whether the shard has not answered lately."""
        return self._suspect_until_s > 0.0 and self._suspect_until_s > monotonic()

    def suspect(self) -> None:
        """Avoid the shard for a while."""
        self._suspect_until_s = monotonic() + SUSPECT_S

    def trust(self) -> None:
        """Avoid it no longer."""
        self._suspect_until_s = 0.0

    def run(self, request: Request[T], deadline_s: float) -> T:
        """Do as `Pool.run`, but give up a read that may be asked elsewhere when it is not answered soon. HOT.

        Raises:
            Failure: an attempt failed that may be repeated, here or elsewhere.
            RayCacheError: anything else.
        """
        if request.from_row is None:
            if not request.is_question:
                self.has_written = True
            return self._run(request, deadline_s, self._hedge_s)
        if self._suspect_until_s and self.is_suspect:
            raise silent(*self.address, self._hedge_s)
        return self.run_within(request, deadline_s, self._hedge_s)

    def run_within(self, request: Request[T], deadline_s: float, patience_s: float, *, can_wait: bool = False) -> T:
        """Run a read, but no longer than until the first byte of its answer is `patience_s` late; raises as `run`.

        Args:
            can_wait: it may be late for a good reason, so the shard is not suspected for it.
        """
        return self._run(request, deadline_s, patience_s, is_read=True, can_wait=can_wait)

    def _run(self, request: Request[T], deadline_s: float, patience_s: float, *, is_read: bool = False,
             can_wait: bool = False) -> T:
        connection = self.send(request.frame, deadline_s, patience_s, fresh=not request.repeatable, is_read=is_read)
        reply = self.receive(connection, request.replies, deadline_s, patience_s, is_read=is_read, can_wait=can_wait)
        if type(reply) is hiredis.ReplyError:
            raise elsewhere(reply_failure(str(reply)), is_read=request.from_row is not None or is_read)
        try:
            return request.decode(reply)
        except ProtocolError:
            self.pool.close_idle()
            raise

    def send(self, frame: bytes, deadline_s: float, patience_s: float, *, fresh: bool = False,
             is_read: bool = False) -> Connection:
        """Send a command; return the connection on which its reply is to be received."""
        pool = self.pool
        try:
            connection = self._take_patiently(deadline_s, patience_s) if is_read else pool.take(deadline_s, fresh=fresh)
        except (Lost, DeadlineExceededError) as error:
            self.suspect()
            if is_read and isinstance(error, DeadlineExceededError) and monotonic() < deadline_s:
                raise silent(*self.address, patience_s) from error
            raise
        try:
            connection.send_patiently(frame, deadline_s, patience_s)
        except BaseException:
            pool.discard(connection)
            raise
        return connection

    def receive(self, connection: Connection, replies: int, deadline_s: float, patience_s: float, *,
                is_read: bool = False, can_wait: bool = False) -> Any:
        """Return the reply, or the list of `replies`; the connection is given back or closed.

        Raises:
            Silent: none came in time; the connection is closed.
            Lost, DeadlineExceededError, ProtocolError: see `Connection.receive`.
        """
        try:
            answers = self._answers
            try:
                try:
                    reply = connection.receive(replies, deadline_s)
                except DeadlineExceededError:
                    if not is_read:
                        raise
                    reply = self._wait_on(connection, replies, deadline_s, patience_s, answers)
            except DeadlineExceededError:
                if not is_read:
                    reply = self._insist(connection, replies, deadline_s, patience_s)
                elif monotonic() >= deadline_s:
                    raise
                else:
                    if not can_wait:
                        self.suspect()
                    raise silent(*self.address, patience_s) from None
        except BaseException:
            self.pool.discard(connection)
            raise
        self._answers += 1
        self.pool.give_back(connection)
        if self._suspect_until_s:
            self.trust()
        return reply

    def _take_patiently(self, deadline_s: float, patience_s: float) -> Connection:
        """Take a connection; while the shard answers others it is waited for, as for an answer (see `_wait_on`)."""
        while True:
            answers = self._answers
            try:
                return self.pool.take(min(deadline_s, monotonic() + patience_s))
            except DeadlineExceededError:
                if self._answers == answers or monotonic() >= deadline_s:
                    raise

    def _wait_on(self, connection: Connection, replies: int, deadline_s: float, patience_s: float, answers: int) -> Any:
        """Go on waiting for a late answer while others get theirs.

        Such a shard is there and has much to do: to ask elsewhere, too, makes that more.

        Raises:
            DeadlineExceededError: nobody gets any, or not in time.
        """
        while self._answers != answers and monotonic() < deadline_s:
            answers = self._answers
            with contextlib.suppress(DeadlineExceededError):
                return connection.receive_within(replies, deadline_s, patience_s)
        raise no_reply(self.address)

    def _insist(self, connection: Connection, replies: int, deadline_s: float, patience_s: float) -> Any:
        """Go on waiting for a write's reply, until somebody else has taken over."""
        self._insisting.append(connection)
        try:
            while monotonic() < deadline_s:
                if self._is_replaced(self.address, deadline_s):
                    raise silent(*self.address, patience_s)
                patience_s = min(2 * patience_s, _LONGEST_LOOK_S)
                try:
                    return connection.receive_within(replies, deadline_s, patience_s)
                except DeadlineExceededError:
                    continue
            raise no_reply(self.address)
        finally:
            self._insisting.remove(connection)
