"""A few threads for refreshes in the background.

What lives here: `Workers`. Daemon threads, not an executor: those are joined when the interpreter ends, so one hung
loader would keep the process alive. They start when there is something to do, and end when there has been nothing for
a while. Any thread.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Final

MAX_WORKERS: Final = 4
"""Loads in the background at a time. They are waits for a database most of the time, and nobody waits for them."""
MAX_QUEUED: Final = 64
"""Beyond this many waiting, a refresh is left to the next caller."""
IDLE_S: Final = 10.0


class Workers:
    """Runs work in the background, at most `MAX_WORKERS` pieces at a time."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(MAX_QUEUED)
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        self._is_closed = False

    def submit(self, work: Callable[[], None]) -> bool:
        """Have `work`, which raises nothing, done soon; return False if there is too much already, or it is closed."""
        with self._lock:
            if self._is_closed:
                return False
            try:
                self._queue.put_nowait(work)
            except queue.Full:
                return False
            if self._idle < self._queue.qsize() and self._threads < MAX_WORKERS:
                self._threads += 1
                threading.Thread(target=self._work, name="raycache-loading", daemon=True).start()
        return True

    def close(self) -> list[Callable[[], None]]:
        """Take no more work; return what was not begun. What runs now goes on to its end."""
        with self._lock:
            self._is_closed = True
            left = []
            while True:
                try:
                    work = self._queue.get_nowait()
                except queue.Empty:
                    break
                if work is not None:
                    left.append(work)
            for _ in range(self._threads):
                self._queue.put_nowait(None)
        return left

    def forget(self) -> None:
        """Start anew in a forked child, which has none of the threads."""
        is_closed = self._is_closed
        self.__init__()  # type: ignore[misc]
        self._is_closed = is_closed

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            try:
                work = self._queue.get(timeout=IDLE_S)
            except queue.Empty:
                work = None
            with self._lock:
                self._idle -= 1
                if work is None and (self._is_closed or self._queue.empty()):  # else it came in this very moment
                    self._threads -= 1
                    return
            if work is not None:
                work()
