"""Clearing: everything is gone at once, and freed in bounded steps that stay within the budget."""

from __future__ import annotations

from raycache.store import Entry, RemovalCause, Store, make_policy


def by_length(key: bytes, value: bytes) -> int:
    return len(value)


def filled(entries: int, **settings: object) -> Store:
    store = Store(capacity_bytes=10 * entries, policy=make_policy("lru"), weigh=by_length, segments=4, **settings)
    for number in range(entries):
        store.put(b"%d" % number, b"x" * 10, 0, 500 if number % 2 else None, 0)
    return store


def test_clear_forgets_at_once_and_counts_at_once() -> None:
    store = filled(100)
    assert store.clear() == 100
    assert (len(store), store.used_bytes, store.entries_with_ttl, store.stats.deleted) == (0, 0, 0, 100)
    assert store.get(b"1", 0) is None
    assert store.scan(0, 1000, 0) == (0, [])
    assert store.clear() == 0
    store.check_invariants()


def test_steps_free_a_bounded_number_and_then_stop() -> None:
    freed: list[bytes] = []
    store = filled(100, listener=lambda entry, cause: freed.append(entry.key))
    store.clear()
    assert freed == []
    assert store.step(0, budget=30) is True
    assert 25 <= len(freed) <= 30
    while store.step(0, budget=30):
        pass
    assert sorted(freed) == sorted(b"%d" % number for number in range(100))
    assert store.step(0) is False


def test_what_waits_to_be_freed_still_counts_against_the_budget() -> None:
    """Old and new together never exceed the capacity; the old goes before anything new is evicted."""
    held = 1000
    store = filled(100, listener=lambda entry, cause: release(entry))

    def release(entry: Entry) -> None:
        nonlocal held
        held -= len(entry.value)

    store.clear()
    for number in range(100):
        store.put(b"new%d" % number, b"y" * 10, 0, None, 0)
        held += 10
        assert held <= store.capacity_bytes
    assert (len(store), store.stats.evicted, store.step(0), held) == (100, 0, False, 1000)
    store.check_invariants()


def test_a_key_that_lives_again_is_not_freed_with_its_predecessor() -> None:
    removed: list[tuple[bytes, RemovalCause]] = []
    store = filled(10, listener=lambda entry, cause: removed.append((entry.value, cause)))
    store.clear()
    store.put(b"1", b"again", 0, None, 0)
    while store.step(10_000):
        pass
    entry = store.get(b"1", 10_000)
    assert entry is not None
    assert entry.value == b"again"
    assert removed == [(b"x" * 10, RemovalCause.DELETED)] * 10
    store.check_invariants()


def test_old_timers_do_not_fire_after_a_clear() -> None:
    store = filled(10)
    store.clear()
    store.put(b"1", b"again", 0, 100_000, 0)
    while store.step(50_000):
        pass
    assert (len(store), store.entries_with_ttl, store.stats.expired) == (1, 1, 0)


def test_several_generations_wait_in_line() -> None:
    store = filled(20)
    for _ in range(3):
        store.clear()
        for number in range(5):
            store.put(b"%d" % number, b"z", 0, 50, 0)
    while store.step(0, budget=3):
        store.check_invariants()
    assert (len(store), store.used_bytes, store.stats.deleted) == (5, 5, 30)
    assert store._buried_bytes == 0
