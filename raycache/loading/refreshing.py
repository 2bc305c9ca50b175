"""Loads in the background: one at a time for each key, and not again at once if it brought nothing.

What lives here: the generators, and what is remembered of refreshes that brought nothing. What does not: who decides
that a value is to be refreshed (`found.py`), running anything (the handles).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from raycache.loading.basics import Key, Source
from raycache.loading.options import LoadOptions
from raycache.loading.steps import LOOK_AGAIN, Flight, Spawn, Steps, TakeLeases

if TYPE_CHECKING:
    from raycache.loading.engine import Engine

log = logging.getLogger(__name__)

REFRESH_PAUSE_S: Final = 0.5
"""After a refresh in the background that failed, this process tries no other one of that key for so long."""
BUSY_PAUSE_S: Final = 0.02
"""The same, where somebody else was at it."""
_REMEMBERED: Final = 4096


class Pauses:
    """Which keys this process does not refresh for a moment."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._not_before_s: dict[bytes, float] = {}

    def is_over(self, key: bytes) -> bool:
        """Return whether `key` may be refreshed."""
        not_before_s = self._not_before_s.get(key)
        if not_before_s is None:
            return True
        if self._clock() < not_before_s:
            return False
        self._not_before_s.pop(key, None)
        return True

    def begin(self, key: bytes, seconds: float) -> None:
        """Let nobody refresh `key` for so long."""
        if len(self._not_before_s) >= _REMEMBERED:
            self._not_before_s.clear()
        self._not_before_s[key] = self._clock() + seconds


def refresh_soon(engine: Engine, name: Key, key: bytes, source: Source, options: LoadOptions,
                 mark: bytes) -> Steps[None]:
    """Have the key refreshed in the background, unless this process is at it, or has just tried.

    Args:
        mark: of the value that is to be replaced; if it has been by then, nothing is done.
    """
    if not engine.pauses.is_over(key):
        return
    flight, leads = engine.flights.join(key)
    if not leads:
        return
    flight.is_queued = True
    if not (yield Spawn(_refresh(engine, name, key, source, options, mark, flight))):
        engine.flights.finish(flight, LOOK_AGAIN)


def _refresh(engine: Engine, name: Key, key: bytes, source: Source, options: LoadOptions, mark: bytes,
             flight: Flight) -> Steps[None]:
    flight.is_queued = False
    if flight.is_dropped:
        return
    outcome = LOOK_AGAIN
    try:
        (answer,) = yield TakeLeases((key,), (mark,), options.lease_s)
        if isinstance(answer, int) and answer > 0:
            _, outcome = yield from engine.load(name, key, source, options, answer, flight)
        elif answer == 0:
            engine.pauses.begin(key, BUSY_PAUSE_S)
    except Exception as error:  # nobody waits for it; whoever reads next tries again
        log.warning("could not refresh %r: %s: %s", name, type(error).__name__, error)
        engine.pauses.begin(key, REFRESH_PAUSE_S)
    finally:
        engine.flights.finish(flight, outcome)
