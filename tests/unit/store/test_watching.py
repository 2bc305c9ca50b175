"""Watched segments: a sample of the look-ups is seen, the rest costs nothing, and answers are the same."""

from __future__ import annotations

import random
from typing import Any

import pytest

from raycache.store import Store, make_policy
from raycache.store.watching import FADE_EVERY_MS, SETTLE_MS, Watched


def watched_store(policy: str = "lru", **given: Any) -> Store:
    store = Store(policy=make_policy(policy), **{"capacity_bytes": 1 << 24, "segments": 64, **given})
    store.watch(8192)
    return store


def settle(store: Store, now_ms: int = 0) -> int:
    """Step until all that was looked up has been worked through; return the time then."""
    for _ in range(4):
        now_ms += SETTLE_MS
        while store.step(now_ms):
            pass
    return now_ms


def curve_of(store: Store) -> Any:
    assert store.watcher is not None
    return store.watcher.curve


def test_a_watched_store_answers_as_another() -> None:
    plain = Store(policy=make_policy("lru"), capacity_bytes=1 << 24, segments=64)
    store = watched_store()
    for one in (plain, store):
        for number in range(300):
            one.put(b"%d" % number, b"v", 0, None, 0)
    for number in range(0, 600, 7):
        a, b = plain.get(b"%d" % number, 0), store.get(b"%d" % number, 0)
        assert (a is None) == (b is None)
    assert store.stats == plain.stats
    store.check_invariants()


def test_looks_are_counted_and_writes_are_not() -> None:
    store = watched_store()
    for number in range(100):
        store.put(b"%d" % number, b"v", 0, None, 0)
    settle(store)
    assert len(curve_of(store)) == 0
    for number in range(50):
        store.get(b"%d" % number, 0)
        store.peek(b"%d" % (number + 50), 0)
    settle(store, 1000)
    assert (len(curve_of(store)), curve_of(store).lookups) == (50, 50)


def test_a_loop_over_more_than_fits_hits_only_with_more_memory() -> None:
    store = watched_store(max_entries=100)
    now = 0
    for _ in range(6):
        for number in range(150):
            if store.get(b"%d" % number, 0) is None:
                store.put(b"%d" % number, b"v", 0, None, 0)
        now = settle(store, now)
    half, now_ratio, double = curve_of(store).miss_ratios([50, 100, 200])
    assert (half, now_ratio) == (1.0, 1.0)
    assert abs(double - 1 / 6) < 0.02


def test_what_expires_or_is_deleted_misses_however_large_the_cache_is() -> None:
    store = watched_store()
    now = 0
    for round_ in range(10):
        for number in range(20):
            assert store.get(b"%d" % number, now) is None
            store.put(b"%d" % number, b"v", 0, None if round_ % 2 else now + 50, now)
        now = settle(store, now)
        if round_ % 2:
            for number in range(20):
                store.delete(b"%d" % number, now)
    assert curve_of(store).miss_ratios([1 << 30]) == [1.0]


def test_keys_that_nobody_stores_miss_however_large_the_cache_is() -> None:
    store = watched_store()
    now = 0
    for _ in range(5):
        for number in range(20):
            store.get(b"%d" % number, 0)
        now = settle(store, now)
    assert curve_of(store).miss_ratios([1 << 30]) == [1.0]


def test_a_large_store_has_few_watched_segments_and_they_become_fewer() -> None:
    store = Store(policy=make_policy("lru"), capacity_bytes=1 << 30, segments=1 << 14)
    store.watch(256)
    lookups = store.hot[-1]
    assert sum(type(one) is Watched for one in lookups) == 1024
    rng, now = random.Random(1), 0
    for _ in range(30):
        for _ in range(2000):
            key = b"%d" % rng.randrange(40_000)
            if store.get(key, 0) is None:
                store.put(key, b"v", 0, None, 0)
        now = settle(store, now)
    assert len(curve_of(store)) <= 256
    assert sum(type(one) is Watched for one in lookups) < 300
    assert all(one is store.hot[0][place] for place, one in enumerate(lookups) if type(one) is not Watched)


def test_clearing_is_a_new_beginning() -> None:
    store = watched_store()
    for _ in range(3):
        store.put(b"a", b"v", 0, None, 0)
        store.get(b"a", 0)
    store.clear()
    store.put(b"b", b"v", 0, None, 0)
    assert store.get(b"b", 0) is not None
    assert store.get(b"a", 0) is None
    settle(store)
    assert len(curve_of(store)) == 2


def test_under_load_the_sample_shrinks_and_comes_back_when_it_is_over() -> None:
    store = watched_store(segments=1024)
    for number in range(2000):
        store.put(b"%d" % number, b"v", 0, None, 0)
    rng, now, whole = random.Random(2), 0, curve_of(store).threshold
    for _ in range(60):
        now += SETTLE_MS
        for _ in range(3000):  # 30,000 a second
            store.get(b"%d" % rng.randrange(2000), now)
        while store.step(now):
            pass
    assert 0.03 < curve_of(store).rate < 0.13
    assert sum(type(one) is Watched for one in store.hot[-1]) < 0.13 * 1024
    for _ in range(6):  # minutes
        now += FADE_EVERY_MS
        settle(store, now)
    assert curve_of(store).threshold == whole
    assert all(type(one) is Watched for one in store.hot[-1])
    lookups = curve_of(store).lookups
    store.get(b"7", now)  # who knows whether it was looked up before
    settle(store, now + 1000)
    assert curve_of(store).lookups in (pytest.approx(lookups), pytest.approx(lookups + 1))
    assert curve_of(store).miss_ratios([1 << 30])[0] < 0.02


def test_a_hot_key_leaves_the_sample_and_then_counts_as_hits() -> None:
    store = watched_store()
    store.put(b"hot", b"v", 0, None, 0)
    now = 0
    for _ in range(60):
        now += SETTLE_MS
        for _ in range(6000):
            store.get(bytes(bytearray(b"hot")), now)  # as it comes off a socket: another object each time
        while store.step(now):
            pass
    assert not any(one is not store.hot[0][place] for place, one in enumerate(store.hot[-1])
                   if place == hash(b"hot") & 63)  # fmt: skip
    assert curve_of(store).miss_ratios([1 << 20])[0] < 0.001


def test_what_was_evicted_before_it_was_worked_through_still_counts() -> None:
    store = watched_store(max_entries=10)
    now = 0
    for _ in range(5):
        for number in range(40):
            if store.get(b"%d" % number, now) is None:
                store.put(b"%d" % number, b"v", 0, None, now)
        now = settle(store, now)
    assert curve_of(store).miss_ratios([30, 60]) == [1.0, pytest.approx(0.2, abs=0.05)]


def test_keys_that_no_cache_of_interest_would_hold_leave_the_sample() -> None:
    store = Store(policy=make_policy("lru"), capacity_bytes=1 << 24, segments=64, max_entries=10)
    store.watch(512)
    now = 0
    for number in range(6000):  # each once
        store.get(b"%d" % number, now)
        store.put(b"%d" % number, b"v", 0, None, now)
        if number % 100 == 0:
            now += SETTLE_MS
            while store.step(now):
                pass
    settle(store, now)
    assert len(curve_of(store)) <= 512
    before = curve_of(store).rate
    for number in range(6000, 8000):
        store.get(b"%d" % number, now)
        store.put(b"%d" % number, b"v", 0, None, now)
        if number % 100 == 0:
            now += FADE_EVERY_MS // 10
            while store.step(now):
                pass
    assert curve_of(store).rate >= before / 2  # it does not go on to shrink with every key that ever was
