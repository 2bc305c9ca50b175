"""A handle with a store behind it, for threads: `BackedCache`.

What lives here: the public names and doing the steps of a plan (`plans`). What does not: the same for asyncio
(`backed_aio`). Any thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from raycache.client.arguments import TimeToLive, encode_key, encode_keys, several
from raycache.client.info import Key
from raycache.client.sync import Cache
from raycache.stores import wire
from raycache.stores.config import Attachment
from raycache.stores.opened import Opened
from raycache.stores.plans import Call, Look, Plan, Plans, Run, Sleep
from raycache.stores.protocol import BackingStore
from raycache.stores.reading import is_something, load_options, named, value_of
from raycache.stores.wire import DeadLetter

K = TypeVar("K", str, bytes)


class BackedCache:
    """A cache and the database behind it as one; `raycache.backed` makes one.

    Keys are text. What is written here goes to the database in the way the store is attached; what is written to the
    cache alone does not. Both see the same entries.

    Errors are those of `Cache`, and

    - StoreUnavailableError: the database cannot be used. Nothing was changed, or the text says "may or may not".
    - StoreRefusedError: it will never take this. Nothing was changed.
    - CacheNotWrittenError (write-through): the database has the write, and the cache has not.
    - QueueFullError (write-behind): too much waits for the database. QueueClosedError: its writer is being stopped.
      Nothing was changed.

    Args:
        cache: the handle; closing it is its owner's business.
        attachment: which store, and how it is read and written.
        store: the store itself, where it is open already.
        options: for loading, those of `Cache.get_or_load` but `cache_if`.
    """

    def __init__(self, cache: Cache, attachment: Attachment, store: BackingStore | None = None,
                 **options: Any) -> None:
        self._cache = cache
        self._attachment = attachment
        self._given = store
        self._given_options = options
        self._options = load_options(options)
        self._opened = Opened(attachment, store)
        self._dispatcher = cache._dispatcher
        self._plans = Plans(attachment, self._opened, cache._settings.timeout_s)

    @property
    def cache(self) -> Cache:
        """The handle on the cache alone."""
        return self._cache

    @property
    def attachment(self) -> Attachment:
        """How the store is attached."""
        return self._attachment

    def get(self, key: Key, default: Any = None) -> Any:
        """Return the value of `key`: the cache's, else the database's, which is then in the cache, too; else `default`.

        Of all who miss one key at once, one asks the database.
        """
        if not self._attachment.read:
            return self._cache.get(key, default)
        wire_key = encode_key(key)

        def load() -> Any:
            return value_of(self._do(self._plans.loading([wire_key])), wire_key)

        value = self._cache.get_or_load(key, load, **self._options)
        return value if is_something(value) else default

    def get_many(self, keys: Iterable[K]) -> dict[K, Any]:
        """Return the values of those `keys` that cache or database have; misses are one question to the database."""
        given = several(keys)
        if not self._attachment.read:
            return self._cache.get_many(given)

        def load(missing: list[K]) -> dict[K, Any]:
            return named(self._do(self._plans.loading(encode_keys(missing))), missing)

        return self._cache.get_or_load_many(given, load, **self._options)

    def set(self, key: Key, value: Any, *, ttl: TimeToLive = None) -> None:
        """Store `value`; `ttl` is how long the cache keeps it."""
        self._do(self._plans.storing({encode_key(key): value}, ttl))

    def set_many(self, mapping: Mapping[K, Any], *, ttl: TimeToLive = None) -> None:
        """Store every value of `mapping`: write-through in one transaction, write-behind shard by shard."""
        keys = encode_keys(list(mapping))
        self._do(self._plans.storing(dict(zip(keys, mapping.values(), strict=True)), ttl))

    def delete(self, key: Key) -> None:
        """Delete `key` from both."""
        self._do(self._plans.deleting([encode_key(key)]))

    def delete_many(self, keys: Iterable[K]) -> None:
        """Delete `keys` from both."""
        self._do(self._plans.deleting(encode_keys(several(keys))))

    def dead_letters(self) -> list[DeadLetter]:
        """Return the writes that the database has refused for good, oldest first; at most 4,096 of each shard.

        Raises:
            RayCacheError: a shard did not answer.
        """
        found: list[DeadLetter] = []
        for shard_id in self._dispatcher.routes().shard_ids:
            letters = self._dispatcher.run_on_shard(shard_id, wire.dead_letters(self._attachment.name))
            found += letters or []
        return sorted(found, key=lambda letter: letter.queued_ms)

    def revive(self, letters: Iterable[DeadLetter]) -> int:
        """Let dead letters wait for the database again; return of how many. What was written since is not undone."""
        return self._handle(b"RC.REVIVE", letters)

    def discard(self, letters: Iterable[DeadLetter]) -> int:
        """Forget dead letters; return how many were there."""
        return self._handle(b"RC.DISCARD", letters)

    def _handle(self, command: bytes, letters: Iterable[DeadLetter]) -> int:
        batch = wire.LetterMany(command, [letter.record for letter in letters])
        self._dispatcher.run_batch(batch)
        return batch.count

    def close(self) -> None:
        """Close the database's connections; the cache's stay."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., BackedCache], tuple[Any, ...]]:
        return _again, (self._cache, self._attachment, self._given, self._given_options)

    def __repr__(self) -> str:
        return f"<raycache.BackedCache {self._attachment.name!r} of {self._cache.cluster!r}>"

    def _do(self, plan: Plan) -> Any:
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
                        self._dispatcher.run_batch(batch)
                        answer = None
                    case Call(function):
                        answer = function()
                    case Look():
                        answer = self._dispatcher.routes()
                    case Sleep(seconds):
                        self._dispatcher.pause(seconds)
                        answer = time.monotonic()
            except BaseException as error:
                send, answer = plan.throw, error


def _again(cache: Cache, attachment: Attachment, store: BackingStore | None, options: dict[str, Any]) -> BackedCache:
    return BackedCache(cache, attachment, store, **options)
