"""One suite for every policy: what the store may rely on, whatever the order of eviction is."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from typing import Any

import cachetools
import pytest

from raycache.store import Entry, RemovalCause, Store, StoreFullError, make_policy


class SeededRandom(cachetools.RRCache[bytes, Entry]):
    """`cachetools.RRCache` draws from the process' own generator; a test must repeat itself."""

    def __init__(self, maxsize: float) -> None:
        super().__init__(maxsize, choice=random.Random(1).choice)


EVICTING: list[Any] = [
    "lru", "lfu", "plain-lfu", "fifo", "sieve", "s3-fifo", "arc", "w-tinylfu", "auto", "ttl", "random",
    cachetools.LRUCache, cachetools.LFUCache, cachetools.FIFOCache, SeededRandom,
]  # fmt: skip
ALL = [*EVICTING, "noeviction"]


def store_of(policy: Any, **settings: Any) -> Store:
    settings.setdefault("capacity_bytes", 1 << 20)
    return Store(policy=make_policy(policy, seed=1), **settings)


def by_length(key: bytes, value: bytes) -> int:
    return len(value)


@pytest.fixture(params=ALL, ids=str)
def any_policy(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=EVICTING, ids=str)
def policy(request: pytest.FixtureRequest) -> Any:
    return request.param


def churn(store: Store, steps: int, seed: int = 1) -> Iterator[int]:
    """Do `steps` random things to `store`, and yield the time after each."""
    rng = random.Random(seed)
    now = 0
    for _ in range(steps):
        now += rng.randrange(3)
        key = b"%d" % rng.randrange(60)
        choice = rng.randrange(10)
        expires_ms = rng.choice((None, None, now + rng.randrange(200)))
        if choice < 4:
            store.put(key, b"x" * rng.randrange(40), 0, expires_ms, now)
        elif choice < 7:
            store.get(key, now)
        elif choice == 7:
            store.delete(key, now)
        elif (entry := store.peek(key, now)) is not None:
            if choice == 8:
                store.set_expiry(entry, expires_ms)
            else:
                store.rewrite(entry, b"y" * rng.randrange(40), 0, now)
        if rng.randrange(20) == 0:
            store.step(now, budget=5)
        if rng.randrange(200) == 0:
            store.clear()
        yield now


def test_what_is_put_is_there(any_policy: Any) -> None:
    store = store_of(any_policy)
    for number in range(100):
        store.put(b"%d" % number, b"v%d" % number, number % 3, None, 0)
    for number in range(100):
        entry = store.get(b"%d" % number, 0)
        assert entry is not None
        assert (entry.value, entry.kind, entry.expires_ms) == (b"v%d" % number, number % 3, None)
    store.check_invariants()


def test_an_entry_limit_is_kept(policy: Any) -> None:
    store = store_of(policy, max_entries=10)
    for number in range(200):
        store.put(b"%d" % number, b"", 0, None, 0)
        assert store.get(b"%d" % number, 0) is not None  # the newcomer is never its own victim
        assert len(store) == min(number + 1, 10)
    assert store.stats.evicted == 190


def test_a_byte_limit_is_kept(policy: Any) -> None:
    store = store_of(policy, capacity_bytes=100, weigh=by_length)
    rng = random.Random(2)
    for number in range(300):
        store.put(b"%d" % rng.randrange(40), b"x" * rng.randrange(60), 0, None, number)
        assert store.used_bytes <= 100
    store.check_invariants()
    assert store.stats.evicted > 50


def test_the_honest_charge_is_kept_under_churn(policy: Any) -> None:
    store = store_of(policy, capacity_bytes=10_000, segments=8)
    for _ in churn(store, 3000):
        assert store.used_bytes <= store.capacity_bytes
    store.check_invariants()
    assert store.stats.evicted > 30
    assert store.stats.expired > 30


def test_tables_agree_after_every_kind_of_change(any_policy: Any) -> None:
    store = store_of(any_policy, capacity_bytes=200_000, segments=4)
    for number, _ in enumerate(churn(store, 1500, seed=4)):
        if number % 25 == 0:
            store.check_invariants()


