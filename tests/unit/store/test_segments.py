"""Segments: how many, SCAN's promise, drawing an entry."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from raycache.store import Store, make_policy
from raycache.store.segments import MAX_SCAN_ENTRIES, MAX_SEGMENTS, MIN_SEGMENTS, segment_count

KIB, MIB, GIB = 1024, 1024**2, 1024**3


def store_with(entries: int, segments: int = 16) -> Store:
    store = Store(capacity_bytes=GIB, policy=make_policy("lru"), segments=segments)
    for number in range(entries):
        store.put(b"%d" % number, b"", 0, None, 0)
    return store


def scan_all(store: Store, count: int) -> list[bytes]:
    cursor, found = store.scan(0, count, 0)
    while cursor:
        cursor, keys = store.scan(cursor, count, 0)
        found += keys
    return found


@pytest.mark.parametrize(("capacity_bytes", "expected"), [
    (1, MIN_SEGMENTS), (MIB, MIN_SEGMENTS), (64 * KIB * 65, 128), (256 * MIB, 4096), (GIB, 16_384),
    (10_000 * GIB, MAX_SEGMENTS),
])  # fmt: skip
def test_a_segment_holds_about_64_kib(capacity_bytes: int, expected: int) -> None:
    assert segment_count(capacity_bytes) == expected


@pytest.mark.parametrize("count", [1, 7, 10, 1000, 10**9])
@pytest.mark.parametrize("segments", [1, 16, 8192])
def test_a_scan_returns_every_key_once(segments: int, count: int) -> None:
    found = scan_all(store_with(500, segments), count)
    assert sorted(found) == sorted(b"%d" % number for number in range(500))


def test_a_key_that_stays_is_returned_whatever_else_comes_and_goes() -> None:
    rng = random.Random(3)
    store = store_with(300)
    staying = {b"%d" % number for number in range(100)}
    found: list[bytes] = []
    cursor = None
    while cursor != 0:
        cursor, keys = store.scan(cursor or 0, 10, 0)
        found += keys
        for _ in range(50):
            store.delete(b"%d" % rng.randrange(100, 300), 0)
            store.put(b"new%d" % rng.randrange(10_000), b"", 0, None, 0)
    assert staying <= set(found)
    assert max(Counter(key for key in found if key in staying).values()) == 1


def test_one_call_looks_at_a_bounded_number_of_entries() -> None:
    store = store_with(20_000, segments=256)
    cursor, keys = store.scan(0, 10**9, 0)
    assert cursor
    assert len(keys) < MAX_SCAN_ENTRIES + 200
    cursor, keys = store.scan(0, 10, 0)
    assert cursor
    assert 10 <= len(keys) < 200


def test_an_empty_store_of_many_segments_is_scanned_in_bounded_calls() -> None:
    cursor, keys = store_with(0, segments=1 << 14).scan(0, 10, 0)
    assert cursor
    assert keys == []


@pytest.mark.parametrize("cursor", [-1, 16, 10**20])
def test_a_cursor_from_elsewhere_ends_the_scan(cursor: int) -> None:
    assert store_with(50).scan(cursor, 10, 0) == (0, [])


def test_a_scan_passes_over_the_dead_without_removing_them() -> None:
    store = store_with(10)
    store.put(b"dead", b"", 0, 5, 0)
    assert b"dead" not in store.scan(0, 100, 5)[1]
    assert len(store) == 11


def test_a_draw_takes_any_segment_and_then_any_entry_of_it() -> None:
    store, draws, rng = store_with(100), 20_000, random.Random(1)
    drawn = Counter(entry.key for _ in range(draws) if (entry := store.random_entry(rng, 0)))
    filled = [segment for segment in store._segments if segment]  # which key is where changes with the hash seed
    for segment in filled:
        expected = draws / len(filled) / len(segment)
        assert all(abs(drawn[key] - expected) < 6 * expected**0.5 for key in segment)


@pytest.mark.parametrize("segments", [1, 64, 1 << 15])
def test_a_draw_finds_the_only_entry(segments: int) -> None:
    store = store_with(1, segments)
    rng = random.Random(1)
    for _ in range(5):
        entry = store.random_entry(rng, 0)
        assert entry is not None
        assert entry.key == b"0"


def test_a_draw_never_returns_the_dead_and_removes_those_it_meets() -> None:
    store = store_with(3)
    for number in range(50):
        store.put(b"dead%d" % number, b"", 0, 5, 0)
    rng = random.Random(1)
    for _ in range(200):
        entry = store.random_entry(rng, 5)
        assert entry is None or entry.expires_ms is None
    assert len(store) < 20
    only_dead = store_with(0)
    only_dead.put(b"dead", b"", 0, 5, 0)
    assert only_dead.random_entry(random.Random(1), 5) is None
