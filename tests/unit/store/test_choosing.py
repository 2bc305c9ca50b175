"""Which policy "auto" chooses, and what it says."""

from __future__ import annotations

import random
from typing import Any

from raycache.store import Store, make_policy

WAIT_MS = 100


def auto_store(**given: Any) -> Store:
    return Store(policy=make_policy("auto"), **{"capacity_bytes": 1 << 40, "segments": 64, **given})


def drive(store: Store, keys: list[bytes], now: int = 0) -> int:
    for number, key in enumerate(keys):
        if store.get(key, now) is None:
            store.put(key, b"v", 0, None, now)
        if number % 100 == 0:
            now += WAIT_MS
            while store.step(now):
                pass
    return now


def chooser_of(store: Store) -> Any:
    assert store.watcher is not None
    return store.watcher.chooser


def drifting(count: int) -> list[bytes]:
    """Keys that are used a few times soon after they first come, and never again: recency is all there is."""
    rng = random.Random(4)
    return [b"%d" % (number // 4 - min(int(rng.expovariate(1 / 60)), 110)) for number in range(count)]


def looping(count: int) -> list[bytes]:
    return [b"%d" % (number % 150) for number in range(count)]


def test_it_takes_what_suits_recency_and_then_what_suits_a_loop() -> None:
    store = auto_store(max_entries=120)
    now = drive(store, drifting(8000))
    before = store.stats.misses
    now = drive(store, drifting(8000), now)
    plain = Store(policy=make_policy("lru"), capacity_bytes=1 << 40, max_entries=120)
    drive(plain, drifting(16_000)[8000:])
    assert store.stats.misses - before <= plain.stats.misses + 0.02 * 8000
    now = drive(store, looping(8000), now)
    before = store.stats.misses
    drive(store, looping(3000), now)
    assert store.stats.misses - before < 0.8 * 3000  # LRU misses all of them
    assert store.policy.name in ("s3-fifo", "sieve", "arc", "w-tinylfu", "auto")
    assert chooser_of(store).reason.startswith(chooser_of(store).serving)
    store.check_invariants()


def test_it_says_why_and_changes_nothing_before_it_has_tried() -> None:
    store = auto_store(capacity_bytes=1 << 20)
    store.put(b"a", b"v", 0, None, 0)
    store.step(WAIT_MS)
    assert chooser_of(store).reason == "w-tinylfu: nothing has been tried yet, as the store has room"
    assert (store.chosen, store.policy.name) == ("auto", "auto")


def test_by_bytes_it_begins_to_try_when_the_store_is_half_full() -> None:
    store = auto_store(capacity_bytes=300_000)
    rng = random.Random(1)
    drive(store, [b"%d" % int(rng.paretovariate(0.6)) for _ in range(20_000)])
    assert "miss ratios tried with" in chooser_of(store).reason
    assert store.used_bytes <= store.capacity_bytes
    store.check_invariants()


def test_another_policy_ends_it_and_auto_begins_it() -> None:
    store = Store(policy=make_policy("lru"), capacity_bytes=1 << 20, segments=64)
    store.switch_policy(make_policy("auto"))
    while store.step(0):
        pass
    assert (store.chosen, chooser_of(store).serving) == ("auto", "w-tinylfu")
    store.switch_policy(make_policy("arc"))
    while store.step(0):
        pass
    assert (store.chosen, store.watcher) == ("arc", None)


def test_clearing_keeps_choosing() -> None:
    store = auto_store(max_entries=50)
    drive(store, looping(3000))
    store.clear()
    now = drive(store, looping(1000), 1_000_000)
    assert now > 1_000_000
    assert store.chosen == "auto"
    store.check_invariants()
