"""The next topology in the making: the newest one's table and transfers, to be changed by the rules one after another.

What lives here: the working copy, with shards as indexes and transfers as masks. What does not: the rules (`promoting`,
`transferring`). Lives for one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raycache.ring.columns import Mask, compacted
from raycache.ring.plan import reindexed
from raycache.ring.slots import SLOT_COUNT, bitmap_of, mask_of_bitmap
from raycache.ring.topology import ShardInfo, Topology, Transfer
from raycache.router.records import ShardRecord


@dataclass(slots=True)
class Flow:
    """One transfer."""

    id: str
    giver: int
    """-1: it is no member any more."""
    receiver: int
    slots: Mask


class Draft:
    """What the next topology will say of slots."""

    __slots__ = ("_old", "epoch", "flows", "ids", "is_alive", "is_behind", "is_gone", "owners")

    def __init__(self, old: Topology, shards: tuple[ShardInfo, ...], records: Mapping[str, ShardRecord], copies: int,
                 epoch: int) -> None:
        """Begin with what `old` says, carried over to `shards`."""
        self._old = old
        self.epoch = epoch
        self.ids = [shard.id for shard in shards]
        self.owners = compacted(reindexed(old.owners, [shard.id for shard in old.shards], self.ids), copies)
        members = [records[shard_id] for shard_id in self.ids]
        self.is_alive: Mask = np.array([one.is_up for one in members], dtype=np.bool_)
        self.is_gone: Mask = np.array([one.is_dead or one.is_blank for one in members], dtype=np.bool_)
        """What these had they have no more."""
        self.is_behind: Mask = np.array([one.is_blank or one.is_stale for one in members], dtype=np.bool_)
        """These lack something of every slot that they own."""
        index = {shard_id: number for number, shard_id in enumerate(self.ids)}
        self.flows = [
            Flow(one.id, index.get(one.giver, -1), index[one.receiver], mask_of_bitmap(one.slots))
            for one in old.transfers if one.receiver in index
        ]

    def arriving(self) -> Mask:
        """Return for each owner of each slot whether the slot is still on its way to it."""
        result = np.zeros(self.owners.shape, dtype=np.bool_)
        for flow in self.flows:
            result |= flow.slots[:, None] & (self.owners == flow.receiver)
        return result

    def complete(self) -> Mask:
        """Return for each owner of each slot whether it is up and has all of it."""
        return self.of_owners(self.is_alive & ~self.is_behind) & ~self.arriving()

    def standing(self) -> npt.NDArray[np.int64]:
        """Return for each owner of each slot how much of it that one has, up or not: 3 = all of it, 2 = all but what it
        missed while it was lost, 1 = what has come so far, 0 = nothing."""
        result = np.where(self.of_owners(self.is_behind), 2, 3)
        result[self.arriving()] = 1
        result[self.of_owners(self.is_gone) | (self.owners < 0)] = 0
        return result

    def of_owners(self, of_shards: Mask) -> Mask:
        """Return for each owner of each slot what `of_shards` says of that shard; False where there is none."""
        return np.append(of_shards, False)[self.owners]

    def in_flow(self) -> Mask:
        """Return for each slot whether a transfer has it."""
        result = np.zeros(SLOT_COUNT, dtype=np.bool_)
        for flow in self.flows:
            result |= flow.slots
        return result

    def add(self, giver: int, receiver: int, slots: Mask) -> None:
        """Let `receiver`, who owns them, get `slots` from `giver`."""
        if not slots.any():
            return
        flow_id = f"{self.epoch}-{self.ids[giver]}-{self.ids[receiver]}"
        for flow in self.flows:
            if flow.id == flow_id:
                flow.slots = flow.slots | slots
                return
        self.flows.append(Flow(flow_id, giver, receiver, slots.copy()))

    def add_from(self, givers: npt.NDArray[np.int64], receiver: int) -> None:
        """Let `receiver` get each slot from `givers[slot]`; -1 = not at all."""
        for giver in np.unique(givers[givers >= 0]).tolist():
            self.add(giver, receiver, givers == giver)

    def drop_unowned(self) -> None:
        """End what is on its way to a shard that owns it no more."""
        for flow in self.flows:
            flow.slots = flow.slots & (self.owners == flow.receiver).any(axis=1)
        self.flows = [flow for flow in self.flows if flow.slots.any() and flow.giver >= 0]

    def transfers(self) -> tuple[Transfer, ...]:
        """Return the transfers as the topology has them."""
        return tuple(Transfer(flow.id, self.ids[flow.giver], self.ids[flow.receiver],
                              bitmap_of(np.flatnonzero(flow.slots))) for flow in self.flows)

    @property
    def is_news(self) -> bool:
        """Whether it says anything of slots that the old one did not."""
        old = self._old
        before = compacted(reindexed(old.owners, [shard.id for shard in old.shards], self.ids), self.owners.shape[1])
        return not np.array_equal(self.owners, before) or self.transfers() != old.transfers
