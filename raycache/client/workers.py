"""A few threads for refreshes in the background.

What lives here: `Workers`. Daemon threads, not an executor: those are joined when the interpreter ends, so one hung
loader would keep the process alive. They start when there is something to do, and end when there has been nothing for
a while. Any thread.
"""

from __future__ import annotations

import threading
from collections import deque
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
        self._queue: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()  # what is queued and who is idle must be seen as of one moment
        self._threads = 0
        self._idle = 0
        self._is_closed = False

    def submit(self, work: Callable[[], None]) -> bool:
        """Have `work`, which raises nothing, done soon; return False if there is too much already, or it is closed."""
        with self._changed:
            if self._is_closed or len(self._queue) >= MAX_QUEUED:
                return False
            self._queue.append(work)
            if self._idle < len(self._queue) and self._threads < MAX_WORKERS:
                self._threads += 1
                threading.Thread(target=self._work, name="raycache-loading", daemon=True).start()
            self._changed.notify()
        return True

    def close(self) -> list[Callable[[], None]]:
        """Take no more work; return what was not begun. What runs now goes on to its end."""
        with self._changed:
            self._is_closed = True
            left = list(self._queue)
            self._queue.clear()
            self._changed.notify_all()
        return left

    def forget(self) -> None:
        """Start anew in a forked child, which has none of the threads."""
        is_closed = self._is_closed
        self.__init__()  # type: ignore[misc]
        self._is_closed = is_closed

    def _work(self) -> None:
        while (work := self._next()) is not None:
            work()

    def _next(self) -> Callable[[], None] | None:
        """Wait for work; None: there is none, and this thread counts no longer."""
        with self._changed:
            self._idle += 1
            self._changed.wait_for(lambda: self._queue or self._is_closed, IDLE_S)
            self._idle -= 1
            if self._queue:
                return self._queue.popleft()
            self._threads -= 1
            return None
