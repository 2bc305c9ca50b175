"""A handle with a store behind it, for asyncio: `AsyncBackedCache`.

What lives here: the twin of `backed`: the same names, awaitable. The store is called in threads, so the loop goes on.
It belongs to the loop of its cache.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from raycache.client.aio import AsyncCache
from raycache.client.arguments import TimeToLive, encode_key, encode_keys, several
from raycache.client.info import Key
from raycache.stores import wire
from raycache.stores.config import Attachment
from raycache.stores.opened import Opened
from raycache.stores.plans import Call, Look, Plan, Plans, Run, Sleep
from raycache.stores.protocol import BackingStore
from raycache.stores.reading import is_something, load_options, named, value_of
from raycache.stores.wire import DeadLetter

K = TypeVar("K", str, bytes)

log = logging.getLogger(__name__)


class AsyncBackedCache:
    """A cache and the database behind it as one; `raycache.backed` makes one.

    Keys are text. What is written here goes to the database in the way the store is attached; what is written to the
    cache alone does not. Both see the same entries.

    Errors are those of `AsyncCache`, and

    - StoreUnavailableError: the database cannot be used. Nothing was changed, or the text says "may or may not".
    - StoreRefusedError: it will never take this. Nothing was changed.
    - CacheNotWrittenError (write-through): the database has the write, and the cache has not.
    - QueueFullError (write-behind): too much waits for the database. QueueClosedError: its writer is being stopped.
      Nothing was changed.

    A write whose caller is cancelled goes on in the background: a thread that writes to a database cannot be stopped,
    and nobody may read the old value into the cache before it is done. `close` waits for it.

    Args:
        cache: the handle; closing it is its owner's business.
        attachment: which store, and how it is read and written.
        store: the store itself, where it is open already.
        options: for loading, those of `AsyncCache.get_or_load` but `cache_if`.
    """

    def __init__(self, cache: AsyncCache, attachment: Attachment, store: BackingStore | None = None,
                 **options: Any) -> None:
        self._cache = cache
        self._attachment = attachment
        self._given = store
        self._given_options = options
        self._options = load_options(options)
        self._opened = Opened(attachment, store)
        self._dispatcher = cache._dispatcher
        self._plans = Plans(attachment, self._opened, cache._settings.timeout_s)
        self._writes: set[asyncio.Task[None]] = set()

    @property
    def cache(self) -> AsyncCache:
        """The handle on the cache alone."""
        return self._cache

    @property
    def attachment(self) -> Attachment:
        """How the store is attached."""
        return self._attachment

    async def get(self, key: Key, default: Any = None) -> Any:
        """Return the value of `key`: the cache's, else the database's, which is then in the cache, too; else `default`.

        Of all who miss one key at once, one asks the database.
        """
        if not self._attachment.read:
            return await self._cache.get(key, default)
        wire_key = encode_key(key)

        async def load() -> Any:
            return value_of(await self._do(self._plans.loading([wire_key])), wire_key)

        value = await self._cache.get_or_load(key, load, **self._options)
        return value if is_something(value) else default

    async def get_many(self, keys: Iterable[K]) -> dict[K, Any]:
        """Return the values of those `keys` that cache or database have; misses are one question to the database."""
        given = several(keys)
        if not self._attachment.read:
            return await self._cache.get_many(given)

        async def load(missing: list[K]) -> dict[K, Any]:
            return named(await self._do(self._plans.loading(encode_keys(missing))), missing)

        return await self._cache.get_or_load_many(given, load, **self._options)

    async def set(self, key: Key, value: Any, *, ttl: TimeToLive = None) -> None:
        """Store `value`; `ttl` is how long the cache keeps it."""
        await self._write(self._plans.storing({encode_key(key): value}, ttl))

    async def set_many(self, mapping: Mapping[K, Any], *, ttl: TimeToLive = None) -> None:
        """Store every value of `mapping`: write-through in one transaction, write-behind shard by shard."""
        keys = encode_keys(list(mapping))
        await self._write(self._plans.storing(dict(zip(keys, mapping.values(), strict=True)), ttl))

    async def delete(self, key: Key) -> None:
        """Delete `key` from both."""
        await self._write(self._plans.deleting([encode_key(key)]))

    async def delete_many(self, keys: Iterable[K]) -> None:
        """Delete `keys` from both."""
        await self._write(self._plans.deleting(encode_keys(several(keys))))

    async def dead_letters(self) -> list[DeadLetter]:
        """Return the writes that the database has refused for good, oldest first; at most 4,096 of each shard.

        Raises:
            RayCacheError: a shard did not answer.
        """
        found: list[DeadLetter] = []
        for shard_id in (await self._dispatcher.routes()).shard_ids:
            letters = await self._dispatcher.run_on_shard(shard_id, wire.dead_letters(self._attachment.name))
            found += letters or []
        return sorted(found, key=lambda letter: letter.queued_ms)

    async def revive(self, letters: Iterable[DeadLetter]) -> int:
        """Let dead letters wait for the database again; return of how many. What was written since is not undone."""
        return await self._handle(b"RC.REVIVE", letters)

    async def discard(self, letters: Iterable[DeadLetter]) -> int:
        """Forget dead letters; return how many were there."""
        return await self._handle(b"RC.DISCARD", letters)

    async def _handle(self, command: bytes, letters: Iterable[DeadLetter]) -> int:
        batch = wire.LetterMany(command, [letter.record for letter in letters])
        await self._dispatcher.run_batch(batch)
        return batch.count

    async def close(self) -> None:
        """Close the database's connections, once the writes that are under way are done; the cache's stay."""
        await asyncio.gather(*self._writes, return_exceptions=True)
        await asyncio.to_thread(self._opened.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        await self.close()

    def __reduce__(self) -> tuple[Callable[..., AsyncBackedCache], tuple[Any, ...]]:
        return _again, (self._cache, self._attachment, self._given, self._given_options)

    def __repr__(self) -> str:
        return f"<raycache.AsyncBackedCache {self._attachment.name!r} of {self._cache.cluster!r}>"

    async def _write(self, plan: Plan) -> None:
        """Do a plan to its end, whatever becomes of whoever waits for it."""
        task = asyncio.get_running_loop().create_task(self._do(plan))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_tell_failure)
            raise

    async def _do(self, plan: Plan) -> Any:
        """Do the steps of a plan; return its result."""
        send: Callable[[Any], Any] = plan.send
        answer: Any = None
        while True:
            try:
                step = send(answer)
            except StopIteration as stop:
                return stop.value
            send = plan.send
            try:
                match step:
                    case Run(batch):
                        await self._dispatcher.run_batch(batch)
                        answer = None
                    case Call(function):
                        answer = await asyncio.to_thread(function)
                    case Look():
                        answer = await self._dispatcher.routes()
                    case Sleep(seconds):
                        await asyncio.sleep(seconds)
                        answer = time.monotonic()
            except BaseException as error:
                send, answer = plan.throw, error


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.warning("a write whose caller had been cancelled has failed: %s: %s", type(error).__name__, error)


def _again(cache: AsyncCache, attachment: Attachment, store: BackingStore | None,
           options: dict[str, Any]) -> AsyncBackedCache:
    return AsyncBackedCache(cache, attachment, store, **options)
