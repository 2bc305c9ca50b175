"""Many small dicts in place of one large one.

What lives here: how many, walking them in steps, drawing from them. What does not: what is in
them. CPython rebuilds a dict as it grows: one of a million entries stops the loop for tens of
milliseconds, one of a few hundred for microseconds. A key never changes its segment, which makes
SCAN's promise easy: the cursor is the number of the next segment.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from raycache.store.entry import Entry

Segment = dict[bytes, Entry]

# About 64 KiB of capacity each: some 200 entries of 100 bytes, rebuilt in about 10 us. The upper
# bound keeps `clear`, which makes that many empty dicts, within some 10 ms on a 16 GiB shard.
SEGMENT_BYTES: Final = 64 * 1024
MIN_SEGMENTS: Final = 64
MAX_SEGMENTS: Final = 1 << 18

# One SCAN call looks at no more than this, whatever COUNT says: about half a millisecond.
MAX_SCAN_ENTRIES: Final = 4096
MAX_SCAN_SEGMENTS: Final = 4096
# A draw from a store that is at least 1 % full succeeds within this many segments nine times in ten.
_DRAWS: Final = 256


def segment_count(capacity_bytes: int) -> int:
    """Return how many segments a store of this capacity has, a power of two."""
    wanted = max(capacity_bytes // SEGMENT_BYTES, 1)
    return min(max(1 << (wanted - 1).bit_length(), MIN_SEGMENTS), MAX_SEGMENTS)


def new_segments(count: int) -> list[Segment]:
    """Return `count` empty segments."""
    return [{} for _ in range(count)]


def scan(segments: Sequence[Segment], cursor: int, count: int, now_ms: int) -> tuple[int, list[bytes]]:
    """Return the next cursor (0: done) and the live keys of the next segments.

    Whole segments are returned until `count` keys were looked at, so a key that stays is returned
    exactly once, and one that comes or goes meanwhile at most once.
    """
    keys: list[bytes] = []
    total = len(segments)
    if not 0 <= cursor < total:
        return 0, keys
    wanted = min(max(count, 1), MAX_SCAN_ENTRIES)
    looked_at = 0
    stop = min(total, cursor + MAX_SCAN_SEGMENTS)
    while cursor < stop and looked_at < wanted:
        segment = segments[cursor]
        cursor += 1
        if segment:
            looked_at += len(segment)
            keys += live_keys(segment, now_ms)
    return (0 if cursor == total else cursor), keys


def live_keys(segment: Segment, now_ms: int) -> list[bytes]:
    """Return the keys of `segment` that have not expired."""
    return [key for key, entry in segment.items() if (timer := entry.timer) is None or timer > now_ms]


def draw(segments: Sequence[Segment], rng: random.Random) -> Entry | None:
    """Return some entry, expired or not, or None if there is none.

    A segment is drawn, then an entry in it, so entries of fuller segments come up a little less
    often than others. Cost: O(entries of a segment); O(segments) where nearly all are empty.
    """
    for _ in range(_DRAWS):
        segment = segments[int(rng.random() * len(segments))]
        if segment:
            return _nth(segment, int(rng.random() * len(segment)))
    start = int(rng.random() * len(segments))
    for part in (_filled(segments, start, len(segments)), _filled(segments, 0, start)):
        for segment in part:
            return _nth(segment, int(rng.random() * len(segment)))
    return None


def _filled(segments: Sequence[Segment], start: int, stop: int) -> Iterator[Segment]:
    return filter(None, islice(segments, start, stop))  # in C: an empty store of 2**18 segments takes 2 ms


def _nth(segment: Segment, index: int) -> Entry:
    return next(islice(segment.values(), index, None))
