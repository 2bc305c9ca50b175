"""The handle for asyncio: `AsyncCache`.

What lives here: the public names and what each promises. What does not: how (`aio_dispatcher.py`), and the same names
for threads (`sync.py`). An `AsyncCache` belongs to the loop that uses it; in another loop it opens new connections.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from raycache.client import requests
from raycache.client.aio_dispatcher import AsyncDispatcher
from raycache.client.arguments import TimeToLive, encode_key, encode_keys, several
from raycache.client.batches import DeleteMany, GetMany, SetMany
from raycache.client.info import ConnectionInfo, Key, Versioned
from raycache.client.requests import MISSING
from raycache.client.scanning import SCAN_BATCH, check_batch, key_form
from raycache.client.settings import DEFAULT_CONNECT_TIMEOUT_S, DEFAULT_TIMEOUT_S, ClientSettings
from raycache.client.stats import ClusterStats

K = TypeVar("K", str, bytes)

Reduce = Callable[[], tuple[Callable[..., "AsyncCache"], tuple[Any, ...]]]


class AsyncCache:
    """A cluster as a mapping with lifetimes; `raycache.connect_async` makes one.

    Keys are str (their UTF-8) or bytes, never empty. Values come back equal and of the same type: see
    `raycache.codec.encode` for the types; what a Redis or HTTP client wrote reads back as bytes. A time to live is
    seconds (int or float, rounded up to milliseconds) or a timedelta, above zero; None = never expires.

    Each operation ends within `timeout_s`, whatever the cluster does, and may raise:

    - DeadlineExceededError: no reply in time; a write may or may not have happened.
    - ShardUnavailableError: the key's shard could not be reached. Reads and repeatable writes were tried again until
      the deadline; `add`, `compare_and_set`, `incr` and `decr` only while they surely had not happened.
    - ClusterLoadingError: no shard serves the key yet. OutOfMemoryError: the shard is full and may not evict.
    - UnsupportedTypeError, KeyTooLargeError, ValueTooLargeError: the argument cannot be stored.
    - AuthenticationError: the secret is wrong.

    One connection per shard serves the loop. What is asked within one turn of the loop leaves in one write per shard,
    and single `get`s in it as one command, so 1,000 tasks cost a handful of round trips. Operations of one task happen
    in its order. Cancelling a waiter disturbs no other; its write may or may not happen. It pickles, secret and all.

    Args:
        info: how to reach the cluster.
        timeout_s: limit of one operation, retries and all, in seconds. Operations on many keys have it for every
            8,192 of them, `scan` for every step and `clear` for every shard.
        connect_timeout_s: limit of one attempt to connect, in seconds.
        refresh_info: asks whoever knows (Ray) when no shard of `info` answers.
        reduce: what pickling returns instead of `info`, as `__reduce__` does.
    Raises:
        ValueError: a time is not positive, or `info.topology` is none.
    """

    def __init__(
        self,
        info: ConnectionInfo,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
        refresh_info: Callable[[], ConnectionInfo] | None = None,
        reduce: Reduce | None = None,
    ) -> None:
        self._settings = ClientSettings(timeout_s, connect_timeout_s)
        self._dispatcher = AsyncDispatcher(info, self._settings, refresh_info)
        self._run = self._dispatcher.run
        self._reduce = reduce
        self._cluster = info.cluster

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return self._cluster

    async def get(self, key: Key, default: Any = None) -> Any:
        """Return the value of `key`, or `default` if it is absent. A stored None is returned as None.

        Raises:
            RayCacheError: see the class.
        """
        value = await self._run(wire_key := encode_key(key), requests.get(wire_key))
        return default if value is MISSING else value

    async def get_many(self, keys: Iterable[K]) -> dict[K, Any]:
        """Return the values of those `keys` that are there, in their order. One round trip to all shards at once.

        Raises:
            RayCacheError: see the class; one shard that fails fails the call.
        """
        given = several(keys)
        batch = GetMany(encode_keys(given))
        await self._dispatcher.run_batch(batch)
        return {key: value for key, value in zip(given, batch.values, strict=True) if value is not MISSING}

    async def set(self, key: Key, value: Any, *, ttl: TimeToLive = None) -> None:
        """Store `value`, with this time to live and no other: None removes one that was there.

        Raises:
            ValueError: `ttl` is zero or negative.
            RayCacheError: see the class.
        """
        wire_key = encode_key(key)
        await self._run(wire_key, requests.store(wire_key, value, ttl))

    async def set_many(self, mapping: Mapping[K, Any], *, ttl: TimeToLive = None) -> None:
        """Store every value of `mapping`, as `set` would. Nothing is sent if one of them cannot be stored.

        Raises:
            ValueError: `ttl` is zero or negative.
            RayCacheError: see the class; some of the values may have been stored.
        """
        await self._dispatcher.run_batch(SetMany(encode_keys(list(mapping)), list(mapping.values()), ttl))

    async def add(self, key: Key, value: Any, *, ttl: TimeToLive = None) -> bool:
        """Store `value` only if `key` is absent; return whether it was stored. Errors as `set`."""
        wire_key = encode_key(key)
        return await self._run(wire_key, requests.store_if(b"NX", wire_key, value, ttl))

    async def replace(self, key: Key, value: Any, *, ttl: TimeToLive = None) -> bool:
        """Store `value` only if `key` is present; return whether it was stored. Errors as `set`."""
        wire_key = encode_key(key)
        return await self._run(wire_key, requests.store_if(b"XX", wire_key, value, ttl))

    async def delete(self, key: Key) -> bool:
        """Remove `key`; return whether it was there (False, too, where a retry found its own work done)."""
        wire_key = encode_key(key)
        return await self._run(wire_key, requests.delete(wire_key))

    async def delete_many(self, keys: Iterable[K]) -> int:
        """Remove `keys`; return how many were there. One round trip to all shards at once."""
        batch = DeleteMany(encode_keys(several(keys)))
        await self._dispatcher.run_batch(batch)
        return batch.deleted

    async def exists(self, key: Key) -> bool:
        """Return whether `key` is there, without reading its value."""
        wire_key = encode_key(key)
        return await self._run(wire_key, requests.exists(wire_key))

    async def incr(self, key: Key, delta: int = 1, *, ttl: TimeToLive = None) -> int:
        """Add `delta` to an int, atomically, and return the sum; an absent key counts as 0.

        Args:
            key: holds an int of 64 bits, or its decimal text.
            delta: an int of 64 bits; may be negative.
            ttl: counts where this creates the key; one that is there keeps its own.
        Raises:
            NotANumberError: the value or `delta` is no such int, or the sum would not be one. Nothing has changed.
            RayCacheError: see the class.
        """
        wire_key = encode_key(key)
        return await self._run(wire_key, requests.increment(wire_key, delta, ttl))

    async def decr(self, key: Key, delta: int = 1, *, ttl: TimeToLive = None) -> int:
        """Subtract `delta`; otherwise as `incr`."""
        wire_key = encode_key(key)
        return await self._run(wire_key, requests.decrement(wire_key, delta, ttl))

    async def touch(self, key: Key, ttl: TimeToLive) -> bool:
        """Give `key` this time to live from now on, None = never expires; return whether it is there.

        Raises:
            ValueError: `ttl` is zero or negative.
            RayCacheError: see the class.
        """
        wire_key = encode_key(key)
        return await self._run(wire_key, requests.touch(wire_key, ttl))

    async def ttl(self, key: Key) -> float | None:
        """Return the seconds that `key` has left, `math.inf` if it never expires, None if it is absent."""
        wire_key = encode_key(key)
        return await self._run(wire_key, requests.time_left(wire_key))

    async def get_with_version(self, key: Key) -> Versioned | None:
        """Return the value with the version for `compare_and_set`, or None if `key` is absent."""
        wire_key = encode_key(key)
        return await self._run(wire_key, requests.get_with_version(wire_key))

    async def compare_and_set(self, key: Key, value: Any, version: int, *, ttl: TimeToLive = None) -> bool:
        """Store `value` only if nothing has written `key` since `get_with_version` gave `version`.

        Args:
            key: any key.
            value: as for `set`.
            version: from `get_with_version`; 0 = only if `key` is absent.
            ttl: as for `set`.
        Returns: whether it was stored.
        Raises:
            NotANumberError: `version` is no version.
            RayCacheError: see the class; errors as `set`.
        """
        wire_key = encode_key(key)
        return await self._run(wire_key, requests.compare_and_set(wire_key, value, version, ttl))

    @overload
    def scan(self, prefix: str = "", *, batch: int = SCAN_BATCH) -> AsyncIterator[str]: ...

    @overload
    def scan(self, prefix: bytes, *, batch: int = SCAN_BATCH) -> AsyncIterator[bytes]: ...

    def scan(self, prefix: Key = "", *, batch: int = SCAN_BATCH) -> AsyncIterator[str] | AsyncIterator[bytes]:
        """Yield the keys that start with `prefix` (as it is, no pattern), shard by shard.

        A key that is there all the time is yielded at least once; one that comes, goes or moves meanwhile may be
        missed or yielded twice. Each step is short, so no shard stops for it.

        Args:
            prefix: str yields str (bytes that are no UTF-8 as surrogate escapes), bytes yields bytes.
            batch: keys to look at per step, 1 to 10,000.
        Raises:
            ValueError: `batch` is out of range.
            RayCacheError: see the class.
        """
        check_batch(batch)
        wire_prefix, form = key_form(prefix)
        return self._scan(wire_prefix, form, batch)

    async def _scan(self, prefix: bytes, form: Callable[[bytes], Any], batch: int) -> AsyncIterator[Any]:
        for shard_id in (await self._dispatcher.routes()).serving():
            cursor: int | None = None
            while cursor != 0:
                step = await self._dispatcher.run_on_shard(shard_id, requests.scan(cursor or 0, prefix, batch))
                if step is None:  # the shard has left, and its keys with it
                    break
                cursor, keys = step
                for key in keys:
                    yield form(key)

    async def clear(self) -> int:
        """Remove every key; return how many there were. Not atomic over shards.

        Raises:
            RayCacheError: see the class; some shards may have been cleared.
        """
        removed = 0
        for shard_id in (await self._dispatcher.routes()).serving():
            removed += await self._dispatcher.run_on_shard(shard_id, requests.clear()) or 0
        return removed

    async def stats(self) -> ClusterStats:
        """Return what the shards count; those that do not answer are named in `unreachable`.

        Raises:
            ShardUnavailableError: none of them answers.
            RayCacheError: see the class.
        """
        routes = await self._dispatcher.routes()
        answered, silent = await self._dispatcher.ask_each(routes.shard_ids, requests.stats())
        return ClusterStats.of(self._cluster, routes.epoch, answered, silent)

    async def close(self) -> None:
        """Close the connections. Idempotent; operations from now on raise CallerError."""
        await self._dispatcher.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __reduce__(self) -> tuple[Callable[..., AsyncCache], tuple[Any, ...]]:
        if self._reduce is not None:
            return self._reduce()
        return _rebuild, (self._dispatcher.info, self._settings.timeout_s, self._settings.connect_timeout_s)

    def __repr__(self) -> str:
        return f"<raycache.AsyncCache of {self._cluster!r}>"


def _rebuild(info: ConnectionInfo, timeout_s: float, connect_timeout_s: float) -> AsyncCache:
    return AsyncCache(info, timeout_s=timeout_s, connect_timeout_s=connect_timeout_s)
