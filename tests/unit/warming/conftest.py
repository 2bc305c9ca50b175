"""A cluster and a database in memory, and a clock that goes on only where somebody waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from raycache.client.bulk import RawEntry


class FakeTime:
    """A clock, and an event to wait on that moves it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._is_set = False
        self.waited: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def wait(self, timeout: float) -> bool:
        if not self._is_set:
            self.now_s += timeout
            self.waited.append(timeout)
        return self._is_set

    def set(self) -> None:
        self._is_set = True

    def is_set(self) -> bool:
        return self._is_set


class FakeCluster:
    """Entries in a dict, as `Bulk` shows them."""

    def __init__(self, *entries: RawEntry, ranked: Sequence[bytes] | None = None) -> None:
        self.held = {entry.key: entry for entry in entries}
        self.ranked = ranked
        self.leases: dict[bytes, int] = {}
        self.most_leases = 1 << 30
        self.failure: Exception | None = None

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def present(self, keys: Sequence[bytes]) -> list[bool]:
        self._check()
        return [key in self.held for key in keys]

    def take_leases(self, keys: Sequence[bytes], lease_s: float) -> list[int]:
        self._check()
        answers = []
        for key in keys:
            if key in self.held or key in self.leases:
                answers.append(0)
            elif len(self.leases) >= self.most_leases:
                answers.append(-1)
            else:
                self.leases[key] = len(self.leases) + 1000 * len(self.held) + 1
                answers.append(self.leases[key])
        return answers

    def fill(self, entries: Sequence[RawEntry], tokens: Sequence[int]) -> list[bool]:
        self._check()
        stored = []
        for entry, token in zip(entries, tokens, strict=True):
            stored.append(self.leases.get(entry.key) == token)
            if stored[-1]:
                self.write(entry)
        return stored

    def free(self, leases: Sequence[tuple[bytes, int]]) -> None:
        for key, token in leases:
            if self.leases.get(key) == token:
                del self.leases[key]

    def write(self, entry: RawEntry) -> None:
        """Write as anybody does, which ends the key's lease."""
        self.leases.pop(entry.key, None)
        self.held[entry.key] = entry

    def delete(self, key: bytes) -> None:
        """Delete as anybody does, which ends the key's lease."""
        self.leases.pop(key, None)
        self.held.pop(key, None)

    def peek(self, keys: Sequence[bytes]) -> list[RawEntry | None]:
        self._check()
        return [self.held.get(key) for key in keys]

    def hottest(self, count: int) -> list[bytes] | None:
        return None if self.ranked is None else list(self.ranked[:count])

    def every_key(self) -> Iterator[bytes]:
        return iter(list(self.held))


class FakeDatabase:
    """Rows in a dict; what was asked for is remembered."""

    def __init__(self, rows: Mapping[str, Any], time: FakeTime | None = None, takes_s: float = 0.0) -> None:
        self.rows = dict(rows)
        self.asked: list[list[str]] = []
        self.bad: set[str] = set()
        self._time = time
        self._takes_s = takes_s

    def load_many(self, keys: list[str]) -> dict[str, Any]:
        self.asked.append(keys)
        if self._time is not None:
            self._time.now_s += self._takes_s
        if self.bad & set(keys):
            raise OSError("connection lost")
        return {key: self.rows[key] for key in keys if key in self.rows}


@pytest.fixture
def fake_time() -> FakeTime:
    return FakeTime()
