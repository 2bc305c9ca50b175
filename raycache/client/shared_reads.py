"""Threads that read one key at the same time share a round trip.

What lives here: `SharedReads`, for the reads of loading: they are where a herd of threads meets. What does not: reading
(the dispatcher), and the same for asyncio, whose reads leave together anyway. Any thread.

A read may answer only those who asked before it was sent: whoever came later may have begun after a write that it does
not know of. So up to `AT_ONCE` threads read for themselves, which is as many as there are connections; those beyond
gather, and when the last one of these is done, one who gathered reads for all who have by then.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Final

from raycache.client import forks
from raycache.client.latch import Latch
from raycache.client.pool import MAX_CONNECTIONS
from raycache.errors import DeadlineExceededError

AT_ONCE: Final = MAX_CONNECTIONS
_UNSEEN: Final = AT_ONCE - 1
"""So many of them, whatever their keys, are only counted: a lone thread pays next to nothing for all this."""


class _Gathering:
    """Those who wait for the next read of a key. The first of them does it."""

    __slots__ = ("done", "error", "has_answer", "turn", "value")

    def __init__(self) -> None:
        self.turn = Latch()
        self.done = Latch()
        self.has_answer = False
        self.value: bytes | None = None
        self.error: Exception | None = None


class _Reads:
    """A read of a key is under way that others may wait for."""

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next: _Gathering | None = None


class SharedReads:
    """The reads of one handle.

    Args:
        read: reads a key; raises RayCacheErrors.
        timeout_s: how long somebody else's read is waited for.
    """

    def __init__(self, read: Callable[[bytes], bytes | None], timeout_s: float) -> None:
        self._read = read
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._keys: dict[bytes, _Reads] = {}
        self._room: list[None] = [None] * _UNSEEN
        forks.watch(self)

    def read(self, key: bytes) -> bytes | None:
        """Return what `key` holds, as it is after this call began. HOT.

        Raises:
            RayCacheError: it cannot be read.
        """
        room = self._room
        try:
            room.pop()  # atomic, and so is append
        except IndexError:
            pass  # not from here: an error of the read would seem to come from this one
        else:
            try:
                return self._read(key)
            finally:
                room.append(None)
        return self._read_among_many(key)

    def _read_among_many(self, key: bytes) -> bytes | None:
        with self._lock:
            reads = self._keys.get(key)
            if reads is None:
                reads = self._keys[key] = _Reads()
                mine = gathering = None
            elif (gathering := reads.next) is None:
                mine = gathering = reads.next = _Gathering()
            else:
                mine = None
        if gathering is None:
            try:
                return self._read(key)
            finally:
                self._finish(key, reads)
        if mine is not None:
            return self._read_for_all(key, reads, mine)
        if not gathering.done.wait(self._timeout_s):
            raise _too_late()
        if gathering.error is not None:
            raise copy.copy(gathering.error) from gathering.error
        return gathering.value if gathering.has_answer else self._read(key)

    def _read_for_all(self, key: bytes, reads: _Reads, mine: _Gathering) -> bytes | None:
        has_turn = False
        try:
            try:
                mine.turn.wait(self._timeout_s)
            finally:
                with self._lock:
                    has_turn = reads.next is not mine  # so nobody can join any more
                    if not has_turn:
                        reads.next = None
            if not has_turn:
                raise _too_late()
            mine.value = self._read(key)
            mine.has_answer = True
        except Exception as error:
            mine.error = error
            raise
        finally:
            mine.done.set()
            if has_turn:
                self._finish(key, reads)
        return mine.value

    def _finish(self, key: bytes, reads: _Reads) -> None:
        """Take in that a read is over: whoever gathered is next."""
        with self._lock:
            gathering, reads.next = reads.next, None
            if gathering is None and self._keys.get(key) is reads:
                del self._keys[key]
        if gathering is not None:
            gathering.turn.set()

    def forget_connections(self) -> None:
        """Start anew in a forked child, which has none of the threads."""
        self._lock, self._keys, self._room = threading.Lock(), {}, [None] * _UNSEEN


def _too_late() -> DeadlineExceededError:
    return DeadlineExceededError("other threads were reading the same key until the deadline; nothing has happened")
