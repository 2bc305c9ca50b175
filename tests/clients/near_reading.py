"""Reading through near caches in tests: bringing values near, and judging what is read by docs/near.md."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from raycache.client import Cache
from raycache.near import NearTable
from tests.support import wait_until

PATIENT_S = 30.0
"""A sign of life is never late for this."""


def table_of(cache: Any) -> NearTable:
    """Return a handle's table, which can be looked at although shards do not answer."""
    handle: Any = cache if isinstance(cache, Cache) else cache._cache
    table: NearTable = handle._near.table
    return table


def is_near(cache: Any, key: Any) -> bool:
    """Return whether a read of `key` is answered from the process."""
    before = table_of(cache).hits
    cache.get(key)
    return table_of(cache).hits > before


def bring_near(cache: Any, *keys: Any) -> None:
    """Read `keys` until they are answered from the process: first the links must be up."""
    for key in keys:
        wait_until(lambda key=key: is_near(cache, key), message=f"{key} does not come near")


class Register:
    """A writer of growing numbers, and a reader that judges what is served near by the promise.

    Such a read that begins at t returns nothing older than what was acknowledged, or read, before t - max_staleness_s.
    (What a copy answers in the place of a silent primary may be older; that is another promise.)
    """

    def __init__(self, writer: Any, reader: Any, max_staleness_s: float, keys: list[str]) -> None:
        self._reader = reader
        self._max_staleness_s = max_staleness_s
        self._keys = keys
        self._writer = writer
        self._known: dict[str, deque[tuple[float, int]]] = {key: deque() for key in keys}
        """From when on a number counts: acknowledged, or read."""
        self._must = dict.fromkeys(keys, 0)
        self.writes = 0
        self._over = threading.Event()
        self.reads = 0
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._guarded, args=(work,)) for work in (self._write, self._read)]

    def __enter__(self) -> Register:
        for key in self._keys:
            self._writer.set(key, 0)
        bring_near(self._reader, *self._keys)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENT_S)

    def wait_for_more(self, count: int = 40) -> None:
        """Wait for so many more writes, and reads."""
        writes, reads = self.writes + count, self.reads + count
        wait_until(lambda: self.failures or (self.writes >= writes and self.reads >= reads), PATIENT_S)
        assert not self.failures, self.failures[0]

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self.failures.append(repr(error))

    def _write(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            key = self._keys[number % len(self._keys)]
            self._writer.set(key, number)
            self._known[key].append((time.monotonic(), number))
            self.writes += 1
            self._over.wait(0.002)

    def _read(self) -> None:
        table = table_of(self._reader)
        while not self._over.is_set():
            for key in self._keys:
                before_s = time.monotonic() - self._max_staleness_s
                hits = table.hits
                value = self._reader.get(key)
                self.reads += 1
                known, must = self._known[key], self._must[key]
                while known and known[0][0] <= before_s:
                    must = max(must, known.popleft()[1])
                self._must[key] = must
                if table.hits > hits and value < must:
                    self.failures.append(f"{key} was {value} although {must} had been known in time")
                elif value is not None and (not known or value > known[-1][1]):
                    known.append((time.monotonic(), value))
            self._over.wait(0.001)  # the shards run in this process, too
