"""How many keys to load next, and when: batches, the delay between them, the rate limit, and the controller's word.

What lives here: the settings and that arithmetic. What does not: the control law (`controller`), loading and waiting
(`running`). Pure: times are handed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from raycache.warming.controller import Observations, RateController, Verdict

SHORTEST_S: Final = 0.1
"""A slow rate is kept by smaller batches, not by long pauses between large ones: a batch of 100 would be felt for as
long as it takes, however long the pause after it. They are about so far apart, beside the delay: time to load them."""
UNLIMITED: Final = 1e6
"""Keys a second that no loader reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmSettings:
    """How gently to warm.

    Raises:
        ValueError: a number is out of its range; the text says which.
    """

    batch: int = 100
    """Keys of one load, at most: one query with a hundred keys is no burden for a database, and saves round trips."""
    delay_s: float = 0.1
    """Seconds between the end of a batch and the next: the database breathes, whatever else is set."""
    rate: float | None = None
    """Keys a second, at most; None: as many as batch and delay allow."""
    max_latency_ms: float | None = None
    """The bound: above it, loading slows down. Measured on each load and on the probe. None: only errors slow it."""
    ttl_s: float | None = None
    """Lifetime of what is loaded, in seconds; None: it never expires. Copies keep the lifetimes that they have."""
    jitter: float = 0.1
    """Share of `ttl_s` by which lifetimes are shortened at random, lest what came together expire together."""
    probe_every_s: float = 0.05
    """Seconds between two calls of the probe."""
    attempts: int = 3
    """How often a key is tried; the last time by itself, so that one bad key does not take its batch along."""
    give_up_after: int = 10
    """Loads failing one after the other after which warming ends: the database is gone, not slow."""

    def __post_init__(self) -> None:
        for name, low, high in (("batch", 1, 8192), ("attempts", 1, 100), ("give_up_after", 1, 10_000)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be {low} to {high:,}, not {getattr(self, name)}")
        for name in ("rate", "max_latency_ms", "ttl_s", "probe_every_s"):
            number = getattr(self, name)
            if number is not None and not 0 < number < math.inf:
                raise ValueError(f"{name} must be positive, not {number}")
        if not 0 <= self.delay_s < math.inf:
            raise ValueError(f"delay_s must not be negative, not {self.delay_s}")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter must be at least 0 and below 1, not {self.jitter}")


class Pace:
    """The pace of one warming: ask `batch_size` and `wait_s` before a load, and tell `loaded` after it."""

    def __init__(self, settings: WarmSettings) -> None:
        self._settings = settings
        bound_ms = settings.max_latency_ms
        most = settings.rate if settings.rate is not None else UNLIMITED
        if settings.delay_s:
            most = min(most, settings.batch / settings.delay_s)
        elif bound_ms is not None:
            most = min(most, settings.batch / SHORTEST_S * 10)  # the law's steps are shares of something real
        self._most = most
        self._controller = RateController(most, bound_ms / 1000 if bound_ms is not None else None)
        self._next_s = -math.inf

    @property
    def rate(self) -> float:
        """Keys a second that it aims at now, at most; `UNLIMITED` where nothing limits it but the loads themselves."""
        return self._controller.rate

    @property
    def backoffs(self) -> int:
        """How often the controller has slowed down."""
        return self._controller.backoffs

    def batch_size(self) -> int:
        """Return how many keys to load next."""
        wanted = self._controller.rate * (SHORTEST_S + self._settings.delay_s)
        return max(1, min(self._settings.batch, math.floor(wanted + 1e-9)))

    def wait_s(self, now_s: float) -> float:
        """Return how many seconds to wait before the next load."""
        return max(0.0, self._next_s - now_s)

    def observe(self, now_s: float, seen: Observations) -> Verdict:
        """Tell the controller what was seen, without a load."""
        decision = self._controller.step(now_s, seen)
        self._next_s = max(self._next_s, decision.not_before_s)
        return decision.verdict

    def loaded(self, began_s: float, now_s: float, keys: int, seen: Observations) -> Verdict:
        """Take in a load of `keys` that began and ended then, and what has been seen meanwhile, the load included.

        Time spent loading counts towards the rate: a rate is what the database feels, pauses and all.
        """
        decision = self._controller.step(now_s, seen)
        spacing_s = keys / decision.rate
        self._next_s = max(began_s + spacing_s, now_s + self._settings.delay_s, decision.not_before_s)
        return decision.verdict
