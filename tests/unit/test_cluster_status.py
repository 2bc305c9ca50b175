"""What a status says of copies, read off a topology and the shards' statistics."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from raycache.cluster_status import ClusterStatus, Lag, LossWindow, ShardStatus, TransferStatus, with_copies
from raycache.ring.slots import SLOT_COUNT, bitmap_of
from raycache.ring.topology import ShardInfo, Topology, Transfer

IDS = ("s0", "s1", "s2")


def topology() -> Topology:
    """s0 leads the first 100 slots, s1 the rest; s1 and s2 follow."""
    owners = np.full((SLOT_COUNT, 2), 0, dtype=np.int16)
    owners[:100] = 0, 1
    owners[100:] = 1, 2
    shards = tuple(ShardInfo(name, "h", 1, "n", "m", "", "up", 1, 1) for name in IDS)
    moving = (Transfer("t1", "s0", "s1", bitmap_of(range(10))), Transfer("t2", "s0", "s2", bitmap_of([5])))
    return Topology("c", 3, shards, owners, transfers=moving, replication="quorum", draining=("s2",))


def peer(mutations: int, age_s: float, dropped: int = 0) -> dict[str, Any]:
    return {"lag_mutations": mutations, "lag_bytes": 10 * mutations, "lag_s": age_s, "hints_dropped": dropped}


def status() -> ClusterStatus:
    return ClusterStatus("c", 3, "lru", 1, tuple(ShardStatus(name, "up", "m", "h:1", 0) for name in IDS), ())


STATS: dict[str, dict[str, Any]] = {
    "s0": {"replication": {"has_lease": False, "peers": {"s1": peer(3, 0.5), "s2": peer(9, 0.1)},
                           "loss_window": {"mutations": 9, "bytes": 90, "age_s": 0.5}, "arrivals": {}}},
    "s1": {"replication": {"has_lease": True, "peers": {"s2": peer(1, 2.0, dropped=4)},
                           "loss_window": {"mutations": 1, "bytes": 10, "age_s": 2.0},
                           "arrivals": {"t1": {"state": "checking", "giver": "s0", "slots": 10, "entries": 7,
                                               "bytes": 70, "misses": 1, "mismatches": 0, "seconds": 1.5}}}},
    "s2": {},
}  # fmt: skip


def test_roles_lags_and_loss_windows() -> None:
    seen = with_copies(status(), topology(), STATS)
    assert (seen.copies, seen.replication) == (2, "quorum")
    first, second, third = seen.shards
    assert (first.replica_slots, second.replica_slots, third.replica_slots) == (0, 100, SLOT_COUNT - 100)
    assert (first.lag, second.lag) == (Lag(), Lag(3, 30, 0.5))
    assert third.lag == Lag(1, 10, 2.0, 4), "the one that has waited longest counts"
    assert (first.loss, third.loss) == (LossWindow(9, 90, 0.5), LossWindow())
    assert (first.has_lease, second.has_lease, third.has_lease) == (False, True, True)
    assert [shard.is_draining for shard in seen.shards] == [False, False, True]
    assert seen.loss == LossWindow(10, 100, 2.0)


def test_transfers_as_their_receivers_tell_them() -> None:
    seen = with_copies(status(), topology(), STATS)
    assert seen.transfers == (
        TransferStatus("t1", "s0", "s1", 10, "checking", 7, 70, 1, 1.5), TransferStatus("t2", "s0", "s2", 1),
    )  # fmt: skip


def test_one_copy_says_nothing() -> None:
    table = replace(topology(), owners=topology().owners[:, :1], transfers=(), draining=())
    seen = with_copies(status(), table, {"s0": {"entries": 1}})
    assert seen.copies == 1
    assert seen.shards == status().shards
