"""The store itself, under LRU: reading, writing, expiry, versions, counting, errors."""

from __future__ import annotations

import pickle
import random
from typing import Any

import pytest

from raycache.errors import OutOfMemoryError
from raycache.store import Entry, RemovalCause, Store, StoreFullError, make_policy

NOW = 1_700_000_000_000


def store_of(policy: str = "lru", **settings: Any) -> Store:
    settings.setdefault("capacity_bytes", 1 << 20)
    return Store(policy=make_policy(policy), **settings)


def by_length(key: bytes, value: bytes) -> int:
    return len(value)


class Removals:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, bytes, str]] = []

    def __call__(self, entry: Entry, cause: RemovalCause) -> None:
        self.seen.append((entry.key, entry.value, cause.value))


def test_a_missing_key_is_none() -> None:
    store = store_of()
    assert store.get(b"a", NOW) is None
    assert store.peek(b"a", NOW) is None
    assert store.delete(b"a", NOW) is False
    assert store.random_entry(random.Random(1), NOW) is None
    assert store.scan(0, 10, NOW) == (0, [])
    assert (len(store), store.used_bytes, store.entries_with_ttl) == (0, 0, 0)


def test_put_replaces_value_kind_and_expiry() -> None:
    store = store_of()
    first = store.put(b"a", b"1", 3, NOW + 50, NOW)
    assert (first.value, first.kind, first.expires_ms) == (b"1", 3, NOW + 50)
    second = store.put(b"a", b"22", 0, None, NOW)
    assert (second.value, second.kind, second.expires_ms) == (b"22", 0, None)
    assert (len(store), store.entries_with_ttl) == (1, 0)
    store.check_invariants()


def test_rewrite_keeps_the_expiry() -> None:
    store = store_of()
    for expires_ms in (None, NOW + 50):
        entry = store.put(b"a", b"1", 2, expires_ms, NOW)
        store.rewrite(entry, b"2", 1, NOW)
        assert (entry.value, entry.kind, entry.expires_ms) == (b"2", 1, expires_ms)
    store.check_invariants()


def test_the_empty_key_and_the_empty_value_are_a_key_and_a_value() -> None:
    store = store_of()
    store.put(b"", b"", 0, None, NOW)
    entry = store.get(b"", NOW)
    assert entry is not None
    assert entry.value == b""


def test_live_means_now_before_expires() -> None:
    store = store_of()
    for read in (store.get, store.peek):
        store.put(b"a", b"", 0, NOW + 10, NOW)
        assert read(b"a", NOW + 9) is not None
        assert read(b"a", NOW + 10) is None
        assert len(store) == 0  # the read itself removed it
    assert store.stats.expired == 2


def test_an_expiry_in_the_past_is_dead_at_once() -> None:
    store = store_of()
    store.put(b"a", b"", 0, NOW - 1, NOW)
    assert store.get(b"a", NOW) is None


def test_a_dead_entry_is_neither_deleted_nor_updated() -> None:
    removals = Removals()
    store = store_of(listener=removals)
    store.put(b"a", b"old", 0, NOW + 1, NOW)
    assert store.delete(b"a", NOW + 1) is False
    store.put(b"a", b"old", 0, NOW + 1, NOW)
    store.put(b"a", b"new", 0, None, NOW + 1)
    assert removals.seen == [(b"a", b"old", "expired")] * 2
    assert (store.stats.inserts, store.stats.updates, store.stats.deleted, store.stats.expired) == (3, 0, 0, 2)


def test_set_expiry_gives_changes_and_takes_away() -> None:
    store = store_of()
    entry = store.put(b"a", b"", 0, None, NOW)
    bare = store.used_bytes
    store.set_expiry(entry, NOW + 5)
    store.set_expiry(entry, NOW + 10)
    assert (entry.expires_ms, store.entries_with_ttl) == (NOW + 10, 1)
    assert store.used_bytes > bare  # a timer takes room, and is charged
    store.set_expiry(entry, None)
    store.set_expiry(entry, None)
    assert (entry.expires_ms, store.entries_with_ttl, store.used_bytes) == (None, 0, bare)
    assert store.get(b"a", NOW + 100) is entry
    store.check_invariants()


