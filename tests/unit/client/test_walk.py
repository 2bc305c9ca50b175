"""Scans over shards that come and go: every slot is looked at wherever it is served in the end."""

from __future__ import annotations

import numpy as np

from raycache.client.routes import Routes
from raycache.client.scanning import Walk
from raycache.ring.slots import SLOT_COUNT, slot_of
from raycache.ring.topology import ShardInfo, Topology

KEYS = [b"k%d" % number for number in range(200)]


def routes(*primaries: int, copies: int = 2, down: int = -1) -> Routes:
    """Slot n belongs to `primaries` in turn."""
    shards = tuple(ShardInfo(f"s{i}", "h", 1 + i, "n", "m", "", "down" if i == down else "up", 1, 1) for i in range(3))
    owners = np.full((SLOT_COUNT, copies), -1, dtype=np.int16)
    owners[:, 0] = np.array(primaries)[np.arange(SLOT_COUNT) % len(primaries)]
    return Routes(Topology("x", 1, shards, owners))


def test_each_shard_is_looked_through_once() -> None:
    for copies in (1, 2):
        walk, some, seen = Walk(), routes(0, 1, 2, copies=copies), []
        while (shard := walk.next_shard(some)) is not None:
            seen.append(shard)
            walk.done_with(shard, some)
        assert sorted(seen) == ["s0", "s1", "s2"]


def test_what_a_lost_shard_had_is_looked_for_where_it_is_served_now_and_nothing_else() -> None:
    walk, before, after = Walk(), routes(0, 1, 2), routes(0, 1, 0, down=2)
    assert walk.next_shard(before) == "s2"
    walk.done_with("s2", after)
    found: list[bytes] = []
    while (shard := walk.next_shard(after)) is not None:
        held = [key for key in KEYS if after.shard_ids[after.owners[slot_of(key)]] == shard]
        found += walk.wanted(held, after)
        walk.done_with(shard, after)
    assert sorted(found) == sorted(KEYS)


def test_slots_that_move_behind_the_walk_are_looked_for_again() -> None:
    walk, before, after = Walk(), routes(0, 1), routes(0, 2)
    assert walk.next_shard(before) == "s1"
    walk.done_with("s1", before)
    assert walk.next_shard(before) == "s0"
    walk.done_with("s0", after)
    assert walk.next_shard(after) is None, "s1's slots were seen before they moved"


def test_what_nobody_serves_in_place_of_a_lost_shard_is_not_waited_for() -> None:
    walk, some = Walk(), routes(0, down=0)
    assert walk.next_shard(some) == "s0"
    walk.done_with("s0", some)
    assert walk.next_shard(some) is None
