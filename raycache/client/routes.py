"""Which shard serves a key, in the form in which the handles ask it.

What lives here: a topology's primaries as plain lists, and the grouping of a batch by shard. What does not:
connections; each handle keeps its own list of them, in the order of `addresses`. Immutable, any thread.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from raycache.client.info import Address
from raycache.ring.slots import slots_of
from raycache.ring.topology import Topology

NOBODY: Final = -1


class Routes:
    """One topology, ready for look-ups."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self.epoch = topology.epoch
        self.addresses: list[Address] = [(shard.host, shard.port) for shard in topology.shards]
        self.shard_ids = [shard.id for shard in topology.shards]
        self._primaries = topology.owners[:, 0].astype(np.intp)
        self.owners: list[int] = self._primaries.tolist()
        """Slot -> index into `addresses`, or NOBODY."""

    def index_of(self, shard_id: str) -> int:
        """Return the index of a shard, NOBODY if it is gone."""
        return self.shard_ids.index(shard_id) if shard_id in self.shard_ids else NOBODY

    def serving(self) -> list[str]:
        """Return the ids of the shards that serve at least one slot."""
        return [self.shard_ids[index] for index in np.unique(self._primaries).tolist() if index != NOBODY]

    def group(self, keys: list[bytes]) -> list[tuple[int, list[int]]]:
        """Return (shard index, positions in `keys`) for each shard concerned, NOBODY first; positions ascend.

        Cost: about 0.2 us a key.
        """
        owners = self._primaries[slots_of(keys)]
        order = np.argsort(owners, kind="stable")
        ordered = owners[order]
        starts = np.flatnonzero(np.diff(ordered)) + 1
        parts = np.split(order, starts)
        return [(int(owners[part[0]]), part.tolist()) for part in parts if len(part)]


def newer(current: Routes | None, data: bytes | None) -> Routes | None:
    """Return the routes of the topology in `data` if it is newer than `current`, else None.

    Raises:
        ValueError: `data` is no topology.
    """
    if data is None:
        return None
    topology = Topology.from_bytes(data)
    return Routes(topology) if current is None or topology.epoch > current.epoch else None
