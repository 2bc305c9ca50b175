"""The clocks of simulated machines: none is right, each wrong in its own way.

What lives here: a `raycache.clock.Clock` per machine. Wall clocks are off by up to minutes and jump; monotonic clocks
start anywhere and run a little fast or slow.
"""

from __future__ import annotations

from typing import Final

from raycache.testing.simulation.scheduler import Scheduler

UNIX_MS: Final = 1_700_000_000_000
"""What a right clock would show at the start."""


class MachineClock:
    """Both kinds of now on one machine.

    Args:
        offset_ms: what the wall clock is off by.
        start_s: what the monotonic clock shows at true time 0.
        rate: seconds of this clock in a true one.
    """

    __slots__ = ("_scheduler", "_start_s", "offset_ms", "rate")

    def __init__(self, scheduler: Scheduler, offset_ms: int = 0, start_s: float = 0.0, rate: float = 1.0) -> None:
        self._scheduler = scheduler
        self._start_s = start_s
        self.offset_ms = offset_ms
        self.rate = rate

    def unix_ms(self) -> int:
        """Milliseconds since 1970, as this machine believes."""
        return UNIX_MS + self.offset_ms + int(self._scheduler.now_s * self.rate * 1000)

    def monotonic_s(self) -> float:
        """Seconds since some point."""
        return self._start_s + self._scheduler.now_s * self.rate

    def jump(self, by_ms: int) -> None:
        """Set the wall clock forwards or back."""
        self.offset_ms += by_ms
