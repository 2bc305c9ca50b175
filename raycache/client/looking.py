"""One look at all shards of a cluster, for whoever shows them once a second.

What lives here: asking each shard for its statistics and its hot keys at the same time, without waiting for one that is
silent. What does not: what the figures mean (`stats`, `top`, `raycache.cluster_status`). Belongs to the handle's loop.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import msgpack

from raycache.client import frames, requests
from raycache.client.aio import AsyncCache
from raycache.client.requests import Question
from raycache.client.top import ClusterUse, ShardUse
from raycache.errors import RayCacheError
from raycache.ring.topology import Topology


@dataclass(frozen=True, slots=True)
class ShardsSeen:
    """What the shards have said."""

    topology: Topology
    """The newest that the handle knows."""
    stats: dict[str, dict[str, Any]]
    """Shard id -> its RC.STATS, of those that answered."""
    use: ClusterUse
    """Hot keys and functions, of those that answered."""


async def look_at_shards(cache: AsyncCache, hot_keys: int, limit_s: float) -> ShardsSeen:
    """Return what all shards of `cache` say of themselves within `limit_s` seconds; two short questions for each.

    Raises:
        RayCacheError: the cluster's topology is not known and cannot be found.
    """
    dispatcher = cache._dispatcher
    routes = await dispatcher.routes()
    stats = Question(frames.command(b"RC.STATS"), msgpack.unpackb)

    async def ask(shard_id: str) -> tuple[str, dict[str, Any], ShardUse] | None:
        try:
            async with asyncio.timeout(limit_s):
                (figures, _), (uses, _) = await asyncio.gather(
                    dispatcher.ask_each([shard_id], stats), dispatcher.ask_each([shard_id], requests.top(hot_keys)))
        except (TimeoutError, RayCacheError):
            return None
        return (shard_id, figures[0], uses[0]) if figures and uses else None

    answers = [one for one in await asyncio.gather(*map(ask, routes.shard_ids)) if one is not None]
    use = ClusterUse.of(cache.cluster, [use for _, _, use in answers], routes.shard_ids, hot_keys)
    return ShardsSeen(routes.topology, {shard_id: figures for shard_id, figures, _ in answers}, use)
