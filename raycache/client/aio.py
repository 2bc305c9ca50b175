"""The handle for asyncio: `AsyncCache`.

What lives here: the public names and what each promises. What does not: how (`aio_dispatcher.py`), and the same names
for threads (`sync.py`). An `AsyncCache` belongs to the loop that uses it; in another loop it opens new connections.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack, overload

from raycache.client import explain, requests
from raycache.client.aio_hosting import AsyncBound, AsyncHost
from raycache.client.aio_loads import AsyncLoadingCache
from raycache.client.aio_near import async_dispatcher_for
from raycache.client.aio_plain import NOT_BEGUN
from raycache.client.aio_through import AsyncThrough
from raycache.client.arguments import TimeToLive, encode_key, encode_keys, several
from raycache.client.batches import DeleteMany, GetMany, SetMany
from raycache.client.curve import ClusterCurve
from raycache.client.explain import Explanation
from raycache.client.guarded import Guarded
from raycache.client.info import ConnectionInfo, Key, Place, Versioned
from raycache.client.large import ObjectStore
from raycache.client.large_aio import AsyncLargeValues
from raycache.client.near_parts import DEFAULT_MAX_STALENESS_S, NearSettings
from raycache.client.requests import MISSING, Request
from raycache.client.results import Result, result_or_guarded
from raycache.client.scanning import SCAN_BATCH, Walk, check_batch, key_form
from raycache.client.settings import DEFAULT_CONNECT_TIMEOUT_S, DEFAULT_HEDGE_S, DEFAULT_TIMEOUT_S, ClientSettings
from raycache.client.stats import ClusterStats
from raycache.client.token import NOTHING, Token
from raycache.client.top import ClusterUse, check_count
from raycache.client.unsealing import pickles_of
from raycache.client.wished import AcknowledgedDeleteMany, AcknowledgedSetMany
from raycache.client.wishes import ReadFrom, ReadWishes, write_options
from raycache.codec import encode
from raycache.config import POLICIES
from raycache.functions.aio import AsyncCachedFunction
from raycache.functions.recipe import CachedSettings
from raycache.loading.guarding import still_good

K = TypeVar("K", str, bytes)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Reduce = Callable[[], tuple[Callable[..., "AsyncCache"], tuple[Any, ...]]]


class AsyncCache(AsyncLoadingCache):
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
    - NotEnoughReplicasError: too few copies are alive or have answered in time, where that was asked for.

    Where slots have several copies, reads may say which copy answers (`read_from`), what it must know (`token`) and, in
    quorum mode, how many are asked (`r`, 0 = as the cluster was started); writes, how many replicas (`acks`) or, in
    quorum mode, copies (`w`) must have them before they count. A write that raises NotEnoughReplicasError has perhaps
    happened. If the copy asked is lost, silent for `hedge_s`, behind the token, or not complete, reads go to the
    others; writes wait until another copy has taken over. With one copy all of this means nothing.

    One connection per shard serves the loop. What is asked within one turn of the loop leaves in one write per shard,
    and single `get`s in it as one command, so 1,000 tasks cost a handful of round trips. Operations of one task happen
    in its order. Cancelling a waiter disturbs no other; its write may or may not happen. It pickles, secret and all.

    Args:
        info: how to reach the cluster.
        timeout_s: limit of one operation, retries and all, in seconds. Operations on many keys have it for every
            8,192 of them, `scan` for every step and `clear` for every shard.
        connect_timeout_s: limit of one attempt to connect, in seconds; 0.3 at most where slots have several copies.
        read_from: which copy reads ask first: "primary", "replica" or "nearest" (on this process's Ray node, else on
            its machine, else the primary). What is not from the primary may be older than what was written last.
        hedge_s: how long a read may stay unanswered before another copy is asked, in seconds.
        place: where this process runs, for "nearest"; None: not known, so that it means "primary".
        near: how much memory values may take that are kept in this process, in bytes or as text ("64MiB"); None: none
            are. `get`, `get_many`, `get_or_load` and `get_or_load_many` without further wishes look there first;
            docs/near.md says what may be old.
        max_staleness_s: how old a value that is near may be, beyond what it was when it was read, where its shard gives
            no sign of life, in seconds, 0.02 or more.
        refresh_info: asks whoever knows (Ray) when no shard of `info` answers.
        reduce: what pickling returns instead of `info`, as `__reduce__` does.
        allow_pickle: store values of other types as signed pickle, and load such values: see `raycache.connect`.
        objects: Ray's object store, for large values (docs/large.md); None: they go through the socket.
        compress_from: values of so many bytes are compressed where that pays; None: none are.
    Raises:
        ValueError: a time is not positive, `read_from` is none of the three, or not "primary" with `near`, `near` is no
            size, `info.topology` is no topology, or `allow_pickle` without the cluster's secret.
    """

    def __init__(
        self,
        info: ConnectionInfo,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
        read_from: ReadFrom = "primary",
        hedge_s: float = DEFAULT_HEDGE_S,
        place: Place | None = None,
        near: int | str | None = None,
        max_staleness_s: float = DEFAULT_MAX_STALENESS_S,
        refresh_info: Callable[[], ConnectionInfo] | None = None,
        reduce: Reduce | None = None,
        allow_pickle: bool = False,
        objects: ObjectStore | None = None,
        compress_from: int | None = None,
    ) -> None:
        self._settings = ClientSettings(timeout_s, connect_timeout_s, hedge_s, place)
        self._wishes = ReadWishes(read_from)
        self._is_plain = self._wishes.is_plain
        settings = NearSettings.of(near, max_staleness_s, read_from, whole=objects is None)
        self._dispatcher, self._near = async_dispatcher_for(settings, info, self._settings, refresh_info)
        self._run = self._dispatcher.run
        self._plain = self._dispatcher.plain
        self._begin = self._plain.begin
        dispatcher = self._dispatcher
        self._pickles = pickles_of(info, lambda: dispatcher.info.secret, allow_pickle)
        self._encode: requests.Encode = encode if self._pickles is None else self._pickles.encode
        large = AsyncLargeValues(self._dispatcher, objects, timeout_s, compress_from, self._encode)
        self._large = None if objects is None and compress_from is None else large
        self._through = AsyncThrough(self._dispatcher, self._settings, info.cluster, large, self._pickles)
        self._host = AsyncHost(self, self._dispatcher, self._through)
        self._through.near = self._near
        self._reduce = reduce
        self._compress_from = compress_from
        self._cluster = info.cluster

    @property
    def cluster(self) -> str:
        """The cluster's name."""
        return self._cluster

    async def get(
        self,
        key: Key,
        default: Any = None,
        *,
        read_from: ReadFrom | None = None,
        token: Token | None = None,
        r: int = 0,
    ) -> Any:
        """Return the value of `key`, or `default` if it is absent. A stored None is returned as None.

        Args:
            key: any key.
            default: what to return for an absent key.
            read_from: which copy to ask first; None: as this handle was made.
            token: from `token`; the value is at least as new as what that handle had written.
            r: in quorum mode: how many copies to ask; 0 = as the cluster was started.
        Raises:
            ValueError: `read_from` or `r` is out of range.
            RayCacheError: see the class.
        """
        wire_key = encode_key(key)
        try:
            if self._is_plain and read_from is None and token is None and not r:
                if self._near is None:
                    began_s, seen = monotonic(), self._dispatcher.refreshes
                    asked = self._begin(wire_key)
                    reply = await asked if asked is not None else NOT_BEGUN
                    if type(reply) is bytes or reply is None:
                        value = requests.payload(reply)
                    else:
                        value = await self._plain.finish(wire_key, reply, began_s, seen)
                else:
                    value = await self._near.get(wire_key)
            else:
                value = await self._read(wire_key, requests.get(wire_key), read_from, token, r)
        except Guarded as guarded:
            value = await self._through.again(wire_key, guarded, MISSING)
        return default if value is MISSING else value

    async def get_many(
        self, keys: Iterable[K], *, read_from: ReadFrom | None = None, token: Token | None = None, r: int = 0
    ) -> dict[K, Any]:
        """Return the values of those `keys` that are there, in their order. One round trip to all shards at once.

        `read_from`, `token` and `r` are those of `get`.

        Raises:
            RayCacheError: see the class; one shard that fails fails the call.
        """
        given = several(keys)
        is_plain = self._is_plain and read_from is None and token is None and not r
        if is_plain and self._near is not None:
            wire_keys = encode_keys(given)
            values, is_guarded = await self._near.get_many(wire_keys)
            if is_guarded:
                await self._through.settle(wire_keys, values, MISSING)
            return {key: value for key, value in zip(given, values, strict=True) if value is not MISSING}
        batch = GetMany(encode_keys(given))
        if is_plain:
            await self._dispatcher.run_batch(batch)
        else:
            await self._dispatcher.read_values(batch, self._wishes.but(read_from, token, r))
        if batch.is_guarded:
            await self._through.settle(batch.keys, batch.values, MISSING)
        return {key: value for key, value in zip(given, batch.values, strict=True) if value is not MISSING}

    async def get_result(
        self, key: Key, *, read_from: ReadFrom | None = None, token: Token | None = None, r: int = 0
    ) -> Result | None:
        """Return the value with its version, the copy that it comes from and its age, or None if `key` is absent.

        Arguments and errors as for `get`.
        """
        wire_key = encode_key(key)
        request = requests.get_result(wire_key, self._settings.timeout_s)
        return await self._read_whole(wire_key, request, read_from, token, r)

    async def get_results(
        self, keys: Iterable[K], *, read_from: ReadFrom | None = None, token: Token | None = None, r: int = 0
    ) -> dict[K, Result]:
        """Return what `get_result` does for those `keys` that are there. One round trip to all shards at once.

        Arguments and errors as for `get`; one shard that fails fails the call.
        """
        given = several(keys)
        wire_keys = encode_keys(given)
        rows = await self._dispatcher.read_many(wire_keys, self._wishes.but(read_from, token, r))
        results = [result_or_guarded(row) for row in rows]
        await self._through.settle(wire_keys, results, None)
        return {key: result for key, result in zip(given, results, strict=True) if result is not None}

    async def set(self, key: Key, value: Any, *, ttl: TimeToLive = None, acks: int = 0, w: int = 0) -> None:
        """Store `value`, with this time to live and no other: None removes one that was there.

        Args:
            key: any key.
            value: of a type that `raycache.codec.encode` knows.
            ttl: seconds, or a timedelta; None = never expires.
            acks: how many replicas must have it before it counts, 0 to 5.
            w: in quorum mode: how many copies must have it; 0 = as the cluster was started.
        Raises:
            ValueError: `ttl` is zero or negative, `acks` or `w` is out of range.
            RayCacheError: see the class.
        """
        wire_key = encode_key(key)
        if self._large is not None:
            await self._store(wire_key, value, acks, w, lambda one: requests.store(wire_key, one, ttl, self._encode))
            return
        request = requests.store(wire_key, value, ttl, self._encode)
        await self._run(wire_key, request if not acks and not w else self._acknowledged(request, acks, w))

    async def set_many(
        self, mapping: Mapping[K, Any], *, ttl: TimeToLive = None, acks: int = 0, w: int = 0
    ) -> None:
        """Store every value of `mapping`, as `set` would. Nothing is sent if one of them cannot be stored.

        Raises:
            ValueError: `ttl` is zero or negative, `acks` or `w` is out of range.
            RayCacheError: see the class; some of the values may have been stored.
        """
        keys, values = encode_keys(list(mapping)), list(mapping.values())

        async def send(ready: list[Any]) -> None:
            if not acks and not w:
                await self._dispatcher.run_batch(SetMany(keys, ready, ttl, self._encode))
            else:
                options = write_options(acks, w, self._settings.timeout_s)
                await self._dispatcher.run_batch(AcknowledgedSetMany(keys, ready, ttl, options, self._encode))

        await (send(values) if self._large is None else self._large.write_all(keys, values, send))

    async def add(
        self, key: Key, value: Any, *, ttl: TimeToLive = None, acks: int = 0, w: int = 0
    ) -> bool:
        """Store `value` only if `key` is absent; return whether it was stored. Errors as `set`."""
        wire_key = encode_key(key)
        return await self._store(
            wire_key, value, acks, w, lambda one: requests.store_if(b"NX", wire_key, one, ttl, self._encode)
        )

    async def replace(
        self, key: Key, value: Any, *, ttl: TimeToLive = None, acks: int = 0, w: int = 0
    ) -> bool:
        """Store `value` only if `key` is present; return whether it was stored. Errors as `set`."""
        wire_key = encode_key(key)
        return await self._store(
            wire_key, value, acks, w, lambda one: requests.store_if(b"XX", wire_key, one, ttl, self._encode)
        )

    async def delete(self, key: Key, *, acks: int = 0, w: int = 0) -> bool:
        """Remove `key`; return whether it was there (False, too, where a retry found its own work done)."""
        wire_key = encode_key(key)
        return await self._run(wire_key, self._acknowledged(requests.delete(wire_key), acks, w))

    async def delete_many(self, keys: Iterable[K], *, acks: int = 0, w: int = 0) -> int:
        """Remove `keys`; return how many were there. One round trip to all shards at once."""
        given = encode_keys(several(keys))
        if not acks and not w:
            batch = DeleteMany(given)
        else:
            batch = AcknowledgedDeleteMany(given, write_options(acks, w, self._settings.timeout_s))
        await self._dispatcher.run_batch(batch)
        return batch.deleted

    async def exists(
        self, key: Key, *, read_from: ReadFrom | None = None, token: Token | None = None, r: int = 0
    ) -> bool:
        """Return whether `key` is there. Arguments and errors as for `get`; another copy is asked with the value."""
        wire_key = encode_key(key)
        return await self._read(wire_key, requests.exists(wire_key), read_from, token, r)

    async def incr(
        self, key: Key, delta: int = 1, *, ttl: TimeToLive = None, acks: int = 0, w: int = 0
    ) -> int:
        """Add `delta` to an int, atomically, and return the sum; an absent key counts as 0.

        Args:
            key: holds an int of 64 bits, or its decimal text.
            delta: an int of 64 bits; may be negative.
            ttl: counts where this creates the key; one that is there keeps its own.
            acks, w: as for `set`.
        Raises:
            NotANumberError: the value or `delta` is no such int, or the sum would not be one. Nothing has changed.
            RayCacheError: see the class.
        """
        wire_key = encode_key(key)
        return await self._run(wire_key, self._acknowledged(requests.increment(wire_key, delta, ttl), acks, w))

    async def decr(
        self, key: Key, delta: int = 1, *, ttl: TimeToLive = None, acks: int = 0, w: int = 0
    ) -> int:
        """Subtract `delta`; otherwise as `incr`."""
        wire_key = encode_key(key)
        return await self._run(wire_key, self._acknowledged(requests.decrement(wire_key, delta, ttl), acks, w))

    async def touch(self, key: Key, ttl: TimeToLive, *, acks: int = 0, w: int = 0) -> bool:
        """Give `key` this time to live from now on, None = never expires; return whether it is there.

        Raises:
            ValueError: `ttl` is zero or negative.
            RayCacheError: see the class.
        """
        wire_key = encode_key(key)
        return await self._run(wire_key, self._acknowledged(requests.touch(wire_key, ttl), acks, w))

    async def ttl(self, key: Key) -> float | None:
        """Return the seconds that `key` has left, `math.inf` if it never expires, None if it is absent."""
        wire_key = encode_key(key)
        return await self._run(wire_key, requests.time_left(wire_key))

    async def get_with_version(
        self, key: Key, *, read_from: ReadFrom | None = None, token: Token | None = None, r: int = 0
    ) -> Versioned | None:
        """Return the value with the version for `compare_and_set`, or None if `key` is absent. Otherwise as `get`."""
        wire_key = encode_key(key)
        return await self._read_whole(wire_key, requests.get_with_version(wire_key), read_from, token, r)

    async def compare_and_set(
        self, key: Key, value: Any, version: int, *, ttl: TimeToLive = None, acks: int = 0, w: int = 0
    ) -> bool:
        """Store `value` only if nothing has written `key` since `get_with_version` or `get_result` gave `version`.

        Args:
            key: any key.
            value: as for `set`.
            version: from `get_with_version` or `get_result`; 0 = only if `key` is absent.
            ttl, acks, w: as for `set`.
        Returns: whether it was stored.
        Raises:
            NotANumberError: `version` is no version.
            RayCacheError: see the class; errors as `set`.
        """
        wire_key = encode_key(key)
        return await self._store(
            wire_key, value, acks, w, lambda one: requests.compare_and_set(wire_key, one, version, ttl, self._encode)
        )

    async def token(self) -> Token:
        """Return what stands for everything that this handle has written, and for the tokens that it uses.

        A read elsewhere with this token (`get(..., token=t)`, or every read after `use(t)`) sees all of it. Costs a
        question to each shard that was written to, to all if none was; with one copy there is nothing to ask.

        Raises:
            RayCacheError: a shard that is not known to be lost has not answered; see the class.
        """
        return Token.of(await self._dispatcher.clocks()) | self._wishes.token

    def use(self, token: Token | None) -> None:
        """Read nothing from now on that is older than `token`, in this handle and what it pickles into.

        Tokens add up; None forgets them all.

        Raises:
            TypeError: it is no token.
        """
        read_from, known = self._wishes.read_from, self._wishes.token if token is not None else NOTHING
        self._wishes = ReadWishes(read_from, known).but(None, token, 0)
        self._is_plain = self._wishes.is_plain
        self._through.near = self._near if self._is_plain else None

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
        walk = Walk()
        routes = await self._dispatcher.routes()
        while (shard_id := walk.next_shard(routes)) is not None:
            cursor: int | None = None
            while cursor != 0:
                step = await self._dispatcher.run_on_shard(shard_id, requests.scan(cursor or 0, prefix, batch))
                if step is None:  # the shard has left, and its keys with it
                    break
                cursor, keys = step
                for key in walk.wanted(keys, routes):
                    yield form(key)
            routes = await self._dispatcher.routes_after(shard_id)
            walk.done_with(shard_id, routes)

    async def clear(self) -> int:
        """Remove every key; return how many there were. Not atomic over shards.

        Where any owner takes writes, a copy that is cleared by another shard first is not counted.

        Raises:
            RayCacheError: see the class; some shards may have been cleared.
        """
        removed = 0
        routes = await self._dispatcher.routes()
        for shard_id in routes.serving():
            removed += await self._dispatcher.run_on_shard(shard_id, requests.clear()) or 0
        return removed

    async def _read(
        self, key: bytes, request: Request[T], read_from: ReadFrom | None, token: Token | None, r: int
    ) -> T:
        return await self._dispatcher.read(key, request, self._wishes.but(read_from, token, r))

    async def _read_whole(
        self, key: bytes, request: Request[T], read_from: ReadFrom | None, token: Token | None, r: int
    ) -> T | None:
        """Read a value with what is known of it; None also where it does not count any more."""
        try:
            return await self._read(key, request, read_from, token, r)
        except Guarded as guarded:
            found: T | None = await self._through.again(key, guarded, None)
            return found

    async def _store(self, key: bytes, value: Any, acks: int, w: int, make: Callable[[Any], Request[T]]) -> T:
        """Run the write that `make` makes of `value`, or of what stands for a large one."""
        if self._large is None:
            return await self._run(key, self._acknowledged(make(value), acks, w))
        return await self._large.write(key, value, lambda one: self._run(key, self._acknowledged(make(one), acks, w)))

    def _acknowledged(self, request: Request[T], acks: int, w: int) -> Request[T]:
        return requests.acknowledged(request, acks, w, self._settings.timeout_s)

    async def stats(self) -> ClusterStats:
        """Return what the shards count, and what this handle's near cache does; shards that do not answer are named in
        `unreachable`.

        Raises:
            ShardUnavailableError: none of them answers.
            RayCacheError: see the class.
        """
        routes = await self._dispatcher.routes()
        answered, _ = await self._dispatcher.ask_each(routes.shard_ids, requests.stats())
        near = None if self._near is None else self._near.stats()
        return ClusterStats.of(self._cluster, routes.epoch, answered, routes.shard_ids, near)

    def cached(
        self, **settings: Unpack[CachedSettings]
    ) -> Callable[[Callable[P, Awaitable[R]]], AsyncCachedFunction[P, R]]:
        """Return a decorator: results of the function are kept here, and the function runs once for all who miss one.

            @cache.cached(ttl=300, tags=("users",))
            async def user(user_id: int) -> dict[str, Any]: ...

        The decorated function takes and returns what the function does, and has `key`, `invalidate`, `invalidate_all`,
        `refresh`, `cache_info` and `uncached`; see `raycache.AsyncCachedFunction`, docs/cached.md. It pickles into
        tasks.

        Args:
            settings: see `raycache.functions.recipe.CachedSettings` for `key`, `ignore`, `version`, `name`, `tags` and
                `on_cache_error`, and `raycache.loading.LoadOptions` for the others, such as `ttl`.
        Raises:
            CallerError: the function is no `async def`.
            TypeError, ValueError: it is a generator or none, or a setting is wrong.
        """
        return lambda function: AsyncCachedFunction(function, AsyncBound(self), settings)

    async def top(self, count: int = 20) -> ClusterUse:
        """Return the `count` hottest keys (1 to 128), and what decorated functions have counted (see `cached`).

        Shares and rates are estimates from samples of the last 10 to 20 seconds; `raycache.usage.looks` says how far
        they are true.

        Raises:
            ValueError: `count` is out of range.
            RayCacheError: see the class. Shards that do not answer are named in `unreachable`.
        """
        check_count(count)
        asked = (await self._dispatcher.routes()).shard_ids
        answered, _ = await self._dispatcher.ask_each(asked, requests.top(count))
        return ClusterUse.of(self._cluster, answered, asked, count)

    async def explain(self, key: Key) -> Explanation:
        """Return what the cluster knows of one key: where it lives, its copies, version, time to live and size, and why
        it was missed last (never written, expired, evicted, deleted, moved, or invalidated by a tag).

        Every shard is asked, because a former owner may know best. Each remembers causes in a table of fixed size, so
        what left long ago may be forgotten: `known_s` says how far back it would know. Asking is no use of the key, but
        that the beginning of a value that `get_or_load` has stored is read.

        Raises:
            KeyTooLargeError: the key cannot be stored anyway.
            ShardUnavailableError: no shard answers. Those that do not are named in `unreachable`.
            RayCacheError: see the class.
        """
        wire = encode_key(key)
        routes = await self._dispatcher.routes()
        answered, _ = await self._dispatcher.ask_each(routes.shard_ids, explain.question(wire))
        found = explain.of_answers(routes.topology, wire, answered)
        if not explain.needs_header(found):
            return found
        header = await self._dispatcher.run(wire, explain.header(wire, found))
        is_good = header is None or (await self._through.run(still_good([(wire, header)])))[0]
        return found if is_good else explain.invalidated(found)

    async def miss_ratio_curve(self) -> ClusterCurve:
        """Return what hit ratio other amounts of memory would have given, from samples; see docs/policies.md.

        Raises:
            RayCacheError: see the class. Shards that do not answer are named in `unreachable`.
        """
        asked = (await self._dispatcher.routes()).shard_ids
        answered, _ = await self._dispatcher.ask_each(asked, requests.curve())
        return ClusterCurve.of(self._cluster, answered, asked)

    async def set_policy(self, policy: str) -> list[str]:
        """Let every shard that runs serve under another eviction policy, without a pause; return their ids.

        Args:
            policy: one of "lru", "lfu", "fifo", "sieve", "s3-fifo", "arc", "w-tinylfu", "auto". The others can only be
                chosen when a cluster starts.
        Raises:
            ValueError: there is no such policy.
            CommandError: a shard refuses: its policy cannot be changed, or is being changed.
            RayCacheError: see the class. Shards asked before have changed.
        """
        if policy not in POLICIES:
            raise ValueError(f"no policy {policy!r}; choose one of {', '.join(POLICIES)}")
        asked = (await self._dispatcher.routes()).shard_ids
        for shard_id in asked:
            await self._dispatcher.run_on_shard(shard_id, requests.policy(policy))
        return list(asked)

    async def close(self) -> None:
        """Close the connections. Idempotent; operations from now on raise CallerError."""
        await self._through.close()
        await self._host.close()
        if self._near is not None:
            self._near.close()
        await self._dispatcher.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __reduce__(self) -> tuple[Callable[..., AsyncCache], tuple[Any, ...]]:
        if self._reduce is not None:
            again = self._reduce()
        else:
            settings = self._settings
            again = _rebuild, (self._dispatcher.info, settings.timeout_s, settings.connect_timeout_s,
                               self._wishes.read_from, settings.hedge_s, self._pickles is not None,
                               None if self._near is None else self._near.settings, self._compress_from)
        return (_using, (*again, self._wishes.token)) if self._wishes.token else again

    def __repr__(self) -> str:
        return f"<raycache.AsyncCache of {self._cluster!r}>"


def _rebuild(
    info: ConnectionInfo, timeout_s: float, connect_timeout_s: float, read_from: ReadFrom, hedge_s: float,
    allow_pickle: bool = False,
    near: NearSettings | None = None,
    compress_from: int | None = None,
) -> AsyncCache:
    # Without the place: it is that of another process.
    return AsyncCache(
        info, timeout_s=timeout_s, connect_timeout_s=connect_timeout_s, read_from=read_from, hedge_s=hedge_s,
        allow_pickle=allow_pickle,
        near=None if near is None else near.capacity_bytes,
        max_staleness_s=DEFAULT_MAX_STALENESS_S if near is None else near.max_staleness_s,
        compress_from=compress_from,
    )


def _using(make: Callable[..., AsyncCache], arguments: tuple[Any, ...], token: Token) -> AsyncCache:
    cache = make(*arguments)
    cache.use(token)
    return cache
