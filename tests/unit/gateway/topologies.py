"""Small topologies for the gateway's tests, whose owner of each key can be seen from the key."""

from __future__ import annotations

import numpy as np

from raycache.ring.slots import SLOT_COUNT, slot_of
from raycache.ring.topology import ShardInfo, Topology


def shard(number: int, *, port: int = 0, incarnation: int = 1) -> ShardInfo:
    """Return shard s<number>."""
    return ShardInfo(f"s{number}", "127.0.0.1", port or 7000 + number, "node", "machine", "", "up", 1, incarnation)


def topology(*shards: ShardInfo, epoch: int = 1, unserved: tuple[bytes, ...] = ()) -> Topology:
    """Return a topology in which slot n belongs to the shard at index n modulo their count."""
    owners = (np.arange(SLOT_COUNT) % len(shards)).reshape(-1, 1)
    for key in unserved:
        owners[slot_of(key)] = -1
    return Topology("test", epoch, shards, owners)


def keys_of(index: int, count: int, shards: int = 3) -> list[bytes]:
    """Return `count` keys whose slots belong to the shard at `index`."""
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        if slot_of(key := b"key:%d" % number) % shards == index:
            found.append(key)
        number += 1
    return found
