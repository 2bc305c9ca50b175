"""Recorded accesses, and the hits that independent implementations get on them.

What lives here: reading both, and replaying a trace into a store. What does not: what is asked about them. The traces
are not part of this repository; `README.md` beside them says what they are.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from raycache.store import Store, StoreFullError, make_policy

TRACES: Final = Path(__file__).resolve().parents[3] / "shared" / "traces"
UNLIMITED: Final = 1 << 60

Request = tuple[bytes, int]
"""Key and size; 1 where the trace has none."""


@dataclass(frozen=True, slots=True)
class Point:
    """One capacity at which a trace is replayed."""

    folder: Path
    file: str
    trace: str
    requests: int
    unit: str
    """"entries" or "bytes"."""
    capacity: int
    known: dict[str, Any]
    """As in reference.json."""

    @property
    def lru(self) -> int:
        """Hits of LRU."""
        return int(self.known["exact_hits"]["LRU"] if self.unit == "entries" else self.known["exact"]["LRU"]["hits"])

    @property
    def optimum(self) -> int:
        """Hits of Belady's offline optimum."""
        return int(self.known["OPT_hits"])

    @property
    def fraction(self) -> float:
        """The capacity, as a part of the trace's keys, or of their sizes."""
        return float(self.known["fraction_of_unique" if self.unit == "entries" else "fraction_of_bytes"])

    def exact(self, name: str) -> int | None:
        """Return the hits of a policy without freedom, None where the reference leaves it out."""
        if self.unit == "entries":
            return self.known["exact_hits"].get(name)  # type: ignore[no-any-return]
        return self.known["exact"].get(name, {}).get("hits")  # type: ignore[no-any-return]

    def __str__(self) -> str:
        return f"{self.trace} {self.capacity:,} {self.unit}"


@dataclass(frozen=True, slots=True)
class Reference:
    """All points of all traces."""

    points: tuple[Point, ...]

    @classmethod
    def load(cls, folder: Path) -> Reference:
        """Read reference.json.

        Raises:
            LookupError: there are no traces in `folder`.
        """
        path = folder / "reference.json"
        if not path.exists():
            raise LookupError(f"no traces in {folder}")
        traces = json.loads(path.read_text())["traces"]
        return cls(tuple(
            Point(folder, trace["file"], name, trace["requests"], unit, int(capacity), known)
            for name, trace in traces.items()
            for unit in ("entries", "bytes")
            for capacity, known in trace.get(unit, {}).items()
        ))  # fmt: skip

    def only(self, traces: Iterable[str]) -> Reference:
        """Return the points of some traces."""
        names = set(traces)
        return replace(self, points=tuple(point for point in self.points if point.trace in names))

    def of(self, unit: str) -> list[Point]:
        """Return the points whose capacity is in this unit."""
        return [point for point in self.points if point.unit == unit]


@cache
def requests_of(path: Path) -> list[Request]:
    """Return a trace, equal requests as one object. Kept: a process replays the same one again and again."""
    known: dict[str, Request] = {}
    with gzip.open(path, "rt") as lines:
        return [known.get(line) or known.setdefault(line, _request(line)) for line in lines]


def _request(line: str) -> Request:
    key, *size = line.split()
    return key.encode(), int(*size or [1])


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of replaying a trace."""

    hits: int
    serving: str
    changes: int = 0


def replay(point: Point, policy: str, per_s: int = 0) -> Replayed:
    """Look every key up, and put it where it was missed.

    Args:
        per_s: requests a second, with the store's steps every 10 ms; 0: no time passes, which is enough for policies
            that do not choose.
    """
    by_entries = point.unit == "entries"
    store = Store(
        capacity_bytes=UNLIMITED if by_entries else point.capacity, max_entries=point.capacity if by_entries else None,
        policy=make_policy(policy, seed=1), segments=64 if per_s else 1, weigh=None if by_entries else _size,
    )  # fmt: skip
    get, put = store.get, store.put
    every = max(per_s // 100, 1)
    now_ms = 0
    for number, (key, size) in enumerate(requests_of(point.folder / point.file), 1):
        if get(key, now_ms) is None:
            with suppress(StoreFullError):  # larger than the whole store
                put(key, b"" if by_entries else size, 0, None, now_ms)
        if per_s and number % every == 0:
            now_ms = number * 1000 // per_s
            while store.step(now_ms):
                pass
    chooser = store.watcher.chooser if store.watcher is not None else None
    return Replayed(store.stats.hits, store.policy.name, chooser.changes if chooser is not None else 0)


def _size(key: bytes, size: int) -> int:
    return size
