"""Idle times under LRU: right within what the dividers are apart, whatever happens to the entries."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from raycache.store import Store, make_policy
from raycache.store.policies.ages import COARSER_BY, EVERY_MS, STEP, Divider

KEYS = [b"k%d" % number for number in range(8)]


def store_of(max_entries: int = 6) -> Store:
    return Store(capacity_bytes=1 << 30, max_entries=max_entries, policy=make_policy("lru"), segments=4)


def idle_ms(store: Store, key: bytes, now_ms: int) -> int:
    entry: Any = store.peek(key, now_ms)
    return result_of(store.policy.idle(entry, now_ms))


def result_of(search: Any) -> int:
    while True:
        try:
            next(search)
        except StopIteration as stop:
            found: int = stop.value
            return found


def dividers(store: Store) -> list[Any]:
    policy: Any = store.policy
    return [entry for entry in policy._chain if isinstance(entry, Divider)]


uses = st.lists(st.tuples(st.sampled_from(["get", "put", "delete", "pass", "pass"]), st.sampled_from(KEYS),
                          st.sampled_from([0, 40, 100, 250, 1000, 60_000])), max_size=120)


@settings(max_examples=150, deadline=None)
@given(uses)
def test_it_is_never_too_long_and_hardly_too_short(steps: list[tuple[str, bytes, int]]) -> None:
    store, now_ms, used_ms = store_of(), 1_000_000, dict[bytes, int]()
    store.step(now_ms)
    for what, key, passed_ms in steps:
        if what == "put" or (what == "get" and store.get(key, now_ms) is not None):
            used_ms[key] = now_ms
        if what == "put":
            store.put(key, b"", 0, None, now_ms)
        elif what == "delete":
            store.delete(key, now_ms)
        elif what == "pass":
            for _ in range(passed_ms // EVERY_MS if passed_ms < 60_000 else 1):
                now_ms += EVERY_MS if passed_ms < 60_000 else passed_ms
                store.step(now_ms)
        store.check_invariants()
        for held in KEYS:
            if store.peek(held, now_ms) is not None:
                idle, true = idle_ms(store, held, now_ms), now_ms - used_ms[held]
                late = 60_000 if any(one[2] == 60_000 for one in steps) else EVERY_MS
                assert true - late - true // COARSER_BY - 1 <= idle <= true


def test_a_day_of_use_leaves_few_dividers() -> None:
    store = store_of(max_entries=1000)
    for number in range(1000):
        store.put(b"%d" % number, b"", 0, None, 0)
    for tick in range(1, 30_000):  # 50 minutes, each entry used anew after 2 to 100 s
        store.get(b"%d" % (tick % 20 if tick % 2 else tick * 7 % 997), tick * EVERY_MS)
        store.step(tick * EVERY_MS)
    assert len(dividers(store)) < 700
    store.check_invariants()


def test_nobody_used_needs_no_divider() -> None:
    store = store_of()
    for tick in range(100):
        store.step(tick * EVERY_MS)
    assert not dividers(store)
    store.put(b"k", b"", 0, None, 0)
    for tick in range(100, 200):
        store.step(tick * EVERY_MS)
    assert [divider.at_ms for divider in dividers(store)] == [100 * EVERY_MS]


def test_eviction_and_the_growing_entry_pass_the_dividers() -> None:
    store = store_of(max_entries=2)
    for tick, key in enumerate([b"a", b"b", b"c", b"d"]):
        store.put(key, b"", 0, None, 0)
        store.step(tick * EVERY_MS)
        store.check_invariants()
    assert [entry.key for entry in store.policy.entries()] == [b"c", b"d"]
    assert len(dividers(store)) == 3  # the one before c goes with the next victim
    spare: Any = store.peek(b"c", 0)
    assert store.policy.victim(spare).key == b"d"
    assert store.policy.victim().key == b"c"


def test_whoever_looks_among_many_keeps_the_place_while_others_are_used_evicted_and_cleared() -> None:
    size = 3 * STEP
    store = store_of(max_entries=size)
    for number in range(size):
        store.put(b"%d" % number, b"", 0, None, 0)
    store.step(0)
    first: Any = store.peek(b"5", 0)  # "0" will be evicted
    for disturb in (lambda: store.get(b"%d" % (STEP + 1), 0), lambda: store.put(b"new", b"", 0, None, 0), store.clear):
        search: Any = store.policy.idle(first, 5000)
        next(search)
        disturb()
        while store.step(EVERY_MS):
            pass
        assert result_of(search) == (0 if disturb == store.clear else 5000)
        store.check_invariants()


def test_who_stops_looking_leaves_nothing_behind() -> None:
    store = store_of(max_entries=2 * STEP)
    for number in range(2 * STEP):
        store.put(b"%d" % number, b"", 0, None, 0)
    search: Any = store.policy.idle(store.peek(b"0", 0), 0)
    next(search)
    assert len(dividers(store)) == 1
    search.close()
    assert not dividers(store)


def test_whoever_copies_the_hottest_meets_no_divider() -> None:
    store = store_of()
    for tick, key in enumerate([b"a", b"b", b"c"]):
        store.put(key, b"", 0, None, 0)
        store.step(tick * EVERY_MS)
    assert len(dividers(store)) == 3
    hottest = store.policy.hottest(None, 2)
    assert [entry.key for entry in hottest] == [b"c", b"b"]
    assert [entry.key for entry in store.policy.hottest(hottest[-1], 2)] == [b"a"]
