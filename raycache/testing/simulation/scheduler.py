"""Time in a simulation: a queue of events ordered by (time, sequence), and processes that can stop, die and come back.

What lives here: the order of things. What does not: messages (`network`) and what processes do. Nothing here looks at a
real clock: a second of simulated time costs what its events cost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

Call = Callable[..., None]


class Scheduler:
    """Runs calls at their times. Two at the same time run in the order in which they were asked for."""

    __slots__ = ("_count", "_queue", "events", "now_s")

    def __init__(self) -> None:
        self.now_s = 0.0
        """True time: no process sees it, the checks do."""
        self.events = 0
        self._count = 0
        self._queue: list[tuple[float, int, Call, tuple[Any, ...]]] = []

    def at(self, at_s: float, call: Call, *args: Any) -> None:
        """Call `call(*args)` at `at_s`, or now if that is over."""
        self._count += 1
        heappush(self._queue, (at_s, self._count, call, args))

    def after(self, delay_s: float, call: Call, *args: Any) -> None:
        """Call `call(*args)` in `delay_s` seconds."""
        self._count += 1
        heappush(self._queue, (self.now_s + delay_s, self._count, call, args))

    def run(self, until_s: float) -> None:
        """Run every event up to `until_s`, and stand there then."""
        queue = self._queue
        while queue and queue[0][0] <= until_s:
            at_s, _, call, args = heappop(queue)
            if at_s > self.now_s:
                self.now_s = at_s
            self.events += 1
            call(*args)
        self.now_s = max(self.now_s, until_s)


class Process:
    """Something that runs one call at a time, can be stopped (SIGSTOP) and killed, and may start again.

    Whatever is meant for it says in which of its lives: what was meant for an earlier one never happens.
    """

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.life = 0
        self.is_up = False
        self.is_paused = False
        self._waiting: deque[tuple[int, Call, tuple[Any, ...]]] = deque()

    def run(self, life: int, call: Call, *args: Any) -> None:
        """Do `call(*args)`, once it is awake, if it still lives that life."""
        if life != self.life or not self.is_up:
            return
        if self.is_paused:
            self._waiting.append((life, call, args))
        else:
            call(*args)

    def after(self, delay_s: float, call: Call, *args: Any) -> None:
        """Do `call(*args)` in `delay_s` seconds."""
        self.scheduler.after(delay_s, self.run, self.life, call, *args)

    def start(self) -> None:
        """Begin a new life."""
        self.life += 1
        self.is_up, self.is_paused = True, False
        self._waiting.clear()

    def die(self) -> None:
        """End this life: nothing of it is left."""
        self.is_up = self.is_paused = False
        self._waiting.clear()

    def pause(self) -> None:
        """Stop: whatever comes, timers too, waits."""
        self.is_paused = self.is_up

    def resume(self) -> None:
        """Go on: everything that waited happens now, in its order, at the time that it has become."""
        self.is_paused = False
        waiting = self._waiting
        while waiting and not self.is_paused:
            self.run(*_flat(waiting.popleft()))


def _flat(waiting: tuple[int, Call, tuple[Any, ...]]) -> tuple[Any, ...]:
    life, call, args = waiting
    return (life, call, *args)
