"""How much may be under way: requests, bytes of bodies, requests and bytes a second. Beyond it: 413 and 429.

What lives here: the counting. Pure but for the numbers that it keeps; time is handed in. What does not: where it is
asked (`middleware.py`, `bodies.py`). Belongs to the Serve replica's loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from serve_app.problems import RETRY_AFTER_S, Refused, refuse
from serve_app.settings import HttpSettings

MAX_CALLERS: Final = 10_000
"""Callers whose rate is kept in mind; names are those of tokens, so there are rarely more than a few."""


class Bucket:
    """A token bucket: `rate_s` a second, and as many at once as come in one second.

    What is known only afterwards is charged afterwards: then it owes, and nothing may be taken until that has come in.
    """

    __slots__ = ("_filled_s", "_left")

    def __init__(self, rate_s: float, now_s: float) -> None:
        self._left = max(1.0, rate_s)
        self._filled_s = now_s

    def wait_s(self, rate_s: float, now_s: float) -> float:
        """Return 0 if there is one, else how many seconds to wait until there is."""
        self._left = min(max(1.0, rate_s), self._left + (now_s - self._filled_s) * rate_s)
        self._filled_s = now_s
        return 0.0 if self._left >= 1.0 else (1.0 - self._left) / rate_s

    def take(self, rate_s: float, now_s: float) -> float:
        """Take one; return 0, or how many seconds to wait until there is one."""
        wait_s = self.wait_s(rate_s, now_s)
        if not wait_s:
            self._left -= 1.0
        return wait_s

    def charge(self, count: int) -> None:
        """Take `count`, whether they are there or not."""
        self._left -= count


@dataclass(frozen=True, slots=True)
class Quota:
    """What a caller may do in a second, on one Serve replica."""

    requests_per_s: float | None = None
    """None: as the settings have it for all; 0: no limit."""
    bytes_per_s: float | None = None
    """Of bodies, in both directions; None and 0 likewise."""


AS_SET: Final = Quota()
"""The same as for all."""


class Admission:
    """What one Serve replica has under way."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._buckets: dict[str, Bucket] = {}
        self._accounts: dict[str, Bucket] = {}
        """The same for bytes."""
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
        self._accounts.clear()

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

    def spend(self, caller: str, now_s: float, quota: Quota = AS_SET) -> Bucket | None:
        """Count one request of `caller` against its quota.

        Returns: where to charge the bytes of its bodies; None: they have no limit.
        Raises:
            Refused: 429, it has used up what it may send.
        """
        settings, account = self._settings, None
        rate_s = settings.max_requests_per_s if quota.requests_per_s is None else quota.requests_per_s
        bytes_s = settings.max_bytes_per_s if quota.bytes_per_s is None else quota.bytes_per_s
        if bytes_s:
            account = _bucket(self._accounts, caller, bytes_s, now_s)
            if wait_s := account.wait_s(bytes_s, now_s):
                raise self._too_many(f"more than {bytes_s:g} bytes a second", wait_s)
        if rate_s and (wait_s := _bucket(self._buckets, caller, rate_s, now_s).take(rate_s, now_s)):
            raise self._too_many(f"more than {rate_s:g} requests a second", wait_s)
        return account

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


def _bucket(buckets: dict[str, Bucket], caller: str, rate_s: float, now_s: float) -> Bucket:
    found = buckets.get(caller)
    if found is None:
        if len(buckets) >= MAX_CALLERS:
            buckets.clear()
        found = buckets[caller] = Bucket(rate_s, now_s)
    return found
