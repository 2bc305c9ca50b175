"""Changing the policy of a store that serves: nothing is lost, nothing stops, and the budget holds."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raycache.store import Store, make_policy
from raycache.store.switching import STEP_ENTRIES

LIVE = ("lru", "lfu", "fifo", "sieve", "s3-fifo", "arc", "w-tinylfu", "auto")


def store_of(policy: str, **given: Any) -> Store:
    return Store(policy=make_policy(policy, seed=1), **{"capacity_bytes": 1 << 20, "segments": 4, **given})


def finish(store: Store, now_ms: int = 0) -> int:
    """Step until the change is done; return how many steps it took."""
    for steps in range(10_000):
        if not store.is_switching:
            return steps
        store.step(now_ms)
    raise AssertionError("it does not end")


@pytest.mark.parametrize("old", LIVE)
@pytest.mark.parametrize("new", LIVE)
def test_every_entry_passes_over_with_its_identity(old: str, new: str) -> None:
    if old == new:
        return
    store = store_of(old)
    held = [store.put(b"%d" % number, b"v", 0, 10_000 if number % 3 else None, 0) for number in range(1000)]
    store.switch_policy(make_policy(new))
    for number in (3, 500, 3):
        assert store.get(b"%d" % number, 0) is held[number]
    assert finish(store) > 1000 // STEP_ENTRIES
    store.check_invariants()
    assert store.policy.name == new
    assert [store.peek(entry.key, 0) for entry in held] == held
    assert store.chosen == new


def test_the_order_of_lru_passes_over() -> None:
    store = store_of("lru")
    for number in range(100):
        store.put(b"%d" % number, b"", 0, None, 0)
    store.get(b"7", 0)
    store.switch_policy(make_policy("sieve"))
    finish(store)
    order = [entry.key for entry in store.policy.entries()]
    assert order == [b"%d" % number for number in range(100) if number != 7] + [b"7"]


def test_no_step_moves_more_than_its_share() -> None:
    store = store_of("lru", capacity_bytes=1 << 24)
    for number in range(5 * STEP_ENTRIES):
        store.put(b"%d" % number, b"", 0, None, 0)
    store.switch_policy(make_policy("sieve"))
    left = 5 * STEP_ENTRIES
    while left:
        store.step(0)
        policy: Any = store.policy
        now_left = getattr(policy, "left", 0)
        assert left - now_left <= STEP_ENTRIES
        left = now_left


def test_a_full_store_makes_room_for_what_the_new_policy_keeps_and_stays_within_its_budget() -> None:
    store = store_of("lru", capacity_bytes=200_000)
    number = 0
    while not store.stats.evicted:
        number += 1
        store.put(b"%d" % number, b"x" * 50, 0, None, 0)
    before = len(store)
    store.switch_policy(make_policy("arc"))
    while store.is_switching:
        number += 1
        store.put(b"%d" % number, b"x" * 50, 0, None, 0)
        store.step(0)
        assert store.used_bytes <= store.capacity_bytes
    store.check_invariants()
    assert 0.85 * before < len(store) < before
    store.switch_policy(make_policy("lru"))
    finish(store)
    store.check_invariants()
    while store.stats.evicted and len(store) < before:
        number += 1
        store.put(b"%d" % number, b"x" * 50, 0, None, 0)
    assert len(store) == before  # the room has come back


def test_clearing_in_the_middle_ends_it() -> None:
    store = store_of("lru")
    for number in range(1000):
        store.put(b"%d" % number, b"", 0, None, 0)
    store.switch_policy(make_policy("s3-fifo"))
    store.step(0)
    store.clear()
    store.put(b"new", b"", 0, None, 0)
    finish(store)
    store.check_invariants()
    assert (store.policy.name, len(store)) == ("s3-fifo", 1)


def test_what_cannot_be_changed_is_refused_and_changes_nothing() -> None:
    for old, new in (("lru", "random"), ("ttl", "lru"), ("lru", "noeviction"), ("plain-lfu", "arc")):
        store = store_of(old)
        with pytest.raises(ValueError, match="can only be chosen when a cluster starts"):
            store.switch_policy(make_policy(new))
        assert (store.policy.name, store.is_switching) == (old, False)
        store.put(b"a", b"", 0, None, 0)
        store.check_invariants()


def test_one_change_at_a_time() -> None:
    store = store_of("lru")
    store.put(b"a", b"", 0, None, 0)
    store.switch_policy(make_policy("arc"))
    with pytest.raises(ValueError, match="is being changed"):
        store.switch_policy(make_policy("lru"))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), names=st.lists(st.sampled_from(LIVE), min_size=2, max_size=5),
       max_entries=st.sampled_from([None, 40]))
def test_tables_agree_whatever_happens_while_policies_change(
    seed: int, names: list[str], max_entries: int | None
) -> None:
    rng = random.Random(seed)
    store = store_of(names[0], capacity_bytes=15_000, max_entries=max_entries)
    for name in names[1:]:
        finish(store)
        if name != store.policy.name:
            store.switch_policy(make_policy(name))
        for now in range(60):
            key = b"%d" % rng.randrange(80)
            action = rng.randrange(7)
            if action < 3:
                store.put(key, b"x" * rng.randrange(60), 0, rng.choice((None, now + 20)), now)
            elif action < 5:
                store.get(key, now)
            elif action == 5:
                store.delete(key, now)
            elif rng.randrange(8) == 0:
                store.step(now)
            elif rng.randrange(30) == 0:
                store.clear()
            assert store.used_bytes <= store.capacity_bytes
        store.check_invariants()
    finish(store)
    store.check_invariants()
