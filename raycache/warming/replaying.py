"""Replaying recorded reads against a cluster: would it do well under this load?

What lives here: reading in the recorded order and at the recorded times, filling on a miss, counting. What does not:
the format (`read_log`). A miss is filled with zeros of the recorded size: only sizes matter to what is evicted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from raycache.client.bulk import RawEntry
from raycache.codec import RAW
from raycache.errors import RayCacheError
from raycache.warming.read_log import READS, Access

DEFAULT_BATCH: Final = 64
"""Reads that are due at the same time and sent together. Their misses are filled after all of them were read."""
GIVE_UP_AFTER: Final = 20
_NOTE_S: Final = 0.25
_POINT_S: Final = 1.0
_POINTS: Final = 120


class Replayable(Protocol):
    """Where reads are replayed: see `raycache.client.bulk.Bulk`."""

    def get_sizes(self, keys: Sequence[bytes]) -> list[int | None]: ...

    def add(self, entries: Sequence[RawEntry]) -> list[bool]: ...

    def put(self, key: bytes, data: bytes, left_ms: int) -> None: ...

    def delete(self, key: bytes) -> None: ...


@dataclass(slots=True)
class ReplayReport:
    """What a replay has come to so far."""

    seconds: float = 0.0
    hits: int = 0
    misses: int = 0
    recorded_hits: int = 0
    """How many of these reads were hits when they were recorded; of a trace nobody knows (then all of them)."""
    fills: int = 0
    writes: int = 0
    """Writes and deletes replayed."""
    failed: int = 0
    """Reads and writes that the cluster did not answer."""
    at_ms: int = 0
    """How far in the recording."""
    late_s: float = 0.0
    """How far behind the recorded times it has been, at most."""
    hit_ratio_over_time: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the start, hit ratio since the one before), some hundred at most."""
    end: str = "done"
    error: str = ""

    @property
    def reads(self) -> int:
        return self.hits + self.misses

    @property
    def hit_ratio(self) -> float:
        """Of the replayed reads."""
        return self.hits / self.reads if self.reads else 0.0

    @property
    def recorded_hit_ratio(self) -> float:
        """Of the same reads when they were recorded."""
        return self.recorded_hits / self.reads if self.reads else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        names = ("hits", "misses", "fills", "writes", "failed", "end", "error")
        return {"seconds": round(self.seconds, 3), "reads": self.reads, "hit_ratio": self.hit_ratio,
                "recorded_hit_ratio": self.recorded_hit_ratio, "late_s": round(self.late_s, 3),
                **{name: getattr(self, name) for name in names},
                "hit_ratio_over_time": [[round(at, 2), round(ratio, 4)] for at, ratio in self.hit_ratio_over_time],
                }  # fmt: skip


class Replayer:
    """Replays accesses against a cluster, at `speed` times the recorded speed.

    Args:
        cluster: where to. What it holds under the same keys is overwritten.
        accesses: in their order.
        speed: 1.0 as it was; None: as fast as it goes.
        batch: reads to send together, at most; 1 gives every read what those before it have left, exactly.
        watcher: called some times a second.
        stop: set it, from any thread, to end earlier.
        clock: monotonic seconds.
    Raises:
        ValueError: `speed` or `batch` is not positive.
    """

    def __init__(self, cluster: Replayable, accesses: Iterable[Access], *, speed: float | None = 1.0,
                 batch: int = DEFAULT_BATCH, watcher: Callable[[ReplayReport], None] | None = None,
                 stop: threading.Event | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        if (speed is not None and not speed > 0) or batch < 1:
            raise ValueError("speed and batch must be positive")
        self._cluster = cluster
        self._accesses = accesses
        self._speed = speed
        self._batch = batch
        self._watcher = watcher
        self._stop = stop or threading.Event()
        self._clock = clock
        self._waiting: dict[bytes, Access] = {}  # reads to send together, each key once
        self._failures = 0
        self._began_s = self._noted_s = self._point_s = 0.0
        self._before = (0, 0)
        self.report = ReplayReport()

    def run(self) -> ReplayReport:
        """Do it; return what it came to. Once for each object."""
        self._began_s = self._noted_s = self._point_s = self._clock()
        report = self.report
        try:
            for access in self._accesses:
                if self._stop.is_set():
                    report.end = "stopped"
                    break
                if self._failures >= GIVE_UP_AFTER:
                    report.end = "gave up"
                    break
                self._wait_for(access)
                self._replay(access)
            self._flush()
        except KeyboardInterrupt:
            report.end = "stopped"
            raise
        finally:
            self._note(is_last=True)
        return report

    def _wait_for(self, access: Access) -> None:
        self.report.at_ms = access.at_ms
        if self._speed is None:
            return
        due_s = self._began_s + access.at_ms / 1000 / self._speed
        if self._clock() < due_s:
            self._flush()
        while (early_s := due_s - self._clock()) > 0 and not self._stop.wait(min(early_s, _NOTE_S)):
            self._note()
        self.report.late_s = max(self.report.late_s, self._clock() - due_s)

    def _replay(self, access: Access) -> None:
        if access.op in READS:
            if access.key in self._waiting or len(self._waiting) >= self._batch:
                self._flush()
            self._waiting[access.key] = access
            return
        self._flush()
        if access.op == "w":
            self._try(1, lambda: self._cluster.put(access.key, bytes(access.size), access.left_ms))
        else:
            self._try(1, lambda: self._cluster.delete(access.key))
        self.report.writes += 1

    def _flush(self) -> None:
        """Send the reads that wait, and fill what was missing.

        A read that was a miss when it was recorded is not filled: what its reader stored then is in the recording.
        """
        if not self._waiting:
            return
        reads, self._waiting = list(self._waiting.values()), {}
        self._try(len(reads), lambda: self._read(reads))
        self._note()

    def _read(self, reads: list[Access]) -> None:
        report = self.report
        sizes = self._cluster.get_sizes([access.key for access in reads])
        missing = [access for access, size in zip(reads, sizes, strict=True) if size is None]
        report.hits += len(reads) - len(missing)
        report.misses += len(missing)
        report.recorded_hits += sum(access.op == "r" for access in reads)
        fills = [RawEntry(each.key, RAW, bytes(each.size), each.left_ms) for each in missing if each.op == "r"]
        if fills:
            self._try(0, lambda: self._cluster.add(fills))
            report.fills += len(fills)

    def _try(self, count: int, work: Callable[[], object]) -> None:
        try:
            work()
        except RayCacheError as error:
            self.report.failed += count
            self.report.error = str(error)
            self._failures += 1
        else:
            self._failures = 0

    def _note(self, *, is_last: bool = False) -> None:
        now_s, report = self._clock(), self.report
        report.seconds = now_s - self._began_s
        if (is_last or now_s - self._point_s >= max(_POINT_S, report.seconds / _POINTS)) and (
            reads := report.reads - sum(self._before)
        ):
            report.hit_ratio_over_time.append((report.seconds, (report.hits - self._before[0]) / reads))
            self._before, self._point_s = (report.hits, report.misses), now_s
        if self._watcher is not None and (is_last or now_s - self._noted_s >= _NOTE_S):
            self._noted_s = now_s
            self._watcher(report)
