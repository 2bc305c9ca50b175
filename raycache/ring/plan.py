"""What a change of shards moves: between two tables that exist, or before anybody makes it.

What lives here: carrying a table over to another set of shards, dealing with the table before in hand, and counting
the difference. What does not: the dealing itself (`raycache.ring.placement`). Pure functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from raycache.ring.columns import compacted, leveled
from raycache.ring.hashring import NOBODY
from raycache.ring.placement import PlacedShard, build_table
from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import Owners, ShardInfo, Topology


@dataclass(frozen=True, slots=True)
class MoveReport:
    """How two slot tables differ."""

    moves: dict[tuple[str | None, str | None], int]
    """Slots whose primary changed, per (from, to); None = nobody."""
    shares_before: dict[str, int]
    """Slots that each shard was primary of."""
    shares_after: dict[str, int]

    @property
    def moved(self) -> int:
        """Slots whose primary changed."""
        return sum(self.moves.values())

    @property
    def moved_share(self) -> float:
        """The same as a part of all slots, 0 to 1."""
        return self.moved / SLOT_COUNT


def move_report(old: Topology, new: Topology) -> MoveReport:
    """Return what moves from `old` to `new`."""
    before, after = _primary_ids(old), _primary_ids(new)
    moves = Counter((a, b) for a, b in zip(before, after, strict=True) if a != b)
    largest_first = sorted(moves.items(), key=lambda move: (-move[1], str(move[0])))
    return MoveReport(dict(largest_first), old.shares(), new.shares())


def reindexed(owners: Owners, old_ids: Sequence[str], new_ids: Sequence[str]) -> Owners:
    """Return `owners`, which holds indexes into `old_ids`, as indexes into `new_ids`; -1 where an owner is gone."""
    position = {shard_id: index for index, shard_id in enumerate(new_ids)}
    mapping = np.array([*(position.get(shard_id, NOBODY) for shard_id in old_ids), NOBODY], dtype=np.int16)
    return mapping[owners]


def dealt(
    shards: Sequence[ShardInfo], previous: Topology, *, copies: int, vnodes_per_shard: int, max_load: float
) -> Owners:
    """Return the owners of every slot among `shards`, moving no more from `previous` than must move.

    Who leads a slot is of no account in `previous`, only who has it: failovers and swaps change that all the time.
    """
    placed = [PlacedShard(shard.id, shard.machine, shard.zone, shard.weight) for shard in shards]
    before = reindexed(previous.owners, [shard.id for shard in previous.shards], [shard.id for shard in shards])
    if copies > 1:
        before = leveled(compacted(before, copies), len(shards), max_load)
    return build_table(placed, copies=copies, vnodes_per_shard=vnodes_per_shard, max_load=max_load, previous=before)


def adding(topology: Topology, shard: ShardInfo, *, vnodes_per_shard: int, max_load: float) -> MoveReport:
    """Return what adding `shard` would move."""
    return _changed(topology, (*topology.shards, shard), vnodes_per_shard, max_load)


def removing(topology: Topology, shard_id: str, *, vnodes_per_shard: int, max_load: float) -> MoveReport:
    """Return what removing the shard called `shard_id` would move.

    Raises:
        KeyError: there is none.
    """
    topology.shard(shard_id)
    return _changed(topology, tuple(s for s in topology.shards if s.id != shard_id), vnodes_per_shard, max_load)


def _changed(topology: Topology, shards: tuple[ShardInfo, ...], vnodes_per_shard: int, max_load: float) -> MoveReport:
    owners = dealt(shards, topology, copies=topology.copies, vnodes_per_shard=vnodes_per_shard, max_load=max_load)
    return move_report(topology, replace(topology, shards=shards, owners=owners))


def _primary_ids(topology: Topology) -> list[str | None]:
    names: list[str | None] = [*(shard.id for shard in topology.shards), None]
    return [names[index] for index in topology.owners[:, 0].tolist()]
