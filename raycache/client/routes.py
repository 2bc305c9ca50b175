"""Which shard serves a key, in the form in which the handles ask it.

What lives here: a topology's owners as plain lists, in the order in which a read may ask them, and the grouping of a
batch by shard. What does not: connections; each handle keeps its own list of them, in the order of `addresses`.
Immutable but for what it keeps of its own work; any thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from raycache.client.info import Address, Place
from raycache.client.wishes import ReadFrom
from raycache.ring.slots import slots_of
from raycache.ring.topology import ShardInfo, Topology

NOBODY: Final = -1

_KEPT_CHOICES: Final = 16
"""Choices kept for reuse. Each is 128 KiB; shards do not fail in many combinations."""

_NOT_UP: Final = 10
_NO_OWNER: Final = 100


class Choice:
    """One shard for each slot, NOBODY where there is none."""

    def __init__(self, shards: npt.NDArray[np.intp]) -> None:
        self.chosen = shards
        """Slot -> index of a shard, or NOBODY."""

    def group(self, keys: list[bytes]) -> list[tuple[int, list[int]]]:
        """Return (shard index, positions in `keys`) for each shard concerned, NOBODY first; positions ascend.

        Cost: about 0.1 us a key.
        """
        owners = self.chosen[slots_of(keys)].astype(np.int16)  # numpy sorts 16 bits by radix
        order: list[int] = np.argsort(owners, kind="stable").tolist()
        groups, start = [], 0
        for shard, count in enumerate(np.bincount(owners + 1).tolist(), NOBODY):
            if count:
                groups.append((shard, order[start : start + count]))
                start += count
        return groups


class Routes(Choice):
    """One topology, ready for look-ups; as a choice, its primaries."""

    def __init__(self, topology: Topology, place: Place | None = None) -> None:
        super().__init__(topology.owners[:, 0].astype(np.intp))
        self.topology = topology
        self.epoch = topology.epoch
        self.copies = topology.copies
        self.takes_writes_anywhere = topology.copies > 1 and topology.replication != "primary-replica"
        """Whether any owner of a slot takes writes, not the primary alone."""
        self.addresses: list[Address] = [(shard.host, shard.port) for shard in topology.shards]
        self.shard_ids = [shard.id for shard in topology.shards]
        self.owners: list[int] = self.chosen.tolist()
        """Slot -> index into `addresses`, or NOBODY."""
        self._place = place
        self._orders: dict[str, npt.NDArray[np.intp]] = {}
        self._choices: dict[tuple[str, frozenset[int]], Choice] = {}

    @property
    def primaries(self) -> npt.NDArray[np.intp]:
        """Slot -> index into `addresses`, or NOBODY."""
        return self.chosen

    def index_of(self, shard_id: str) -> int:
        """Return the index of a shard, NOBODY if it is gone."""
        return self.shard_ids.index(shard_id) if shard_id in self.shard_ids else NOBODY

    def index_of_living(self, shard_id: str) -> int:
        """Return the index of a shard, NOBODY if it is gone, or lost and others serve in its place."""
        return NOBODY if self.copies > 1 and self.is_down(shard_id) else self.index_of(shard_id)

    def serving(self) -> list[str]:
        """Return the ids of the shards that serve at least one slot."""
        return [self.shard_ids[index] for index in np.unique(self.chosen).tolist() if index != NOBODY]

    def is_retired(self, address: Address) -> bool:
        """Return whether the shard at `address` has left, or others have taken over all that it served."""
        if address not in self.addresses:
            return True
        index = self.addresses.index(address)
        return self.topology.shards[index].state == "down" or not bool((self.chosen == index).any())

    def living(self) -> list[str]:
        """Return the ids of the shards that are not known to be down."""
        return [shard.id for shard in self.topology.shards if shard.state != "down"]

    def readings_of_the_lost(self, written: Iterable[str]) -> list[tuple[int, int]]:
        """Return what stands in a token for those of `written` that are lost: the least reading, which all have.

        But whoever reads with the token while they are lost asks primaries, which have most of what those had.
        """
        return [(int(shard_id[1:]), 1) for shard_id in written if self.is_down(shard_id)]

    def is_down(self, shard_id: str) -> bool:
        """Return whether a shard is known to be down."""
        index = self.index_of(shard_id)
        return index != NOBODY and self.topology.shards[index].state == "down"

    def in_order(self, slot: int, read_from: ReadFrom) -> list[int]:
        """Return the owners of `slot` in the order in which a read should ask them."""
        row: list[int] = self._order(read_from)[slot].tolist()
        return [index for index in row if index != NOBODY]

    def around(self, read_from: ReadFrom, avoided: frozenset[int]) -> Choice:
        """Return the first owner of each slot in that order that is none of `avoided`."""
        found = self._choices.get((read_from, avoided))
        if found is None:
            if len(self._choices) >= _KEPT_CHOICES:
                self._choices = {}
            order = self._order(read_from)
            usable = (order != NOBODY) & ~np.isin(order, list(avoided))
            first = order[np.arange(len(order)), usable.argmax(axis=1)]
            found = Choice(np.where(usable.any(axis=1), first, NOBODY))
            self._choices[read_from, avoided] = found
        return found

    def _order(self, read_from: ReadFrom) -> npt.NDArray[np.intp]:
        """Return each slot's owners in the order in which a read should ask them. Cost: some ms, once."""
        order = self._orders.get(read_from)
        if order is None:
            owners = self.topology.owners.astype(np.intp)
            distance = np.array([*(self._distance(shard, read_from) for shard in self.topology.shards), _NO_OWNER])
            ranks = distance[owners]  # -1 picks the last one
            primary = {"primary": 0, "replica": 4, "nearest": 2}[read_from]
            down = ranks[:, 0] - ranks[:, 0] % _NOT_UP
            ranks[:, 0] = np.minimum(ranks[:, 0], primary + down) if read_from != "replica" else primary + down
            order = np.take_along_axis(owners, np.argsort(ranks, axis=1, kind="stable"), axis=1)
            self._orders[read_from] = order
        return order

    def _distance(self, shard: ShardInfo, read_from: ReadFrom) -> int:
        """Return how far a shard is as a replica: 0 on this node, 1 on this machine, 3 elsewhere; more if not up."""
        here, near = self._place, 3
        if here is not None and read_from == "nearest":
            near = 0 if shard.node_id == here.node_id else 1 if shard.machine == here.machine else 3
        return near if shard.state == "up" else near + _NOT_UP


def newer(current: Routes | None, data: bytes | None, place: Place | None = None) -> Routes | None:
    """Return the routes of the topology in `data` if it is newer than `current`, else None.

    Raises:
        ValueError: `data` is no topology.
    """
    if data is None:
        return None
    topology = Topology.from_bytes(data)
    return Routes(topology, place) if current is None or topology.epoch > current.epoch else None
