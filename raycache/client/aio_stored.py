"""What the HTTP door needs of an asyncio handle beside its public names.

What lives here: reading and writing values as they are stored, through a handle's own connections and retries. What
does not: the requests (`stored.py`). Belongs to the handle's loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from raycache.client import requests
from raycache.client.aio import AsyncCache
from raycache.client.arguments import TimeToLive
from raycache.client.batches import GetMany, SetMany
from raycache.client.info import Login
from raycache.client.stored import Condition, Stored, Written, compare_and_delete, put, stored
from raycache.ring.topology import Topology


class PayloadsOf(GetMany):
    """RC.MGET whose `values` are the payloads, None for a miss."""

    def __init__(self, keys: list[bytes]) -> None:
        super().__init__(keys)
        self.values = [None] * len(keys)

    def read(self, payloads: list[Any]) -> list[Any]:
        return payloads


class Entry(NamedTuple):
    """A value to store as it is."""

    key: bytes
    kind: int
    data: bytes
    ttl: TimeToLive


class StoreEntries(SetMany):
    """RC.MSET of values that are encoded already; all with one time to live."""

    def __init__(self, entries: Sequence[Entry], ttl: TimeToLive) -> None:
        super().__init__([entry.key for entry in entries], (), ttl)
        self._values = [(entry.kind, entry.data) for entry in entries]


async def read(cache: AsyncCache, key: bytes, version: int = 0) -> Stored | None:
    """Return what is stored under `key`, without the payload if it is at `version`; None if it is absent.

    Raises:
        RayCacheError: see `AsyncCache`.
    """
    return await cache._run(key, stored(key, version))


async def read_many(cache: AsyncCache, keys: Sequence[bytes]) -> list[bytes | None]:
    """Return the payload of each key, None where it is absent. One round trip to all shards at once.

    Raises:
        RayCacheError: see `AsyncCache`; one shard that fails fails the call.
    """
    batch = PayloadsOf(list(keys))
    await cache._dispatcher.run_batch(batch)
    return batch.values


async def write(cache: AsyncCache, key: bytes, kind: int, data: bytes | bytearray, ttl: TimeToLive = None,
                condition: Condition = "ANY") -> Written | None:
    """Store `data` of `kind`; return what that did, None if the condition does not hold.

    Large `data` is sent from where it is: it must not change any more.

    Raises:
        ValueError: `ttl` is zero or negative.
        RayCacheError: see `AsyncCache`.
    """
    return await cache._run(key, put(key, kind, data, ttl, condition))


async def write_many(cache: AsyncCache, entries: Sequence[Entry]) -> None:
    """Store all of `entries`; of two for one key the later counts. One round trip for each time to live among them.

    Raises:
        ValueError: a time to live is zero or negative.
        RayCacheError: see `AsyncCache`; some may have been stored.
    """
    last = {entry.key: entry for entry in entries}
    groups: dict[TimeToLive, list[Entry]] = {}
    for entry in last.values():
        groups.setdefault(entry.ttl, []).append(entry)
    for ttl, group in groups.items():
        await cache._dispatcher.run_batch(StoreEntries(group, ttl))


async def delete_at(cache: AsyncCache, key: bytes, version: int) -> bool:
    """Delete `key` if it is at `version`; return whether it was.

    Raises:
        RayCacheError: see `AsyncCache`.
    """
    return await cache._run(key, compare_and_delete(key, version))


async def unreachable_shards(cache: AsyncCache) -> list[str]:
    """Return the ids of the shards that do not answer.

    Raises:
        RayCacheError: nobody does, or not as a shard would.
    """
    routes = await cache._dispatcher.routes()
    _, silent = await cache._dispatcher.ask_each(routes.shard_ids, requests.topology(routes.epoch))
    return silent


def topology_of(cache: AsyncCache) -> Topology | None:
    """Return the newest topology that the handle knows."""
    routes = cache._dispatcher.known_routes
    return routes.topology if routes is not None else None


async def look_for_topology(cache: AsyncCache) -> None:
    """Let the handle look for a newer topology, at the shards or in Ray; one search at a time, for all who ask.

    Raises:
        RayCacheError: nobody could be asked.
    """
    await cache._dispatcher.refresh()


def login_of(cache: AsyncCache) -> Login:
    """Return how the handle's connections begin."""
    return cache._dispatcher.login


def secret_of(cache: AsyncCache) -> str | None:
    """Return the cluster's secret, as the handle shows it; None where it shows none, or a user's password."""
    login = cache._dispatcher.login
    return login.secret if login.user is None else None
