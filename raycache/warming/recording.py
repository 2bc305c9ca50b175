"""Recording a sample of a cluster's reads to a file.

What lives here: asking every shard for what it has noted, again and again, and writing it down. What does not: the
sample itself (`raycache.shard.recording`), the format (`read_log`).
"""

from __future__ import annotations

import gzip
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TextIO, cast

from raycache.client.bulk import Recorded
from raycache.errors import RayCacheError, RetryableError
from raycache.warming.read_log import Access, InOrder, hashed, header, line_of

POLL_S: Final = 0.2
"""A shard keeps some 20,000 events, which lasts this long up to 100,000 sampled reads a second."""
LEASE_MS: Final = 5000
"""After so long without us a shard stops noting anything."""
_FULL: Final = 2000
"""A shard gives so many at once; fewer means that it has no more."""
_MOST_ROUNDS: Final = 50
SKEW_MS: Final = 50
"""By how much the shards' clocks may differ from ours without lines changing places."""


class Recordable(Protocol):
    """What is recorded: see `raycache.client.bulk.Bulk`."""

    @property
    def cluster(self) -> str: ...

    def shard_ids(self) -> list[str]: ...

    def record(self, shard_id: str, recorder: bytes, sample: float, lease_ms: int) -> Recorded | None: ...

    def stop_recording(self, shard_id: str, recorder: bytes) -> None: ...


@dataclass(slots=True)
class RecordReport:
    """What has been recorded so far."""

    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    """By operation: "r" hits, "m" misses, "w" writes, "d" deletes."""
    dropped: int = 0
    """Events that a shard could not keep until they were fetched."""
    gaps: int = 0
    """How often a shard could not be asked."""

    @property
    def reads(self) -> int:
        return self.counts["r"] + self.counts["m"]

    @property
    def hit_ratio(self) -> float:
        """Of the recorded reads."""
        return self.counts["r"] / self.reads if self.reads else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {"seconds": round(self.seconds, 3), "reads": self.reads, "hits": self.counts["r"],
                "misses": self.counts["m"], "writes": self.counts["w"], "deletes": self.counts["d"],
                "hit_ratio": self.hit_ratio, "dropped": self.dropped, "gaps": self.gaps}  # fmt: skip


def record(cluster: Recordable, out: Path, *, sample: float = 0.1, seconds: float = 60.0, hash_keys: bool = False,
           watcher: Callable[[RecordReport], None] | None = None,
           stop: threading.Event | None = None) -> RecordReport:  # fmt: skip
    """Record the reads of `sample` (0 to 1) of all keys for some seconds into the new file `out`.

    Args:
        hash_keys: write hashes instead of keys.
        watcher: called five times a second.
        stop: set it, from any thread, to end earlier.
    Raises:
        ValueError: `sample` or `seconds` is out of range.
        FileExistsError: `out` is there already.
        CommandError: somebody else is recording this cluster.
        RayCacheError: no shard can be reached.
    """
    if not 0 < sample <= 1:
        raise ValueError(f"sample must be above 0 and at most 1, not {sample}")
    if not seconds > 0:
        raise ValueError(f"seconds must be positive, not {seconds}")
    stop, recorder = stop or threading.Event(), secrets.token_hex(8).encode()
    report, began_s, start_ms = RecordReport(), time.monotonic(), time.time_ns() // 1_000_000
    order, asked = InOrder(start_ms), set[str]()
    try:
        _fetch(cluster, recorder, sample, order, report, asked)  # before there is a file: it may be refused
        with out.open("xb") as raw, cast(TextIO, gzip.open(raw, "wt", encoding="ascii")) as file:
            file.write(header(cluster.cluster, sample))
            while not stop.wait(min(POLL_S, max(0.0, seconds - (time.monotonic() - began_s)))):
                complete_ms = time.time_ns() // 1_000_000 - SKEW_MS
                _fetch(cluster, recorder, sample, order, report, asked)
                _write(file, order.until(complete_ms), report, hash_keys=hash_keys)
                report.seconds = time.monotonic() - began_s
                if watcher is not None:
                    watcher(report)
                if report.seconds >= seconds:
                    break
            _write(file, order.until(None), report, hash_keys=hash_keys)
    finally:
        for shard_id in asked:
            with suppress(RayCacheError):
                cluster.stop_recording(shard_id, recorder)
    report.seconds = time.monotonic() - began_s
    return report


def _fetch(cluster: Recordable, recorder: bytes, sample: float, order: InOrder, report: RecordReport,
           asked: set[str]) -> None:  # fmt: skip
    for shard_id in cluster.shard_ids():
        try:
            for found in _all_of(cluster, shard_id, recorder, sample):
                asked.add(shard_id)
                report.dropped += found.dropped
                order.add(found.events)
        except RetryableError:
            report.gaps += 1  # it may come back; the others go on


def _all_of(cluster: Recordable, shard_id: str, recorder: bytes, sample: float) -> Iterator[Recorded]:
    for _ in range(_MOST_ROUNDS):  # a shard that is read faster than we fetch is left for the others
        found = cluster.record(shard_id, recorder, sample, LEASE_MS)
        if found is None:
            return
        yield found
        if len(found.events) < _FULL:
            return


def _write(file: TextIO, ready: list[Access], report: RecordReport, *, hash_keys: bool) -> None:
    for access in ready:
        report.counts[access.op] += 1
        file.write(line_of(access._replace(key=hashed(access.key)) if hash_keys else access))
    file.flush()  # so that what is there can be read after a crash
