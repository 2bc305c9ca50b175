"""The walk on the ring: nearest shard with room, blocked domains stepped over, and the same everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from raycache.ring.hashring import SLOT_POINTS, HashRing, Taken, rank_within
from raycache.ring.slots import SLOT_COUNT

ALL = np.arange(SLOT_COUNT, dtype=np.int64)


def room_of(*room: int) -> np.ndarray:
    return np.array(room, dtype=np.int64)


def walked_by_hand(ring: HashRing, count: int) -> np.ndarray:
    """The definition: each slot belongs to the shard whose next vnode is nearest clockwise."""
    alone = [np.arange(count) == shard for shard in range(count)]
    return np.argmin([ring.distances(mask) for mask in alone], axis=0)


def test_with_room_for_all_every_slot_goes_to_the_next_vnode() -> None:
    ring = HashRing(["a", "b", "c"], [16, 16, 16])
    owners = ring.walk(ALL, room_of(SLOT_COUNT, SLOT_COUNT, SLOT_COUNT))
    assert np.array_equal(owners, walked_by_hand(ring, 3))
    assert set(owners.tolist()) == {0, 1, 2}


def test_room_is_never_exceeded_and_counted_down() -> None:
    ring = HashRing(["a", "b", "c"], [16, 16, 16])
    room = room_of(10_000, 6_000, 500)
    owners = ring.walk(ALL, room)
    counts = np.bincount(owners, minlength=3)
    assert counts[2] == 500
    assert (counts + room).tolist() == [10_000, 6_000, 500]
    assert (room >= 0).all()


def test_where_a_shard_is_full_the_nearest_slots_have_it() -> None:
    ring = HashRing(["a", "b"], [1, 1])
    by_hand = walked_by_hand(ring, 2)
    owners = ring.walk(ALL, room_of(100, SLOT_COUNT))
    nearest = np.argsort(np.where(by_hand == 0, ring.distances(np.array([True, False])), SLOT_POINTS.max()))[:100]
    assert sorted(np.flatnonzero(owners == 0).tolist()) == sorted(nearest.tolist())


def test_without_room_nobody_is_found() -> None:
    ring = HashRing(["a", "b"], [4, 4])
    owners = ring.walk(ALL[:10], room_of(3, 0))
    assert sorted(owners.tolist()) == [-1] * 7 + [0] * 3


def test_a_shard_without_vnodes_takes_no_part() -> None:
    ring = HashRing(["a", "b"], [4, 0])
    assert set(ring.walk(ALL, room_of(SLOT_COUNT, SLOT_COUNT)).tolist()) == {0}


def test_blocked_domains_are_stepped_over() -> None:
    ring = HashRing(["a", "b", "c", "d"], [32, 32, 32, 32])
    domain_of = np.array([0, 0, 1, 2])
    domains = np.stack([ALL % 3, np.full(SLOT_COUNT, -1)], axis=1)
    owners = ring.walk(ALL, np.full(4, SLOT_COUNT), Taken(domain_of, domains))
    assert (owners >= 0).all()
    assert not (domain_of[owners] == domains[:, 0]).any()
    assert set(owners.tolist()) == {0, 1, 2, 3}


def test_a_slot_that_everybody_with_room_is_blocked_for_stays_without() -> None:
    ring = HashRing(["a", "b", "c"], [8, 8, 8])
    domains = np.full((SLOT_COUNT, 2), -1)
    domains[:5] = (0, 1)
    domains[5:7] = (1, 1)
    room = room_of(3, 3, 0)
    owners = ring.walk(np.arange(9), room, Taken(np.array([0, 1, 2]), domains))
    assert owners[:5].tolist() == [-1] * 5
    assert owners[5:7].tolist() == [0, 0]
    assert room.sum() == 2


def test_vnodes_of_a_shard_do_not_depend_on_the_others() -> None:
    few, many = HashRing(["a", "b"], [16, 16]), HashRing(["x", "b", "a"], [5, 16, 16])
    assert np.array_equal(few.distances(np.array([True, False])), many.distances(np.array([False, False, True])))


def test_points_are_fixed_for_ever() -> None:
    """Other machines and later versions must come to the same table; changing these values deals every slot anew."""
    owners = HashRing(["s0", "s1", "s2"], [128] * 3).walk(ALL, np.full(3, SLOT_COUNT))
    assert np.bincount(owners).tolist() == GOLDEN_SHARES
    assert owners[[0, 1000, 5000, 16383]].tolist() == GOLDEN_OWNERS


GOLDEN_SHARES = [4995, 5782, 5607]
GOLDEN_OWNERS = [2, 1, 2, 2]


def test_ranks_within_groups() -> None:
    groups = np.array([1, 0, 1, 1, 0])
    distance = np.array([5, 9, 2, 5, 1], dtype=np.uint64)
    assert rank_within(groups, distance).tolist() == [1, 1, 0, 2, 0]


@pytest.mark.parametrize("count", [1, 7])
def test_neighbouring_slots_share_owners(count: int) -> None:
    """CLUSTER SLOTS lists ranges: there must be about as many as vnodes, not as slots."""
    ids = [f"s{i}" for i in range(count)]
    owners = HashRing(ids, [128] * count).walk(ALL, np.full(count, SLOT_COUNT))
    assert np.count_nonzero(np.diff(owners)) <= 128 * count
