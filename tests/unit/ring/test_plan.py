"""What a change moves: counted between tables, and foreseen for the command line."""

from __future__ import annotations

import numpy as np
import pytest

from raycache.ring.plan import adding, dealt, move_report, reindexed, removing
from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import ShardInfo, Topology

SETTINGS = {"vnodes_per_shard": 128, "max_load": 1 / 32}


def shard(number: int) -> ShardInfo:
    return ShardInfo(f"s{number}", "h", 7000 + number, f"n{number}", f"m{number}", "", "up", 1000, 1)


def topology_of(count: int) -> Topology:
    shards = tuple(shard(number) for number in range(count))
    owners = dealt(shards, Topology.empty("c"), copies=1, **SETTINGS)  # type: ignore[arg-type]
    return Topology("c", 1, shards, owners)


def test_reindexed_follows_the_ids() -> None:
    owners = np.array([[0, 1], [2, -1]], dtype=np.int16)
    assert reindexed(owners, ["a", "b", "c"], ["c", "a"]).tolist() == [[1, -1], [0, -1]]


def test_adding_moves_a_fair_share_to_the_newcomer() -> None:
    report = adding(topology_of(3), shard(3), **SETTINGS)  # type: ignore[arg-type]
    assert report.moved == SLOT_COUNT // 4
    assert report.moved_share == 0.25
    assert {to for _, to in report.moves} == {"s3"}
    assert {origin for origin, _ in report.moves} == {"s0", "s1", "s2"}
    assert list(report.moves.values()) == sorted(report.moves.values(), reverse=True)
    assert report.shares_after == dict.fromkeys(["s0", "s1", "s2", "s3"], 4096)
    assert sum(report.shares_before.values()) == SLOT_COUNT


def test_removing_moves_its_own() -> None:
    topology = topology_of(4)
    report = removing(topology, "s1", **SETTINGS)  # type: ignore[arg-type]
    assert {origin for origin, _ in report.moves} == {"s1"}
    assert report.moved == topology.shares()["s1"]
    assert "s1" not in report.shares_after
    with pytest.raises(KeyError):
        removing(topology, "s9", **SETTINGS)  # type: ignore[arg-type]


def test_the_last_one_leaves_nobody() -> None:
    report = removing(topology_of(1), "s0", **SETTINGS)  # type: ignore[arg-type]
    assert report.moves == {("s0", None): SLOT_COUNT}
    assert adding(Topology.empty("c"), shard(0), **SETTINGS).moves == {  # type: ignore[arg-type]
        (None, "s0"): SLOT_COUNT
    }


def test_the_same_shards_in_another_order_move_nothing() -> None:
    old = topology_of(3)
    shards = old.shards[::-1]
    new = Topology("c", 2, shards, reindexed(old.owners, ["s0", "s1", "s2"], ["s2", "s1", "s0"]))
    assert move_report(old, new).moves == {}
    assert np.array_equal(dealt(shards, old, copies=1, **SETTINGS), new.owners)  # type: ignore[arg-type]