def test_a_growing_value_displaces_others_and_never_itself(policy: Any) -> None:
    for growing in range(10):
        store = store_of(policy, capacity_bytes=100, weigh=by_length, segments=2)
        for number in range(10):
            store.put(b"%d" % number, b"x" * 10, 0, None, 0)
        entry = store.peek(b"%d" % growing, 0)
        assert entry is not None
        store.rewrite(entry, b"y" * 75, 0, 0)
        assert store.peek(entry.key, 0) is entry
        assert (entry.value, len(store), store.stats.evicted) == (b"y" * 75, 3, 7)
        store.put(entry.key, b"z" * 100, 0, None, 0)  # all the room there is
        assert (entry.value, len(store)) == (b"z" * 100, 1)
        store.check_invariants()


def test_the_spared_entry_may_be_the_only_one_at_its_rank(policy: Any) -> None:
    store = store_of(policy, capacity_bytes=20, weigh=by_length, segments=1)
    store.put(b"a", b"x" * 10, 0, 50, 0)  # ttl: alone in the heap, and the first to go
    store.put(b"b", b"x" * 10, 0, None, 0)
    for _ in range(3):
        store.get(b"b", 0)  # lfu: a is alone at the lowest count
    store.put(b"a", b"y" * 15, 0, 50, 0)
    assert store.peek(b"a", 0) is not None
    assert store.peek(b"b", 0) is None


def test_a_dead_victim_counts_as_expired_and_not_as_evicted(policy: Any) -> None:
    causes: list[RemovalCause] = []
    store = store_of(policy, max_entries=5, listener=lambda _, cause: causes.append(cause))
    for number in range(5):
        store.put(b"%d" % number, b"", 0, 10, 0)
    for number in range(5):
        store.put(b"new%d" % number, b"", 0, None, 10)
    dead = causes.count(RemovalCause.EXPIRED)
    assert (store.stats.expired, store.stats.evicted) == (dead, 5 - dead)
    assert dead >= 1  # the first victim can only be a dead one


def test_what_can_never_fit_is_refused_and_evicts_nothing(any_policy: Any) -> None:
    store = store_of(any_policy, capacity_bytes=100, weigh=by_length)
    for number in range(4):
        store.put(b"%d" % number, b"x" * 25, 0, None, 0)
    entry = store.peek(b"1", 0)
    assert entry is not None
    for write in (
        lambda: store.put(b"big", b"x" * 101, 0, None, 0),
        lambda: store.put(b"1", b"x" * 101, 0, None, 0),
        lambda: store.rewrite(entry, b"x" * 101, 0, 0),
    ):
        with pytest.raises(StoreFullError, match="needs 101 bytes") as caught:
            write()
        assert caught.value.never_fits
    assert (len(store), entry.value, store.stats.evicted, store.stats.rejected) == (4, b"x" * 25, 0, 3)
    store.check_invariants()


def test_clearing_starts_over(any_policy: Any) -> None:
    store = store_of(any_policy)
    for round_ in range(3):
        for number in range(50):
            store.put(b"%d" % number, b"", 0, 1000 if number % 2 else None, 0)
        store.check_invariants()
        assert (store.clear(), len(store), store.used_bytes) == (50, 0, 0)
        assert store.get(b"1", 0) is None
        assert store.stats.deleted == 50 * (round_ + 1)


def test_nothing_needs_the_cyclic_collector(any_policy: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        store = store_of(any_policy, capacity_bytes=100_000, max_entries=None, segments=2)
        for number in range(300):
            expires_ms = number + 200 if number % 3 else None
            if any_policy != "noeviction" or number < 50:
                store.put(b"%d" % number, b"x" * 500, 0, expires_ms, number)
            store.get(b"%d" % (number // 2), number)
            store.delete(b"%d" % (number // 3), number)
        store.step(10_000)
        store.clear()
        while store.step(10_000):
            pass
        if isinstance(any_policy, str):  # cachetools' own links are its own affair
            assert gc.collect() == 0
    finally:
        gc.enable()


def test_a_fresh_policy_is_empty_and_of_the_same_kind(any_policy: Any) -> None:
    policy = make_policy(any_policy)
    store = Store(capacity_bytes=1 << 20, policy=policy)
    store.put(b"a", b"", 0, None, 0)
    fresh = policy.fresh()
    assert type(fresh) is type(policy)
    assert list(fresh.entries()) == []
    assert issubclass(fresh.entry_type, Entry)