def test_a_first_expiry_makes_room_for_itself() -> None:
    store = store_of(capacity_bytes=4000)
    while store.stats.evicted == 0:
        store.put(b"%d" % store.stats.inserts, b"", 0, None, NOW)
    for entry in list(store.policy.entries()):
        if store.peek(entry.key, NOW) is entry:
            store.set_expiry(entry, NOW + 100)
            assert store.peek(entry.key, NOW) is entry
            assert store.used_bytes <= 4000
    store.check_invariants()


def test_step_removes_what_has_expired_in_bounded_pieces() -> None:
    store = store_of()
    for number in range(100):
        store.put(b"%d" % number, b"", 0, NOW + 10 if number < 70 else None, NOW)
    assert store.step(NOW + 9) is False
    assert len(store) == 100
    later = NOW + 1000
    assert store.step(later, budget=30) is True
    assert len(store) == 70
    while store.step(later, budget=30):
        pass
    assert (len(store), store.stats.expired, store.entries_with_ttl) == (30, 70, 0)
    store.check_invariants()


def test_overwritten_expiries_leave_nothing_to_do() -> None:
    store = store_of()
    for number in range(5000):
        store.put(b"a", b"", 0, NOW + number, NOW)
    assert store.entries_with_ttl == 1
    store.put(b"a", b"", 0, None, NOW)
    store.step(NOW + 100_000)
    assert len(store) == 1


def test_versions_change_with_every_write_and_with_nothing_else() -> None:
    store = store_of(seed_version=1000)
    entry = store.put(b"a", b"1", 0, None, NOW)
    first = store.version_of(entry)
    assert first == 1000
    store.get(b"a", NOW)
    store.set_expiry(entry, NOW + 50)
    assert store.version_of(entry) == first
    store.rewrite(entry, b"2", 0, NOW)
    second = store.version_of(entry)
    store.put(b"a", b"2", 0, None, NOW)
    third = store.version_of(entry)
    store.delete(b"a", NOW)
    fourth = store.version_of(store.put(b"a", b"2", 0, None, NOW))
    assert first < second < third < fourth


def test_versions_of_different_keys_differ() -> None:
    store = store_of()
    versions = [store.version_of(store.put(b"%d" % number, b"", 0, None, NOW)) for number in range(50)]
    assert len(set(versions)) == 50
    assert min(versions) >= 1


def test_the_listener_hears_each_removal_once_with_key_value_and_cause() -> None:
    removals = Removals()
    store = store_of(listener=removals, max_entries=2)
    store.put(b"a", b"1", 0, None, NOW)
    store.put(b"a", b"2", 0, None, NOW)
    store.put(b"b", b"3", 0, NOW + 5, NOW)
    store.put(b"c", b"4", 0, None, NOW)
    store.delete(b"c", NOW)
    store.get(b"b", NOW + 5)
    assert removals.seen == [
        (b"a", b"1", "replaced"), (b"a", b"2", "evicted"), (b"c", b"4", "deleted"), (b"b", b"3", "expired"),
    ]  # fmt: skip


def test_counters_count_what_they_say() -> None:
    store = store_of(max_entries=2)
    for key in (b"a", b"b", b"c", b"c"):
        store.put(key, b"", 0, NOW + 10 if key == b"b" else None, NOW)
    for key in (b"a", b"b", b"b", b"c", b"d"):
        store.get(key, NOW)
    store.peek(b"c", NOW)
    store.get(b"b", NOW + 10)
    store.delete(b"c", NOW)
    assert store.stats.as_dict() == {
        "hits": 3, "misses": 3, "inserts": 3, "updates": 1, "evicted": 1, "expired": 1, "deleted": 1, "rejected": 0,
    }  # fmt: skip


def test_noeviction_refuses_when_full_and_changes_nothing() -> None:
    store = store_of("noeviction", capacity_bytes=100, weigh=by_length)
    kept = store.put(b"a", b"x" * 60, 0, None, NOW)
    store.put(b"b", b"x" * 40, 0, None, NOW)
    for write in (lambda: store.put(b"c", b"x", 0, None, NOW), lambda: store.rewrite(kept, b"x" * 61, 0, NOW)):
        with pytest.raises(StoreFullError, match="does not evict") as caught:
            write()
        assert not caught.value.never_fits
    assert (len(store), len(kept.value), store.stats.rejected) == (2, 60, 2)
    store.rewrite(kept, b"x" * 59, 0, NOW)  # shrinking and deleting are always possible
    store.put(b"c", b"x", 0, None, NOW)
    store.check_invariants()


