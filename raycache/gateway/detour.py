"""Where commands go while a slot's first owner does not answer: to its other owners.

What lives here: the topology as it looks without one shard, kept until the next one, and which calls may go there. What
does not: sending (`executor`), the connections that may read from replicas (`pool`). It belongs to the gateway's loop;
pure.

With a primary and replicas, reads may. A replica may lag behind, so a client could read there what it has overwritten
a moment ago: a read does not overtake a write of its own client. Where any owner takes writes, writes may go elsewhere,
too, once they surely do not happen here any more.
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


def takes_writes_anywhere(topology: Topology) -> bool:
    """Whether every owner of a slot takes writes."""
    return topology.replication != "primary-replica"


def may_detour(call: object, *, anything: bool) -> bool:
    """Whether `call` speaks of keys, has not been to another owner yet, and is a read unless `anything` may go."""
    return (
        isinstance(call, ShardCall) and not call.is_detour and not call.is_tried_once and call.shard_id is None
        and call.command.first_key > 0 and (anything or not call.command.is_write()) and not call.errand.client.stranded
    )


def readable(waiting: Sequence[object]) -> list[int]:
    """Return the places in `waiting`, calls under way in their order, of the reads that no write of their client
    precedes."""
    places = []
    writers: set[int] = set()
    for place, call in enumerate(waiting):
        errand = getattr(call, "errand", None)
        if errand is None:
            continue
        client = id(errand.client)
        if client not in writers and may_detour(call, anything=False):
            places.append(place)
        elif not isinstance(call, ShardCall) or call.command.is_write():
            writers.add(client)
    return places
