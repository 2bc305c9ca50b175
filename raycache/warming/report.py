"""What a warming has done so far, and in the end.

What lives here: the counts and their form as JSON. What does not: showing them (`raycache.cli`). Pure.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

End = Literal["done", "stopped", "gave up"]


@dataclass(slots=True)
class WarmReport:
    """Counts of keys; every key taken up is in exactly one of `loaded`, `present`, `absent`, `failed`."""

    total: int = 0
    """Keys wanted, those done by earlier runs included."""
    resumed_at: int = 0
    """How many of them an earlier run had done."""
    loaded: int = 0
    """Stored in the cache."""
    present: int = 0
    """Not loaded because the key was there already, or somebody else was loading it."""
    absent: int = 0
    """Not stored because whoever was asked has no value for it."""
    failed: int = 0
    """Given up after the last attempt."""
    seconds: float = 0.0
    """Of this run."""
    backoffs: int = 0
    """How often it slowed down."""
    loads: int = 0
    """Batches asked for."""
    rate_over_time: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the start, keys a second stored since the one before), about a hundred at most."""
    end: End = "done"
    error: str = ""
    """The last error, where there was one."""

    @property
    def finished(self) -> int:
        """Keys that are done, whichever way, in this run."""
        return self.loaded + self.present + self.absent + self.failed

    @property
    def position(self) -> int:
        """Keys that are done in all runs."""
        return self.resumed_at + self.finished

    @property
    def rate(self) -> float:
        """Keys stored a second, over the whole run."""
        return self.loaded / self.seconds if self.seconds > 0 else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        record = dataclasses.asdict(self)
        record["rate_over_time"] = [[round(at, 3), round(rate, 1)] for at, rate in self.rate_over_time]
        return {**record, "rate": round(self.rate, 1), "position": self.position}


POINTS = 100


class RateHistory:
    """Keeps `WarmReport.rate_over_time` short: once it is full, two points become one, and come half as often."""

    def __init__(self, report: WarmReport, interval_s: float = 1.0) -> None:
        self._report = report
        self._interval_s = interval_s
        self._last_s = 0.0
        self._last_loaded = 0

    def step(self, elapsed_s: float, *, is_last: bool = False) -> None:
        """Take a point if it is time for one."""
        report, passed_s = self._report, elapsed_s - self._last_s
        if passed_s < self._interval_s and not (is_last and passed_s > 0):
            return
        report.rate_over_time.append((elapsed_s, (report.loaded - self._last_loaded) / passed_s))
        self._last_s, self._last_loaded = elapsed_s, report.loaded
        if len(report.rate_over_time) > POINTS:
            halved = []
            begin_s = 0.0
            points = report.rate_over_time
            for (one_s, one), (two_s, two) in zip(points[::2], points[1::2], strict=False):
                halved.append((two_s, (one * (one_s - begin_s) + two * (two_s - one_s)) / (two_s - begin_s)))
                begin_s = two_s
            report.rate_over_time = halved + points[len(halved) * 2:]
            self._interval_s *= 2
