"""What waits for replies on an async connection: one request, or a run of single reads made one.

What lives here: the items of a channel's queues and how replies reach their futures. Belongs to the channel's loop.
A waiter that was cancelled is skipped; the others of its run do not notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from copy import copy
from operator import methodcaller
from typing import Any, Final

import hiredis

from raycache.client import frames
from raycache.client.requests import Request
from raycache.client.retry import accepts_anybody, reply_failure
from raycache.errors import ProtocolError

# Longer runs gain nothing, and a shard works in steps of 512 keys.
MAX_RUN: Final = 2048

_is_done: Final = methodcaller("done")


def outcome(reply: Any) -> Any:
    """Return what a channel's future has, or raise what it stands for: a copy, since many waiters may share it."""
    if isinstance(reply, Exception):
        raise reply_failure(str(reply)) if isinstance(reply, hiredis.ReplyError) else copy(reply)
    return reply


def _settle(future: asyncio.Future[Any], outcome: Any) -> None:
    if not future.done():
        future.set_result(outcome)


class Item:
    """Some replies that are expected in one go."""

    __slots__ = ("deadline_s", "sent_s")

    refusal: Exception | None = None
    """Why the whole connection must end after this item."""

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.sent_s = 0.0
        """When it was written to the connection, on the loop's clock."""

    def frame(self) -> bytes:
        """Return the command's bytes."""
        raise NotImplementedError

    def tail(self) -> Sequence[bytes | bytearray]:
        """Return what follows the frame and is not to be copied."""
        return ()

    def is_wanted(self) -> bool:
        """Return whether anybody still waits; what nobody waits for is not sent."""
        raise NotImplementedError

    def take(self, reply: Any) -> bool:
        """Take the next reply; return whether it was the last."""
        raise NotImplementedError

    def reject(self, failure: Exception) -> None:
        """End with `failure`."""
        raise NotImplementedError

    def hedge(self, failure: Exception) -> None:
        """End with `failure` whatever may be asked elsewhere; its reply, should it come, answers nobody."""


class Call(Item):
    """One request."""

    __slots__ = ("_future", "_request", "_taken")

    def __init__(self, request: Request[Any], future: asyncio.Future[Any], deadline_s: float) -> None:
        super().__init__(deadline_s)
        self._request = request
        self._future = future
        self._taken: list[Any] = []

    def frame(self) -> bytes:
        return self._request.frame

    def tail(self) -> Sequence[bytes | bytearray]:
        return self._request.tail

    def is_wanted(self) -> bool:
        return not self._future.done()

    def take(self, reply: Any) -> bool:
        replies = self._request.replies
        if replies == 1:
            _settle(self._future, reply)
            return True
        self._taken.append(reply)
        if len(self._taken) < replies:
            return False
        errors = [each for each in self._taken if isinstance(each, hiredis.ReplyError)]
        _settle(self._future, errors[0] if errors else self._taken)
        return True

    def reject(self, failure: Exception) -> None:
        _settle(self._future, failure)

    def hedge(self, failure: Exception) -> None:
        if self._request.from_row is not None:
            _settle(self._future, failure)


class Auth(Call):
    """AUTH: if it is refused, so is everything on the connection."""

    __slots__ = ("refusal",)

    def take(self, reply: Any) -> bool:
        text = str(reply)
        if isinstance(reply, hiredis.ReplyError) and not accepts_anybody(text):
            self.refusal = reply_failure(text)
        else:
            self.refusal = None
        return True


class Reads(Item):
    """A run of single reads, sent as one RC.MGET (RC.GET while it is one)."""

    __slots__ = ("futures", "keys")

    def __init__(self, deadline_s: float) -> None:
        super().__init__(deadline_s)
        self.keys: list[bytes] = []
        self.futures: list[asyncio.Future[Any]] = []
        """Whoever adds a read appends to both, until the run is sent."""

    def frame(self) -> bytes:
        return frames.get(self.keys[0]) if len(self.keys) == 1 else frames.get_many(self.keys)

    def is_wanted(self) -> bool:
        if True in map(_is_done, self.futures):
            wanted = [each for each in zip(self.keys, self.futures, strict=True) if not each[1].done()]
            self.keys = [key for key, _ in wanted]
            self.futures = [future for _, future in wanted]
        return bool(self.keys)

    def take(self, reply: Any) -> bool:
        futures = self.futures
        if len(futures) == 1 or isinstance(reply, hiredis.ReplyError):
            self.reject(reply)
        elif type(reply) is not list or len(reply) != len(futures):
            self.reject(ProtocolError(f"a shard answered RC.MGET of {len(futures)} keys with {reply!r:.100}"))
        else:
            for future, payload in zip(futures, reply, strict=True):
                if not future.done():  # its waiter was cancelled
                    future.set_result(payload)
        return True

    def reject(self, failure: Any) -> None:
        for future in self.futures:
            _settle(future, failure)

    def hedge(self, failure: Exception) -> None:
        self.reject(failure)
