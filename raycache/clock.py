"""Where time comes from. The core never reads a clock: shells pass `now` in.

What lives here: the one protocol and the system's clock. The clock that tests drive by hand is
`raycache.testing.FakeClock`.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two kinds of now: wall time for expiries that cross machines, monotonic time for durations."""

    def unix_ms(self) -> int:
        """Milliseconds since 1970, UTC. May jump."""

    def monotonic_s(self) -> float:
        """Seconds since some fixed point. Never goes back."""


class SystemClock:
    """The machine's own clocks."""

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000

    # Asked for every turn of every connection: without a call of ours around it.
    monotonic_s = staticmethod(time.monotonic)
