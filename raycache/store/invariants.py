"""What must always be true inside a store, whatever was done to it.

What lives here: one check that tests call after every step. It may look at everything and is
slow; nothing that serves calls it. Each failure names the table that is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raycache.store.store import Store


def check_invariants(store: Store) -> None:
    """Raise AssertionError if segments, policy, wheel and counters disagree."""
    _check_segments(store)
    _check_sizes(store)
    _check_policy(store)
    _check_wheel(store)


def _check_segments(store: Store) -> None:
    for index, segment in enumerate(store._segments):
        for key, entry in segment.items():
            assert entry.key == key, f"{key!r} leads to the entry of {entry.key!r}"
            assert hash(key) & store._mask == index, f"{key!r} is in the wrong segment, {index}"


def _check_sizes(store: Store) -> None:
    entries = [entry for segment in store._segments for entry in segment.values()]
    charged = sum(store.charge_of(entry) for entry in entries)
    assert len(store) == len(entries), f"counted {len(store)} entries, there are {len(entries)}"
    used = store.used_bytes - store._aside_bytes
    assert used == charged, f"counted {used} bytes, charged are {charged}"
    assert store._free_bytes >= 0 or store._aside_bytes, f"over budget by {-store._free_bytes} bytes"
    assert store._buried_bytes >= 0, "more bytes came out of the graveyard than went in"
    assert bool(store._graveyard) or not store._buried_bytes, "bytes are buried where no grave is"
    assert store.max_entries is None or len(store) <= store.max_entries, "more entries than allowed"


def _check_policy(store: Store) -> None:
    if not store.policy.can_evict:
        return
    ranked = sorted(id(entry) for entry in store.policy.entries())
    held = sorted(id(entry) for segment in store._segments for entry in segment.values())
    assert ranked == held, f"the policy ranks {len(ranked)} entries, the segments hold {len(held)}, or others"


def _check_wheel(store: Store) -> None:
    timers = list(store._wheel.timers())
    mortal = {id(entry) for segment in store._segments for entry in segment.values() if entry.timer is not None}
    assert len(timers) == store.entries_with_ttl, f"{len(timers)} timers, counted {store.entries_with_ttl}"
    assert {id(timer.entry) for timer in timers} == mortal, "timers and entries with a TTL differ"
    for timer in timers:
        assert timer.entry.timer is timer, f"the timer of {timer.entry.key!r} is not its own"
        assert timer.next.prev is timer, "a ring of the wheel is broken"
        assert timer.prev.next is timer, "a ring of the wheel is broken"
