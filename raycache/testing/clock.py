"""A clock that stands still until it is moved.

What does not live here: the protocol (`raycache.clock`).
"""

from __future__ import annotations


class FakeClock:
    """Both kinds of now, moved together by `advance`; wall time can also jump alone."""

    def __init__(self, unix_ms: int = 1_700_000_000_000) -> None:
        self._unix_ms = unix_ms
        self._monotonic_s = 0.0

    def unix_ms(self) -> int:
        """Milliseconds since 1970."""
        return self._unix_ms

    def monotonic_s(self) -> float:
        """Seconds since this clock was made."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: `seconds` is negative; only wall time can go back, by `jump`.
        """
        if seconds < 0:
            raise ValueError(f"time passes forwards, not by {seconds} s")
        self._monotonic_s += seconds
        self._unix_ms += round(seconds * 1000)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forwards or back, as an operator or NTP does."""
        self._unix_ms += round(seconds * 1000)
