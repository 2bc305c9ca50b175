"""What many threads wait for: something that happens once.

What lives here: `Latch`, a `threading.Event` but for how it wakes. Who waits for an event takes its own lock again
before going on, and a hundred threads that are woken together queue for that, and for the interpreter: each of those
waits wakes every 5 ms to ask for it. Here each has a lock of its own, and a few are woken, who wake the next ones as
they go on.
"""

from __future__ import annotations

import threading
from typing import Final

AT_ONCE: Final = 4
"""How many go on at the same time: more than one, as the system may have put one of them aside."""


class Latch:
    """Set once, and for good. Any thread."""

    __slots__ = ("_is_set", "_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._waiting: dict[threading.Lock, None] = {}
        """A lock for each who waits, held until it may go on; in the order of arrival."""

    def set(self) -> None:
        """Let everybody go on who waits, or will."""
        with self._lock:
            self._is_set = True
        for _ in range(AT_ONCE):
            self._wake_next()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it is set, for at most `timeout_s`; return whether it is."""
        mine = threading.Lock()
        mine.acquire()
        with self._lock:
            if self._is_set:
                return True
            self._waiting[mine] = None
        try:
            mine.acquire(timeout=timeout_s)
        finally:  # a signal's exception counts, too: the next ones wait for whoever was woken
            with self._lock:
                is_woken = mine not in self._waiting
                self._waiting.pop(mine, None)
            if is_woken:
                self._wake_next()
        return self._is_set

    def _wake_next(self) -> None:
        with self._lock:
            if not self._waiting:
                return
            first = next(iter(self._waiting))
            del self._waiting[first]
        first.release()
