"""How long to wait after a failure: longer each time, and never quite the same.

Pure; randomness is handed in.
"""

from __future__ import annotations

import random


class Backoff:
    """Exponential, with full jitter above a floor of one half, so that nobody hammers and nobody starves."""

    def __init__(self, first_s: float, most_s: float, rng: random.Random) -> None:
        """Make one that waits about `first_s` at first and at most `most_s`, in seconds."""
        self._first_s = first_s
        self._most_s = most_s
        self._rng = rng

    def after(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row, at least one."""
        longest = min(self._most_s, self._first_s * 2.0 ** min(failures - 1, 60))
        return longest * (0.5 + 0.5 * self._rng.random())
