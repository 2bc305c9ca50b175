"""A deadline for each of many requests, with one timer for all of them.

What lives here: `Deadlines` and what it gives out. What does not: how long a request may take, and what its caller is
told then (`middleware.py`). Belongs to one loop.

`asyncio.timeout` sets a timer for each request, nearly always to take it away within a millisecond; that was a tenth of
what the door itself took for a GET. Here a request puts its name on a list and takes it off. The timer is set for the
first on the list, and goes off once in the time that a request may take.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

_NEVER_S = float("inf")


class Deadline:
    """Ends what a task does in a `with` block at a time: the block raises TimeoutError then, as `asyncio.timeout` has
    it."""

    __slots__ = ("_list", "_task", "at_s", "is_over")

    def __init__(self, deadlines: Deadlines, at_s: float) -> None:
        self._list = deadlines
        self._task: asyncio.Task[object] | None = None
        self.at_s = at_s
        """By `time.monotonic`."""
        self.is_over = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._list.add(self)

    def end_task(self) -> None:
        """The time is over."""
        assert self._task is not None
        self.is_over = True
        self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if not self.is_over:
            self._list.remove(self)
            return
        assert self._task is not None
        # Where somebody else has cancelled the task, too, that is what counts.
        if self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from error


class Deadlines:
    """Who is under way, and until when."""

    def __init__(self) -> None:
        self._running: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = _NEVER_S
        """When it goes off."""

    def __len__(self) -> int:
        return len(self._running)

    def until(self, at_s: float) -> Deadline:
        """Return what to put a `with` around; `at_s` is a time of `time.monotonic`."""
        return Deadline(self, at_s)

    def add(self, deadline: Deadline) -> None:
        """Watch over a deadline."""
        self._running.add(deadline)
        if deadline.at_s < self._timer_s:
            self._set(deadline.at_s)

    def remove(self, deadline: Deadline) -> None:
        """Watch no more. The timer stays: it finds nobody, or whoever has come since."""
        self._running.discard(deadline)

    def step(self, now_s: float) -> None:
        """End what is overdue, and set the timer for the next."""
        self._timer, self._timer_s = None, _NEVER_S
        for deadline in sorted((each for each in self._running if each.at_s <= now_s), key=lambda each: each.at_s):
            self._running.discard(deadline)
            deadline.end_task()
        if self._running:
            self._set(min(each.at_s for each in self._running))

    def close(self) -> None:
        """Take the timer away."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_s = None, _NEVER_S

    def _set(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_s = at_s
        self._timer = asyncio.get_running_loop().call_later(max(0.0, at_s - time.monotonic()), self._fire)

    def _fire(self) -> None:
        # A loop's timers may go off a little early; what is due by then is due.
        self.step(max(time.monotonic(), self._timer_s))
