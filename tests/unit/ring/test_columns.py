"""Who leads a slot: promotion, even primaries, and that nobody's data moves for it."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from raycache.ring.columns import compacted, evened, in_order_of, led_by, leveled, sharing
from raycache.ring.placement import PlacedShard, build_table
from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import Owners


def table(shards: int, copies: int) -> Owners:
    return build_table([PlacedShard(f"s{i}") for i in range(shards)], copies=copies)


def loads(owners: Owners, shards: int, column: int = 0) -> list[int]:
    counts: list[int] = np.bincount(owners[:, column], minlength=shards).tolist()
    return counts


def same_owners(one: Owners, other: Owners) -> bool:
    return np.array_equal(np.sort(one, axis=1), np.sort(other, axis=1))


def without(owners: Owners, lost: int) -> Owners:
    """The table after the failover of one shard: the next owner leads, the lost one is last."""
    slots = np.flatnonzero(owners[:, 0] == lost)
    is_lost = np.arange(int(owners.max()) + 1) == lost
    return led_by(owners, slots, np.ones(len(slots), dtype=np.int64), is_lost)


def test_the_promoted_leads_and_the_lost_comes_last() -> None:
    owners = np.tile(np.array([0, 1, 2, -1], dtype=np.int16), (SLOT_COUNT, 1))
    is_lost = np.array([True, False, False])
    after = led_by(owners, np.array([3, 5]), np.array([2, 1]), is_lost)
    assert after[[2, 3, 5]].tolist() == [[0, 1, 2, -1], [2, 1, 0, -1], [1, 2, 0, -1]]


def test_holes_close() -> None:
    owners = np.tile(np.array([-1, 1, 2], dtype=np.int16), (SLOT_COUNT, 1))
    assert compacted(owners, 3)[0].tolist() == [1, 2, -1]
    assert compacted(owners, 1)[0].tolist() == [1]
    assert compacted(owners, 4)[0].tolist() == [1, 2, -1, -1]


def test_primaries_are_even_again_after_a_failover_and_nothing_moved() -> None:
    for copies in (2, 3):
        before = table(5, copies)
        after = without(before, 1)
        assert loads(after, 5)[1] == 0
        even = evened(after, [1] * 5)
        assert same_owners(even, before)
        assert max(loads(even, 5)) <= SLOT_COUNT / 5 * (1 + 1 / 64)
        assert evened(even, [1] * 5) is even


def test_few_at_a_time_and_only_who_may() -> None:
    after = without(table(3, 2), 1)
    some = evened(after, [1] * 3, limit=500)
    assert 490 <= int((some != after).any(axis=1).sum()) <= 500
    assert loads(some, 3)[1] >= 490
    may_lead = after != 1
    assert loads(evened(after, [1] * 3, may_lead=may_lead), 3)[1] == 0


def test_within_the_tolerance_nothing_is_swapped() -> None:
    owners = table(4, 2)
    assert evened(owners, [1] * 4) is owners
    alone = owners[:, :1]
    assert np.array_equal(evened(alone, [1, 1, 1, 0]), alone)  # there is nobody to swap with


def test_a_shard_without_weight_leads_nothing() -> None:
    even = evened(table(4, 2), [1, 1, 1, 0])
    assert loads(even, 4)[3] == 0


@settings(max_examples=25, deadline=None)
@given(shards=st.integers(2, 9), copies=st.integers(2, 4), lost=st.lists(st.integers(0, 8), max_size=3))
def test_leveling_undoes_any_failovers(shards: int, copies: int, lost: list[int]) -> None:
    before = table(shards, copies)
    after = before
    for one in lost:
        if one < shards and (after[:, 1] >= 0).all():
            after = without(after, one)
    level = leveled(after, shards, 1 / 32)
    assert same_owners(level, before)
    for column in range(min(copies, shards)):
        share = SLOT_COUNT / shards
        assert max(loads(level, shards, column)) <= share * (1 + 1 / 32) + 1


def test_where_the_owners_are_the_same_who_leads_leads_on() -> None:
    old = np.tile(np.array([0, 1], dtype=np.int16), (SLOT_COUNT, 1))
    new = old.copy()
    new[0], new[1], new[2] = (2, 0), (1, 0), (1, -1)
    assert in_order_of(new, old)[:4].tolist() == [[2, 0], [0, 1], [1, -1], [0, 1]]


def test_copies_on_one_machine_are_counted() -> None:
    owners = np.full((SLOT_COUNT, 3), -1, dtype=np.int16)
    owners[:10], owners[10:15], owners[15:20] = (0, 1, -1), (0, 2, -1), (2, 0, 1)
    assert sharing(owners, ["m", "m", "n"]) == 15
    assert sharing(owners, ["", "", ""]) == 0
    assert sharing(owners[:, :1], ["m", "m", "n"]) == 0
