"""How much may be under way: requests, bytes of bodies, requests a second. Beyond it: 413 and 429.

What lives here: the counting. Pure but for the numbers that it keeps; time is handed in. What does not: where it is
asked (`middleware.py`, `bodies.py`). Belongs to the Serve replica's loop.
"""

from __future__ import annotations

from typing import Final

from serve_app.problems import RETRY_AFTER_S, Refused, refuse
from serve_app.settings import HttpSettings

MAX_CALLERS: Final = 10_000
"""Callers whose rate is kept in mind; names are those of tokens, so there are rarely more than a few."""


class Bucket:
    """A token bucket: `rate_s` a second, and as many at once as come in one second."""

    __slots__ = ("_filled_s", "_left")

    def __init__(self, rate_s: float, now_s: float) -> None:
        self._left = max(1.0, rate_s)
        self._filled_s = now_s

    def take(self, rate_s: float, now_s: float) -> float:
        """Take one; return 0, or how many seconds to wait until there is one."""
        self._left = min(max(1.0, rate_s), self._left + (now_s - self._filled_s) * rate_s)
        self._filled_s = now_s
        if self._left < 1.0:
            return (1.0 - self._left) / rate_s
        self._left -= 1.0
        return 0.0


class Admission:
    """What one Serve replica has under way."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._buckets: dict[str, Bucket] = {}
        self.requests = 0
        """Under way."""
        self.held_bytes = 0
        """Of bodies in memory."""
        self.refused = 0
        """Requests that were refused for a limit, since the start."""

    def change(self, settings: HttpSettings) -> None:
        """Count by other limits from now on."""
        self._settings = settings
        self._buckets.clear()

    def enter(self) -> None:
        """A request begins; `leave` when it is over.

        Raises:
            Refused: 429, too many are under way.
        """
        if self.requests >= self._settings.max_concurrent_requests:
            raise self._too_many(f"{self.requests} requests are under way, as many as may be", RETRY_AFTER_S)
        self.requests += 1

    def leave(self) -> None:
        """A request is over."""
        self.requests -= 1

    def spend(self, caller: str, now_s: float) -> None:
        """Count one request of `caller` against its rate.

        Raises:
            Refused: 429, it has used up what it may send.
        """
        rate_s = self._settings.max_requests_per_s
        if not rate_s:
            return
        bucket = self._buckets.get(caller)
        if bucket is None:
            if len(self._buckets) >= MAX_CALLERS:
                self._buckets.clear()
            bucket = self._buckets[caller] = Bucket(rate_s, now_s)
        wait_s = bucket.take(rate_s, now_s)
        if wait_s:
            raise self._too_many(f"more than {rate_s:g} requests a second", wait_s)

    def hold(self, count: int) -> None:
        """Bytes of a body come into memory; `release` them when they are gone.

        Raises:
            Refused: 429, too many are held.
        """
        if self.held_bytes + count > self._settings.max_held_bytes:
            raise self._too_many(f"{self.held_bytes} bytes of bodies are under way, as many as may be", RETRY_AFTER_S)
        self.held_bytes += count

    def release(self, count: int) -> None:
        """Bytes of a body have left."""
        self.held_bytes -= count

    def check_length(self, count: int) -> None:
        """Refuse a body of `count` bytes that is too long.

        Raises:
            Refused: 413.
        """
        if count > self._settings.max_body_bytes:
            self.refused += 1
            limit = self._settings.max_body_bytes
            raise refuse(413, "body-too-large", f"a body may have {limit} bytes", limit_bytes=limit)

    def _too_many(self, detail: str, wait_s: float) -> Refused:
        self.refused += 1
        return refuse(429, "too-many-requests", detail, {"Retry-After": str(max(1, round(wait_s + 0.5)))})