def test_noeviction_keeps_to_an_entry_limit_and_its_timers_to_the_budget() -> None:
    store = store_of("noeviction", max_entries=1)
    store.put(b"a", b"", 0, None, NOW)
    with pytest.raises(StoreFullError):
        store.put(b"b", b"", 0, None, NOW)
    tight = store_of("noeviction", capacity_bytes=store.used_bytes)
    entry = tight.put(b"a", b"", 0, None, NOW)
    with pytest.raises(StoreFullError):
        tight.set_expiry(entry, NOW + 5)
    assert entry.expires_ms is None
    tight.check_invariants()


def test_noeviction_takes_the_room_of_the_dead() -> None:
    store = store_of("noeviction", max_entries=3)
    for key in (b"a", b"b", b"c"):
        store.put(key, b"", 0, NOW + 10, NOW)
    store.put(b"d", b"", 0, None, NOW + 1000)
    assert store.stats.rejected == 0


def test_an_error_survives_pickling_and_is_an_out_of_memory_error() -> None:
    copy = pickle.loads(pickle.dumps(StoreFullError("no room", never_fits=True)))
    assert (type(copy), str(copy), copy.never_fits) == (StoreFullError, "no room", True)
    assert isinstance(copy, OutOfMemoryError)


@pytest.mark.parametrize("wrong", [
    {"capacity_bytes": 0}, {"max_entries": 0}, {"seed_version": 0}, {"segments": 0}, {"segments": 3},
])  # fmt: skip
def test_a_wrong_setting_is_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        store_of(**wrong)


def test_settings_can_be_read_back() -> None:
    assert store_of().max_entries is None
    assert store_of(max_entries=5).max_entries == 5
    assert store_of().capacity_bytes == 1 << 20
    assert repr(store_of().put(b"a", b"", 1, 5, 0)) == "<LruEntry b'a' kind=1 expires_ms=5>"


def test_reserve_makes_room_for_a_large_value_in_steps() -> None:
    store = store_of(capacity_bytes=1000, weigh=by_length)
    for number in range(100):
        store.put(b"%d" % number, b"x" * 10, 0, None, NOW)
    large = b"y" * 500
    assert store.reserve(b"large", large, NOW, budget=30) is True
    assert store.stats.evicted == 30
    assert store.reserve(b"large", large, NOW, budget=30) is False
    assert store.stats.evicted == 50
    store.put(b"large", large, 0, None, NOW)
    assert store.stats.evicted == 50
    store.check_invariants()


def test_reserve_spares_the_key_itself_and_evicts_nothing_in_vain() -> None:
    store = store_of("fifo", capacity_bytes=100, weigh=by_length)
    for number in range(10):
        store.put(b"%d" % number, b"x" * 10, 0, None, NOW)
    assert store.reserve(b"0", b"y" * 101, NOW) is False
    assert len(store) == 10
    assert store.reserve(b"0", b"y" * 100, NOW) is False
    assert [entry.key for entry in store.policy.entries()] == [b"0"]
    full = store_of("noeviction", capacity_bytes=100, weigh=by_length)
    full.put(b"a", b"x" * 100, 0, None, NOW)
    assert full.reserve(b"b", b"y", NOW) is False
    assert len(full) == 1


def test_reserve_frees_in_steps_what_was_cleared_even_where_nothing_is_evicted() -> None:
    store = store_of("noeviction", capacity_bytes=1000, weigh=by_length)
    for number in range(100):
        store.put(b"%d" % number, b"x" * 10, 0, None, NOW)
    store.clear()
    steps = 1
    while store.reserve(b"large", b"y" * 500, NOW, budget=30):
        steps += 1
    assert steps > 1
    store.put(b"large", b"y" * 500, 0, None, NOW)
    assert store.used_bytes == 500
    assert store.reserve(b"larger", b"y" * 600, NOW, budget=10_000) is False
    assert store.get(b"large", NOW) is not None
    store.check_invariants()
