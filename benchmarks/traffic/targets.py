"""The two clients that a generator loads a cluster with: raycache's asyncio handle, and redis-py's.

What lives here: their calls under common names. Both run with their own defaults.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
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
    """A raycache cluster, reached through several handles in turns: as from as many programs."""

    def __init__(self, caches: Sequence[Any], options: Mapping[str, Mapping[str, Any]]) -> None:
        self._caches = caches
        self._turns = itertools.cycle(caches)
        self._read, self._write = dict(options.get("read", {})), dict(options.get("write", {}))
        self.write_many = caches[0].set_many

    async def read(self, key: str) -> bytes | None:
        found: bytes | None = await next(self._turns).get(key, **self._read)
        return found

    async def write(self, key: str, value: bytes) -> object:
        return await next(self._turns).set(key, value, **self._write)

    async def read_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = await self._caches[0].get_many(list(keys))
        return found

    async def close(self) -> None:
        for cache in self._caches:
            await cache.close()


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
        secret = load.secret or None
        caches = [await raycache.connect_async(load.cluster, address=load.addresses[0], secret=secret)
                  for _ in range(load.handles)]
        return RaycacheTarget(caches, load.options)
    from redis.asyncio.cluster import ClusterNode, RedisCluster

    nodes = [ClusterNode(*address.split(":")) for address in load.addresses]
    # One connection an operation: without more of them than its default of 100, an open loop fails at once.
    return RedisTarget(RedisCluster(startup_nodes=nodes, max_connections=10_000))
