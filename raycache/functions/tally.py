"""What one function has counted in this process: exact, and which part of it the cluster has been told.

What lives here: the observer of a function's loads, and the ledger of a handle, which collects what is new. What does
not: sending it (`raycache.client.reporting`). Any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from raycache.usage.functions import MAX_FUNCTIONS
from raycache.usage.rows import FunctionUse

MOST_NEWS: Final = MAX_FUNCTIONS
"""Functions in one message; those beyond are told with the next."""


class Ledger:
    """The tallies that have news, of one handle.

    Args:
        wake: called when there is news, once until `news` is asked for; from any thread.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._waiting: dict[Tally, None] = {}

    def note(self, tally: Tally) -> None:
        """Remember that `tally` has news."""
        with self._lock:
            is_first = not self._waiting
            self._waiting[tally] = None
        if is_first:
            self._wake()

    def news(self) -> dict[str, FunctionUse]:
        """Return what is new, by function. It is not returned again."""
        with self._lock:
            tallies = list(self._waiting)[:MOST_NEWS]
            for tally in tallies:
                del self._waiting[tally]
            is_more = bool(self._waiting)
        if is_more:
            self._wake()
        found: dict[str, FunctionUse] = {}
        for tally in tallies:
            found.setdefault(tally.name, FunctionUse()).add(tally.take())
        return found

    def forget(self) -> None:
        """Drop what is new, in a forked child: its parent tells it."""
        self._lock = threading.Lock()
        for tally in self._waiting:
            tally.forget()
        self._waiting = {}


class Tally:
    """Counts one function's calls; a `raycache.loading.LoadObserver`.

    Args:
        name: of the function.
        ledger: returns the handle's; asked when there is news.
    """

    __slots__ = ("_has_news", "_ledger", "_lock", "_told", "_use", "name")

    def __init__(self, name: str, ledger: Callable[[], Ledger | None]) -> None:
        self.name = name
        self._ledger = ledger
        self._lock = threading.Lock()
        self._use = FunctionUse()
        self._told = FunctionUse()
        self._has_news = False

    def use(self) -> FunctionUse:
        """Return the counters as they are now."""
        with self._lock:
            return replace(self._use)

    def take(self) -> FunctionUse:
        """Return what was counted since this was last called."""
        with self._lock:
            news, self._told, self._has_news = self._use.since(self._told), replace(self._use), False
        return news

    def forget(self) -> None:
        """Take everything for told, in a forked child."""
        self._lock = threading.Lock()
        self._told, self._has_news = replace(self._use), False

    def hit(self, key: str | bytes) -> None:
        with self._lock:
            self._use.hits += 1
        if not self._has_news:
            self._note()

    def loaded(self, key: str | bytes, seconds: float) -> None:
        with self._lock:
            self._use.loads += 1
            self._use.load_s += seconds
        self._note()

    def stale(self, key: str | bytes) -> None:
        with self._lock:
            self._use.stale += 1
        self._note()

    def waited(self, key: str | bytes, seconds: float) -> None:
        with self._lock:
            self._use.waits += 1
            self._use.wait_s += seconds
        self._note()

    def failed(self, key: str | bytes, error: BaseException) -> None:
        with self._lock:
            self._use.failures += 1
        self._note()

    def cache_failed(self) -> None:
        """Count a call for which the cache could not be asked."""
        with self._lock:
            self._use.cache_errors += 1
        self._note()

    def _note(self) -> None:
        with self._lock:
            if self._has_news:
                return
            self._has_news = True
        ledger = self._ledger()
        if ledger is not None:
            ledger.note(self)
        else:  # there is no handle yet: the next call tries again
            self._has_news = False
