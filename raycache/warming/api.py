"""Warming from Python: hot keys out of logs, loading them, copying them from another cluster.

What lives here: the three functions that `raycache` exports, which put the parts together. What does not: the parts.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Protocol

from raycache.client.arguments import encode_key
from raycache.client.bulk import Bulk
from raycache.client.sync import Cache
from raycache.warming.files import ProgressFile, lines_of
from raycache.warming.filling import CopyFiller, HasLoadMany, LoadFiller, LoadMany
from raycache.warming.logs import KeyLog, LineReader, json_field, whole_lines
from raycache.warming.logs import pattern as pattern_reader
from raycache.warming.pace import WarmSettings
from raycache.warming.probing import Probe
from raycache.warming.report import WarmReport
from raycache.warming.running import Warmer, Watcher
from raycache.warming.topk import DEFAULT_COUNTERS, Counted, TopKeys


@dataclass(frozen=True, slots=True)
class HotKeys:
    """The most frequent keys of some logs."""

    keys: tuple[Counted, ...]
    """The most frequent first; among equals in the order of their bytes."""
    lines: int
    """Lines read."""
    without_key: int
    """Lines in which no key was found."""
    error_bound: int
    """By how much a count may be too high, at most; 0: all counts are exact."""


def hot_keys(paths: Iterable[str | Path], *, top: int | None = 10_000, field: str | None = None,
             pattern: str | None = None, template: str = "{}",
             counters: int = DEFAULT_COUNTERS) -> HotKeys:  # fmt: skip
    r"""Return the most frequent keys of access logs, in bounded memory.

    Args:
        paths: text files, gzip or plain. One key a line, unless `field` or `pattern` is given.
        top: how many keys; None: all that were counted.
        field: the lines are JSON, and the key is this field: "key", or "request.user.id".
        pattern: the key is what the first group of this regular expression matches: r'"GET /users/(\d+)'.
        template: what becomes of it: "user:{}".
        counters: how many keys are counted at the same time. As long as there are no more, counts are exact; from
            then on they may be too high by the number of lines over this number.
    Raises:
        ValueError: `field` and `pattern` are both given, or one of the arguments makes no sense.
        OSError: a file cannot be read.
    """
    if field is not None and pattern is not None:
        raise ValueError("a log has either JSON fields or a pattern, not both")
    if top is not None and top < 1:
        raise ValueError(f"top must be at least 1, not {top}")
    reader: LineReader = whole_lines()
    if field is not None:
        reader = json_field(field)
    elif pattern is not None:
        reader = pattern_reader(pattern)
    log, counted = KeyLog(reader, template), TopKeys(max(counters, top or 1))
    counted.add_all(log.keys(lines_of(map(Path, paths))))
    return HotKeys(tuple(counted.top(top)), log.lines, log.without_key, counted.error_bound)


def warm(cache: Cache, keys: Iterable[str | bytes], load: LoadMany | HasLoadMany, *,
         settings: WarmSettings | None = None, probe: Probe | None = None, progress: str | Path | None = None,
         watcher: Watcher | None = None, stop: threading.Event | None = None) -> WarmReport:  # fmt: skip
    """Load `keys` into a cluster, the first ones first, without overwriting anything; return what was done.

    Blocks until it is done; takes this thread, and one more for the probe. An asyncio program runs it with
    `asyncio.to_thread`.

    Args:
        cache: a handle on the cluster.
        keys: the hottest first, as `hot_keys` gives them.
        load: `load(keys) -> mapping` of those that have a value, or an object with such a `load_many`, as a backing
            store is. Keys that the cluster has are not asked for.
        settings: how gently; by default a hundred keys at a time, a tenth of a second between, and slower on errors.
        probe: a callable that does what other clients of the database do; how long it takes is held to
            `max_latency_ms`, beside the loads themselves.
        progress: a small file that remembers how far it is. With the same keys the next run goes on from there.
        watcher: called after each batch with the report so far and the rate aimed at.
        stop: set it, from any thread, to end after the batch under way.
    Raises:
        ValueError, OSError: the progress file is none, or cannot be read or written.
        TypeError: `load` cannot be called.
    """
    settings = settings or WarmSettings()
    filler = LoadFiller(Bulk(cache), load, ttl_s=settings.ttl_s, jitter=settings.jitter, clock=time.monotonic,
                        rng=random.Random())
    return Warmer(filler, list(dict.fromkeys(map(encode_key, keys))), settings, probe=probe,
                  progress=ProgressFile(Path(progress)) if progress is not None else None, cluster=cache.cluster,
                  watcher=watcher, stop=stop).run()


def warm_from(cache: Cache, source: Cache, *, top: int | None = None, settings: WarmSettings | None = None,
              probe: Probe | None = None, progress: str | Path | None = None, watcher: Watcher | None = None,
              stop: threading.Event | None = None) -> WarmReport:  # fmt: skip
    """Copy entries from another cluster as they are, with the lifetimes they have left; return what was done.

    The hottest first where the source's policy keeps an order of use (lru, lfu, plain-lfu), else in no order. Nothing
    that is there is overwritten, and copying is no use of an entry at the source.

    Args:
        cache: where to.
        source: where from.
        top: how many entries; None: all.
        settings: how gently; `ttl_s` and `jitter` mean nothing here.
        progress: remembers how far it is, for as long as the source's order stays the same. After that a run passes
            over what it has copied, at full speed.
        probe, watcher, stop: as for `warm`.
    Raises:
        RayCacheError: the source does not answer when asked for its keys.
        ValueError, OSError: the progress file is none, or cannot be read or written.
    """
    settings = settings or WarmSettings()
    origin = Bulk(source)
    filler = CopyFiller(Bulk(cache), origin, clock=time.monotonic)
    return Warmer(filler, source_keys(origin, top), settings, probe=probe,
                  progress=ProgressFile(Path(progress)) if progress is not None else None, cluster=cache.cluster,
                  watcher=watcher, stop=stop).run()


ALL: Final = 1 << 40


class Listing(Protocol):
    """What tells which keys a cluster has: see `raycache.client.bulk.Bulk`."""

    def hottest(self, count: int) -> list[bytes] | None: ...

    def every_key(self) -> Iterator[bytes]: ...


def source_keys(source: Listing, top: int | None) -> Sequence[bytes]:
    """Return the keys of a cluster to copy, the hottest first as far as its policy tells, then the others."""
    found = dict.fromkeys(source.hottest(top or ALL) or ())

    def others() -> Iterator[bytes]:
        seen = set(found)
        for key in source.every_key():
            if key not in seen:
                seen.add(key)
                yield key

    if top is None or len(found) < top:
        found.update(dict.fromkeys(islice(others(), None if top is None else top - len(found))))
    return list(found)
