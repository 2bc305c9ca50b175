"""Eviction order against `cachetools`, wherever the two mean the same.

The same for both: one unit of room for each entry, no expiry. LRU, FIFO and plain LFU must then hold
the same keys after every operation. Left out: values that grow on overwriting, where cachetools may
evict the very key that is written and this store never does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cachetools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raycache.store import Store, make_policy

ORACLES: dict[str, Callable[[int], cachetools.Cache[bytes, bytes]]] = {
    "lru": cachetools.LRUCache,
    "fifo": cachetools.FIFOCache,
    "plain-lfu": cachetools.LFUCache,
}
KEYS = st.integers(0, 9).map(lambda number: b"%d" % number)
OPERATIONS = st.lists(st.tuples(st.sampled_from("ppggd"), KEYS), max_size=120)


def apply_to_store(store: Store, operation: str, key: bytes) -> Any:
    if operation == "p":
        return store.put(key, key, 0, None, 0).value
    if operation == "g":
        entry = store.get(key, 0)
        return None if entry is None else entry.value
    return store.delete(key, 0)


def apply_to_oracle(oracle: cachetools.Cache[bytes, bytes], operation: str, key: bytes) -> Any:
    if operation == "p":
        oracle[key] = key
        return key
    if operation == "g":
        return oracle.get(key)
    if key in oracle:
        del oracle[key]
        return True
    return False


@pytest.mark.parametrize("policy", ORACLES)
@pytest.mark.parametrize("segments", [1, 8])
@settings(max_examples=150, deadline=None)
@given(capacity=st.integers(1, 6), operations=OPERATIONS)
def test_own_policies_hold_what_cachetools_holds(
    policy: str, segments: int, capacity: int, operations: list[tuple[str, bytes]]
) -> None:
    store = Store(capacity_bytes=1 << 20, max_entries=capacity, policy=make_policy(policy), segments=segments)
    oracle = ORACLES[policy](capacity)
    for operation, key in operations:
        assert apply_to_store(store, operation, key) == apply_to_oracle(oracle, operation, key)
        assert sorted(store.scan(0, 100, 0)[1]) == sorted(oracle)
    store.check_invariants()


@pytest.mark.parametrize("policy", ORACLES)
@settings(max_examples=60, deadline=None)
@given(capacity=st.integers(1, 6), operations=OPERATIONS)
def test_an_adapted_class_holds_what_it_holds_by_itself(
    policy: str, capacity: int, operations: list[tuple[str, bytes]]
) -> None:
    adapted: Any = ORACLES[policy]
    store = Store(capacity_bytes=1 << 20, max_entries=capacity, policy=make_policy(adapted), segments=4)
    oracle = ORACLES[policy](capacity)
    for operation, key in operations:
        apply_to_store(store, operation, key)
        apply_to_oracle(oracle, operation, key)
        assert sorted(store.scan(0, 100, 0)[1]) == sorted(oracle)


@pytest.mark.parametrize("policy", ["lru", "fifo"])
@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=80))
def test_sizes_displace_as_in_cachetools_when_no_key_comes_twice(policy: str, sizes: list[int]) -> None:
    store = Store(capacity_bytes=20, policy=make_policy(policy), weigh=lambda _, size: int(size), segments=1)
    oracle: Any = {"lru": cachetools.LRUCache, "fifo": cachetools.FIFOCache}[policy](20, getsizeof=lambda size: size)
    for number, size in enumerate(sizes):
        key = b"%d" % number
        store.put(key, size, 0, None, 0)
        oracle[key] = size
        for old in range(0, number, 3):
            store.get(b"%d" % old, 0)
            oracle.get(b"%d" % old)
        assert sorted(store.scan(0, 100, 0)[1]) == sorted(oracle)
        assert store.used_bytes == oracle.currsize
