"""Which entry each policy gives up, in words of its own definition."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import cachetools
import pytest

from raycache.config import POLICIES
from raycache.store import Entry, Store, make_policy
from raycache.store.policies import policy_names
from raycache.store.policies.lfu import MAX_COUNT


def store_of(policy: Any, max_entries: int = 3) -> Store:
    made = make_policy(policy, seed=1)
    return Store(capacity_bytes=1 << 30, max_entries=max_entries, policy=made, segments=4)


def put(store: Store, *keys: bytes, expires_ms: int | None = None) -> None:
    for key in keys:
        store.put(key, b"", 0, expires_ms, 0)


def get(store: Store, *keys: bytes) -> None:
    for key in keys:
        store.get(key, 0)


def order(store: Store) -> list[bytes]:
    return [entry.key for entry in store.policy.entries()]


def held(store: Store) -> set[bytes]:
    return set(store.scan(0, 100, 0)[1])


def test_names_are_those_of_the_configuration() -> None:
    assert sorted(policy_names()) == sorted(POLICIES)
    assert [make_policy(name).name for name in policy_names()] == list(policy_names())


@pytest.mark.parametrize("wrong", ["lruu", "", dict, 7, None])
def test_an_unknown_policy_is_refused_with_the_choices(wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"choose one of lru, .*noeviction, or pass a cachetools.Cache class"):
        make_policy(wrong)


def test_lru_gives_up_what_was_used_longest_ago() -> None:
    store = store_of("lru")
    put(store, b"a", b"b", b"c")
    get(store, b"a")
    put(store, b"b")
    assert order(store) == [b"c", b"a", b"b"]
    put(store, b"d")
    assert held(store) == {b"a", b"b", b"d"}


def test_a_peek_is_no_use() -> None:
    store = store_of("lru")
    put(store, b"a", b"b")
    store.peek(b"a", 0)
    assert order(store) == [b"a", b"b"]


def test_fifo_gives_up_the_oldest_value_however_often_it_is_read() -> None:
    store = store_of("fifo")
    put(store, b"a", b"b", b"c")
    get(store, b"a", b"a")
    put(store, b"b")  # a new value of an old key
    put(store, b"d")
    assert order(store) == [b"c", b"b", b"d"]


def test_plain_lfu_gives_up_the_lowest_count_and_the_longest_there_among_equals() -> None:
    store = store_of("plain-lfu", 4)
    put(store, b"a", b"b", b"c", b"d")
    get(store, b"b", b"a", b"a", b"d")
    assert order(store) == [b"c", b"b", b"d", b"a"]
    put(store, b"e")
    put(store, b"f")  # the newcomer e has the lowest count
    assert order(store) == [b"f", b"b", b"d", b"a"]


def test_plain_lfu_counts_and_forgets_with_the_entry() -> None:
    store = store_of("plain-lfu")
    put(store, b"a")
    get(store, *[b"a"] * 1000)
    assert store.peek(b"a", 0).count == 1001  # type: ignore[union-attr]
    store.delete(b"a", 0)
    put(store, b"a")
    assert store.peek(b"a", 0).count == 1  # type: ignore[union-attr]


def test_lfu_keeps_what_is_used_often() -> None:
    store = store_of("lfu")
    put(store, b"a", b"b", b"c")
    get(store, b"a", b"a", b"c")
    put(store, b"d")  # b had priority 1, so that is the age now: d enters at 2, behind c
    assert order(store) == [b"c", b"d", b"a"]


def test_lfu_lets_go_of_old_fame_and_plain_lfu_does_not() -> None:
    for policy, keeps in (("lfu", False), ("plain-lfu", True)):
        store = store_of(policy, 10)
        put(store, b"old")
        get(store, *[b"old"] * 20)
        for number in range(1000):  # a stream of keys, each used a few times and never again
            key = b"%d" % number
            put(store, key)
            get(store, key, key)
        assert (store.peek(b"old", 0) is not None) is keeps, policy


def test_lfu_gives_fame_its_full_weight_when_it_is_used_again() -> None:
    store = store_of("lfu", 2)
    put(store, b"a")
    get(store, *[b"a"] * 9)  # count 10
    for number in range(5):
        put(store, b"%d" % number)  # each takes the place of the one before and ages the cache by one
    get(store, b"a")  # count 11, on top of the age
    for number in range(5, 15):
        put(store, b"%d" % number)
    assert store.peek(b"a", 0) is not None


def test_lfu_counts_stop_where_the_circle_ends() -> None:
    store = store_of("lfu", 2)
    put(store, b"hot", b"cold")
    get(store, *[b"hot"] * 1000)
    assert store.peek(b"hot", 0).count == MAX_COUNT  # type: ignore[union-attr]
    for number in range(600):  # the age goes round the circle more than twice, and hot is used all the time
        put(store, b"%d" % number)
        get(store, b"hot")
    store.check_invariants()
    assert store.peek(b"hot", 0) is not None


def test_lfu_does_not_forget_the_rank_of_an_entry_that_was_spared() -> None:
    store = store_of("lfu")
    put(store, b"a", b"b")
    get(store, *[b"b"] * 5)
    assert store.policy.victim(store.peek(b"a", 0)).key == b"b"
    store.delete(b"b", 0)
    put(store, b"c")
    assert order(store) == [b"a", b"c"]


def test_ttl_gives_up_what_expires_soonest_and_then_the_oldest_of_the_rest() -> None:
    store = store_of("ttl", 5)
    put(store, b"forever1", b"forever2")
    put(store, b"late", expires_ms=300)
    put(store, b"soon", expires_ms=100)
    put(store, b"middle", expires_ms=200)
    get(store, b"soon", b"forever1")
    assert order(store) == [b"soon", b"middle", b"late", b"forever1", b"forever2"]
    for number in range(4):
        put(store, b"%d" % number)
    assert order(store) == [b"forever2", b"0", b"1", b"2", b"3"]


def test_ttl_follows_an_expiry_that_changes() -> None:
    store = store_of("ttl")
    for key, expires_ms in ((b"a", 100), (b"b", 200), (b"c", None)):
        put(store, key, expires_ms=expires_ms)
    a, c = store.peek(b"a", 0), store.peek(b"c", 0)
    assert a is not None
    assert c is not None
    store.set_expiry(a, 300)
    store.set_expiry(c, 250)
    assert order(store) == [b"b", b"c", b"a"]
    store.set_expiry(c, None)
    put(store, b"b", expires_ms=400)
    assert order(store) == [b"a", b"b", b"c"]


def test_ttl_never_keeps_the_dead_in_place_of_the_living() -> None:
    store = store_of("ttl", 50)
    rng = random.Random(3)
    for number in range(500):
        store.put(b"%d" % number, b"", 0, number + rng.choice((10, 10_000)), number)
    alive = [entry for entry in store.policy.entries() if entry.expires_ms > 499]
    assert len(alive) >= 40
    assert store.stats.evicted + store.stats.expired == 450


def test_ttl_heap_stays_ordered_under_any_change() -> None:
    rng = random.Random(11)
    store = store_of("ttl", 64)
    for _ in range(3000):
        key = b"%d" % rng.randrange(100)
        expires_ms = rng.choice((None, rng.randrange(1, 1000)))
        entry = store.peek(key, 0)
        choice = rng.randrange(4)
        if entry is None or choice == 0:
            store.put(key, b"", 0, expires_ms, 0)
        elif choice == 1:
            store.set_expiry(entry, expires_ms)
        elif choice == 2:
            store.delete(key, 0)
        if len(store):
            assert store.policy.victim() is next(store.policy.entries()) or same_expiry(store)
    store.check_invariants()


def same_expiry(store: Store) -> bool:
    return bool(store.policy.victim().expires_ms == next(store.policy.entries()).expires_ms)


def test_random_gives_up_each_entry_about_equally_often() -> None:
    policy = make_policy("random", seed=5)
    store = Store(capacity_bytes=1 << 30, policy=policy)
    put(store, *(b"%d" % number for number in range(10)))
    drawn = Counter(policy.victim().key for _ in range(10_000))
    assert len(drawn) == 10
    assert all(850 < count < 1150 for count in drawn.values())  # five standard deviations
    spared = next(iter(policy.entries()))
    assert spared.key not in {policy.victim(spared).key for _ in range(1000)}


def test_random_repeats_itself_with_a_seed() -> None:
    def survivors(seed: int) -> set[bytes]:
        store = Store(capacity_bytes=1 << 30, max_entries=20, policy=make_policy("random", seed=seed))
        put(store, *(b"%d" % number for number in range(500)))
        return held(store)

    assert survivors(1) == survivors(1) != survivors(2)


def test_a_cachetools_class_decides_as_it_does_by_itself() -> None:
    store = store_of(cachetools.LRUCache)
    put(store, b"a", b"b", b"c")
    get(store, b"a")
    put(store, b"d")
    assert held(store) == {b"a", b"c", b"d"}


def test_a_class_of_ones_own_may_decide() -> None:
    class Mru(cachetools.Cache[bytes, Entry]):
        def popitem(self) -> tuple[bytes, Entry]:
            key = list(self)[-1]
            return key, self.pop(key)

    store = store_of(Mru)
    put(store, b"a", b"b", b"c", b"d")
    assert held(store) == {b"a", b"b", b"d"}


@pytest.mark.parametrize("timed", [cachetools.TTLCache, cachetools.TLRUCache])
def test_a_cachetools_class_with_a_clock_of_its_own_is_refused(timed: Any) -> None:
    with pytest.raises(ValueError, match="keeps time itself"):
        make_policy(timed)


def test_a_cachetools_class_that_needs_more_than_a_size_is_refused() -> None:
    class Demanding(cachetools.LRUCache[bytes, Entry]):
        def __init__(self, maxsize: float, colour: str) -> None:
            super().__init__(maxsize)

    with pytest.raises(ValueError, match=r"Demanding cannot be made from a size alone .*colour"):
        make_policy(Demanding)
