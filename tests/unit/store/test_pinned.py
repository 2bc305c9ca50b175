"""Pinned entries: whatever happens to entries, they stay, and the budget counts them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raycache.store import PINNED_KIND, Store, StoreFullError, WholeStore, make_policy

NOW = 1_700_000_000_000
PREFIX = b"\0rc:"
_OPERATIONS = st.lists(st.tuples(
    st.sampled_from(["put", "expiring", "delete", "get", "pin", "unpin", "clear", "step", "reserve", "evict"]),
    st.integers(0, 12), st.integers(0, 400)), max_size=60)


def whole(policy: str, capacity: int) -> WholeStore:
    return WholeStore(Store(capacity_bytes=capacity, policy=make_policy(policy, seed=1), segments=4), PREFIX)


@given(_OPERATIONS, st.sampled_from(["lru", "lfu", "fifo", "ttl", "random", "noeviction"]))
@settings(max_examples=150, deadline=None)
def test_what_is_pinned_stays_until_it_is_removed(operations: list[tuple[str, int, int]], policy: str) -> None:
    store, expected, now = whole(policy, 12_000), {}, NOW
    entries = store.entries
    for what, number, size in operations:
        key, pinned, now = b"key%d" % number, PREFIX + b"%d" % number, now + 10
        try:
            if what == "put":
                entries.put(key, b"x" * size, 0, None, now)
            elif what == "expiring":
                entries.put(key, b"x" * size, 0, now + size, now)
            elif what == "reserve":
                entries.reserve(key, b"x" * size * 10, now)
        except StoreFullError:
            pass
        if what == "delete":
            entries.delete(key, now)
        elif what == "get":
            entries.get(key, now)
            assert entries.get(pinned, now) is None
        elif what == "pin":
            store.put(pinned, b"y" * size, PINNED_KIND, None, now)
            expected[pinned] = b"y" * size
        elif what == "unpin":
            assert store.delete(pinned, now) == (expected.pop(pinned, None) is not None)
        elif what == "clear":
            entries.clear()
        elif what == "step":
            entries.step(now)
        elif what == "evict" and (entry := store.peek(pinned, now)) is not None:
            store.evict(entry)
        entries.check_invariants()
    assert {key: store.peek(key, now).value for key in expected} == expected  # type: ignore[union-attr]
    assert store.pinned.bytes == sum(store.pinned.charge(key, value) for key, value in expected.items())
    found, cursor = [], 0
    while True:
        cursor, keys = store.scan(cursor, 3, now)
        found += keys
        if cursor == 0:
            break
    assert sorted(key for key in found if key.startswith(PREFIX)) == sorted(expected)
    assert len(found) == len(set(found))


def test_without_room_for_entries_the_pinned_stay_and_entries_are_refused() -> None:
    store = whole("lru", 3_000)
    for number in range(20):
        store.put(PREFIX + b"%d" % number, b"y" * 100, PINNED_KIND, None, NOW)
    assert len(store.pinned) == 20
    with pytest.raises(StoreFullError):
        store.entries.put(b"key", b"x", 0, None, NOW)
    assert not store.entries.reserve(b"key", b"x" * 500, NOW)
    for number in range(20):
        store.delete(PREFIX + b"%d" % number, NOW)
    store.entries.put(b"key", b"x", 0, None, NOW)
    store.entries.check_invariants()


def test_an_entry_under_a_pinned_key_is_another_thing() -> None:
    store = whole("lru", 100_000)
    key = PREFIX + b"1"
    store.put(key, b"pinned", PINNED_KIND, None, NOW)
    store.entries.put(key, b"entry", 0, None, NOW)
    store.put(key, b"entry again", 0, None, NOW)
    assert store.peek(key, NOW).value == b"pinned"  # type: ignore[union-attr]
    assert store.entries.peek(key, NOW).value == b"entry again"  # type: ignore[union-attr]
    assert store.delete(key, NOW)
    assert store.peek(key, NOW).value == b"entry again"  # type: ignore[union-attr]
