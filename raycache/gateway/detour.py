"""Where reads go while a primary does not answer: the same slots, served by their replicas.

What lives here: the topology as it looks without one shard, kept until the next one, and which calls may be read there.
What does not: sending (`executor`), the connections that may read from replicas (`pool`). It belongs to the gateway's
loop; pure.

A replica may lag behind, so a client could read there what it has overwritten a moment ago. So a call takes the detour
only if none of its client's writes is stranded or under way ahead of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from raycache.gateway.call import ShardCall
from raycache.ring.topology import Topology


class Detours:
    """What each topology looks like without one of its shards."""

    def __init__(self) -> None:
        self._topology: Topology | None = None
        self._by_shard: dict[str, Topology] = {}

    def around(self, shard_id: str, topology: Topology) -> Topology:
        """Return `topology` with each slot of `shard_id` at its first other owner that is up. Cost: 1 ms, once."""
        if topology is not self._topology:
            self._topology = topology
            self._by_shard.clear()
        detour = self._by_shard.get(shard_id)
        if detour is None:
            detour = self._by_shard[shard_id] = _without(shard_id, topology)
        return detour


def _without(shard_id: str, topology: Topology) -> Topology:
    usable = np.array([shard.state == "up" and shard.id != shard_id for shard in topology.shards] + [False])
    owners = topology.owners
    candidates = usable[owners]  # -1 picks the last one, which is nobody
    first = candidates.argmax(axis=1)
    mine = owners[:, 0] == next((at for at, shard in enumerate(topology.shards) if shard.id == shard_id), -2)
    primaries = np.where(mine & candidates.any(axis=1), owners[np.arange(len(owners)), first], owners[:, 0])
    return replace(topology, owners=primaries.reshape(-1, 1), transfers=())


def may_detour(call: object) -> bool:
    """Whether `call` is a read of keys that has not been to a replica yet."""
    return (
        isinstance(call, ShardCall) and not call.is_detour and not call.is_tried_once and call.shard_id is None
        and call.command.first_key > 0 and not call.command.is_write() and not call.errand.client.stranded
    )


def readable(waiting: Sequence[object]) -> list[int]:
    """Return the places in `waiting`, calls under way in their order, of those that may be asked elsewhere instead."""
    places = []
    writers: set[int] = set()
    for place, call in enumerate(waiting):
        errand = getattr(call, "errand", None)
        if errand is None:
            continue
        client = id(errand.client)
        if client not in writers and may_detour(call):
            places.append(place)
        elif not isinstance(call, ShardCall) or call.command.is_write():
            writers.add(client)
    return places
