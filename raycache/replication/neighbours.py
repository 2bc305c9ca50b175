"""Whom a shard shares slots with, and whom it took them from, read off slot tables.

What lives here: functions from topologies to what replication needs, such as where the writes of a slot go. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from raycache.replication.outbox import Outbox
from raycache.ring.slots import SLOT_COUNT, mask_of_bitmap
from raycache.ring.topology import Topology

Boxes = tuple[Outbox, ...]


@dataclass(slots=True)
class Neighbours:
    """One shard's view of the slot table."""

    holds: bytes = bytes(SLOT_COUNT)
    """By slot: 1 = this shard is an owner."""
    leads: bytes = bytes(SLOT_COUNT)
    """By slot: 1 = this shard is its primary."""
    boxes: list[Boxes] = field(default_factory=lambda: [()] * SLOT_COUNT)
    """By slot: the outboxes that a write here goes to."""
    shared: dict[str, list[int]] = field(default_factory=dict)
    """The slots that another shard holds, too; ascending."""
    compared: dict[str, list[int]] = field(default_factory=dict)
    """Those that are compared with that shard's: where it is the primary, or, where all owners take writes, all."""
    alone: int = 0
    """How many slots this shard is the only owner of, in a cluster that has copies: others were drained or removed."""


def neighbours_of(me: str, topology: Topology, mode: str, outbox: Callable[[str], Outbox]) -> Neighbours:
    """Return what `topology` means for the shard `me`; `outbox` gives the outbox of a peer."""
    ids = [shard.id for shard in topology.shards]
    mine = ids.index(me) if me in ids else -2
    owners = topology.owners
    is_owner = topology.held_by(mine)
    leads = owners[:, 0] == mine
    found = Neighbours(holds=is_owner.astype(np.uint8).tobytes(), leads=leads.astype(np.uint8).tobytes())
    if owners.shape[1] == 1:
        return found
    found.alone = int((is_owner & ((owners >= 0).sum(axis=1) == 1)).sum())
    is_writer = leads if mode == "primary-replica" else is_owner
    # Slots with the same owners share a number: sorting those is six times as fast as sorting rows.
    numbers = np.zeros(SLOT_COUNT, dtype=np.int64)
    for column in owners.T.astype(np.int64):
        numbers = numbers * (len(ids) + 1) + column + 1
    _, firsts, inverse = np.unique(np.where(is_owner, numbers, 0), return_index=True, return_inverse=True)
    choices = np.empty(len(firsts) + 1, dtype=object)
    choices[-1] = ()
    for number, first in enumerate(firsts.tolist()):
        row = owners[first].tolist() if is_owner[first] else []
        peers = [ids[index] for index in row if index not in (-1, mine)]
        choices[number] = tuple(outbox(peer) for peer in peers)
        slots = np.flatnonzero(inverse == number).tolist() if peers else []
        for peer in peers:
            found.shared.setdefault(peer, []).extend(slots)
        if row and row[0] not in (-1, mine):
            found.compared.setdefault(ids[row[0]], []).extend(slots)
    for slots in [*found.shared.values(), *found.compared.values()]:
        slots.sort()
    if mode != "primary-replica":
        found.compared = found.shared
    found.boxes = choices[np.where(is_writer, inverse, -1)].tolist()
    return found


def inherited(me: str, before: Topology, after: Topology) -> set[str]:
    """Return the shards that led slots `before` which `me` leads `after` without a transfer from them."""
    ids = [shard.id for shard in after.shards]
    if me not in ids or before.copies == 1:
        return set()
    is_new = after.owners[:, 0] == ids.index(me)
    for transfer in after.transfers:
        if transfer.receiver == me:
            is_new &= ~mask_of_bitmap(transfer.slots)
    leaders = np.unique(before.owners[is_new, 0]).tolist()
    return {before.shards[index].id for index in leaders if index >= 0} - {me}
