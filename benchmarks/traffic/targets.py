"""The two clients that a generator loads a cluster with: raycache's asyncio handle, and redis-py's.

What lives here: their calls under common names. Both run with their own defaults.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import raycache
from benchmarks.traffic.plan import Load


class Target(Protocol):
    """One cluster. Every call may raise the client's own errors."""

    async def read(self, key: str) -> bytes | None:
        """Return the value of `key`, None if it is absent."""

    async def write(self, key: str, value: bytes) -> object:
        """Store `value`; returns when it is acknowledged."""

    async def read_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Return the values of those keys that are there."""

    async def write_many(self, values: Mapping[str, bytes]) -> object:
        """Store all of `values`."""

    async def close(self) -> object:
        """Close the connections."""


class RaycacheTarget:
    """A raycache cluster."""

    def __init__(self, cache: Any, options: Mapping[str, Mapping[str, Any]]) -> None:
        self._cache = cache
        self._read, self._write = dict(options.get("read", {})), dict(options.get("write", {}))
        self.write_many = cache.set_many
        self.close = cache.close

    async def read(self, key: str) -> bytes | None:
        found: bytes | None = await self._cache.get(key, **self._read)
        return found

    async def write(self, key: str, value: bytes) -> object:
        return await self._cache.set(key, value, **self._write)

    async def read_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = await self._cache.get_many(list(keys))
        return found


class RedisTarget:
    """A Redis Cluster."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.read, self.write, self.close = client.get, client.set, client.aclose

    async def read_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        names = list(keys)
        found = await self._client.mget_nonatomic(names)
        return {name: value for name, value in zip(names, found, strict=True) if value is not None}

    async def write_many(self, values: Mapping[str, bytes]) -> object:
        return await self._client.mset_nonatomic(values)


async def open_target(load: Load) -> Target:
    """Connect to what `load` names."""
    if load.target == "raycache":
        cache = await raycache.connect_async(load.cluster, address=load.addresses[0], secret=load.secret or None)
        return RaycacheTarget(cache, load.options)
    from redis.asyncio.cluster import ClusterNode, RedisCluster

    nodes = [ClusterNode(*address.split(":")) for address in load.addresses]
    # One connection an operation: without more of them than its default of 100, an open loop fails at once.
    return RedisTarget(RedisCluster(startup_nodes=nodes, max_connections=10_000))
