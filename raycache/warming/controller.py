"""How fast to load, so that whoever else uses the database does not suffer: a control law, and nothing else.

What lives here: the law and its constants. What does not: measuring, loading, waiting (`pace`, `running`). Pure: times
are handed in.

The law is AIMD, as TCP's congestion avoidance: add a little while all is well, take away a share when it is not. Such
a controller needs no model of the database, settles at the fastest rate that keeps the bound, and gives way to others
that do the same. In each window of at least `WINDOW_S` that has seen a sample:

- *an error of our own*: the rate is divided by `ERROR_BACKOFF`, and nothing is loaded for a pause that doubles with
  each such window, from `PAUSE_S` up to `MAX_PAUSE_S`;
- *latency above the bound* (the `PERCENTILE`-th of the window's samples): the rate is multiplied by `BACKOFF`;
- *latency within `CALM` of the bound*: the rate grows by `GROWTH` of the upper limit, at least by 1 key a second; until
  the bound has been broken for the first time it doubles instead (a slow start, so that a long warming does not begin
  with a minute of crawling);
- in between nothing changes, so that it does not swing about the bound.

After a change downwards the samples of the next `SETTLE_S` do not count: they saw what was loaded before.

Source: Chiu, Jain, "Analysis of the increase and decrease algorithms for congestion avoidance", 1989; Jacobson,
"Congestion avoidance and control", SIGCOMM 1988, for the slow start.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

WINDOW_S: Final = 0.25
"""Long enough for a handful of samples, short enough that a bad one is answered before a user notices."""
SETTLE_S: Final = 0.25
PERCENTILE: Final = 0.9
"""With fewer than ten samples in a window that is the slowest of them."""
BACKOFF: Final = 0.5
ERROR_BACKOFF: Final = 4.0
CALM: Final = 0.7
GROWTH: Final = 0.02
PAUSE_S: Final = 0.5
MAX_PAUSE_S: Final = 30.0
LEAST_RATE: Final = 1.0
"""Keys a second. It never stops altogether: only loading shows that the database has recovered."""
FIRST_RATE: Final = 50.0
"""What a slow start begins with."""

Verdict = Literal["steady", "faster", "slower", "errors"]


@dataclass(frozen=True, slots=True)
class Observations:
    """What has been seen since the last step."""

    latencies_s: Sequence[float] = ()
    """Of loads and probes that came back, in seconds."""
    errors: int = 0
    """Loads that failed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do from now on."""

    rate: float
    """Keys a second."""
    not_before_s: float
    """Load nothing before this time."""
    verdict: Verdict
    """What this step has changed."""


class RateController:
    """Finds the rate for one warming.

    Args:
        most: keys a second that it never exceeds.
        max_latency_s: the bound; None: only errors slow it down, and it begins with `most`.
    Raises:
        ValueError: one of them is not positive.
    """

    def __init__(self, most: float, max_latency_s: float | None = None) -> None:
        if not most > 0 or (max_latency_s is not None and not max_latency_s > 0):
            raise ValueError("a rate and a latency must be positive")
        self._most = max(most, LEAST_RATE)
        self._bound_s = max_latency_s
        self.rate = min(self._most, FIRST_RATE) if max_latency_s is not None else self._most
        self.backoffs = 0
        """How often it has slowed down."""
        self._is_starting = True
        self._samples: list[float] = []
        self._errors = 0
        self._window_ends_s = -math.inf
        self._settled_s = -math.inf
        self._not_before_s = -math.inf
        self._pause_s = PAUSE_S

    def step(self, now_s: float, observations: Observations) -> Decision:
        """Take in what was observed until `now_s` (monotonic seconds); return what follows."""
        if now_s >= self._settled_s:
            self._samples += observations.latencies_s
        self._errors += observations.errors
        if self._window_ends_s == -math.inf:
            self._window_ends_s = now_s + WINDOW_S
        if now_s < self._window_ends_s and not self._errors:
            return self._decision("steady")
        if not self._samples and not self._errors:
            return self._decision("steady")
        verdict = self._judge(now_s)
        self._samples.clear()
        self._errors = 0
        self._window_ends_s = max(now_s, self._not_before_s) + WINDOW_S
        return self._decision(verdict)

    def _judge(self, now_s: float) -> Verdict:
        if self._errors:
            self._slow_down(now_s, 1 / ERROR_BACKOFF)
            self._not_before_s = now_s + self._pause_s
            self._pause_s = min(MAX_PAUSE_S, 2 * self._pause_s)
            return "errors"
        self._pause_s = PAUSE_S
        ranked = sorted(self._samples)
        latency_s = ranked[min(len(ranked) - 1, math.ceil(PERCENTILE * len(ranked)) - (len(ranked) >= 10))]
        if self._bound_s is not None and latency_s > self._bound_s:
            self._slow_down(now_s, BACKOFF)
            return "slower"
        if self.rate < self._most and (self._bound_s is None or latency_s <= CALM * self._bound_s):
            growth = self.rate if self._is_starting else max(LEAST_RATE, GROWTH * self._most)
            self.rate = min(self._most, self.rate + growth)
            return "faster"
        return "steady"

    def _slow_down(self, now_s: float, factor: float) -> None:
        self.rate = max(LEAST_RATE, self.rate * factor)
        self.backoffs += 1
        self._is_starting = False
        self._settled_s = now_s + SETTLE_S

    def _decision(self, verdict: Verdict) -> Decision:
        return Decision(self.rate, self._not_before_s, verdict)
