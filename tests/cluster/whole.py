"""Looking whether a cluster has got over what was done to it."""

from __future__ import annotations

from collections.abc import Callable

import raycache


def is_whole(name: str, shards: int = 3) -> Callable[[], bool]:
    """Whether every shard is up, leads slots, and nothing is on its way."""

    def look() -> bool:
        topology = raycache.topology(name)
        shares = topology.shares()
        return (len(shares) == shards and all(shares.values()) and not topology.transfers
                and all(shard.state == "up" for shard in topology.shards))

    return look
