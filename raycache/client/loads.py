"""Loading and invalidating, for threads: the part of `Cache` that keeps a database and the cache together.

What lives here: the public names and what each promises. What does not: how (`through.py`, `raycache.loading`), and the
same names for asyncio (`aio_loads.py`). Any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, Unpack

from raycache.client import leasing
from raycache.client.arguments import TimeToLive, encode_key, encode_keys, several, ttl_ms
from raycache.client.batches import DeleteMany
from raycache.client.dispatcher import Dispatcher
from raycache.client.info import Key
from raycache.client.invalidation import DELETE_BATCH, check_pause, new_generations, prefix_bytes, prefixes_bytes
from raycache.client.requests import scan
from raycache.client.scanning import Walk, check_batch
from raycache.client.settings import ClientSettings
from raycache.client.through import Through
from raycache.codec import Sealed
from raycache.codec.pickles import loaded
from raycache.loading.basics import Source
from raycache.loading.found import IS_DUE, NOT_PLAIN, value_at_once
from raycache.loading.many import Many
from raycache.loading.options import LoadOptions, LoadSettings, options_of
from raycache.loading.updating import KEEP_EXPIRY, update

K = TypeVar("K", str, bytes)
V = TypeVar("V")

Load = Callable[[], V]
LoadMany = Callable[[list[K]], Mapping[K, V]]
Change = Callable[[Any], V]


class LoadingCache:
    """What `Cache` does beside single operations; see there for keys, values and errors."""

    _dispatcher: Dispatcher
    _settings: ClientSettings
    _through: Through

    def get_or_load(
        self, key: Key, load: Load[V], *, options: LoadOptions | None = None, **settings: Unpack[LoadSettings]
    ) -> V:
        """Return the value of `key`; if there is none, call `load`, store what it returns, and return that.

        Of all callers in all processes who miss one key at once, one loads; the others wait for it at the key's shard.
        A loader that raises, is killed, or takes longer than `lease_s` frees the key. What was loaded is not stored if
        the key was written, deleted or invalidated meanwhile. A stored None is a hit.

        Args:
            key: any key.
            load: returns the value, of a type that `set` takes. It may use this handle, but not ask for `key` itself.
            options, settings: see `raycache.loading.LoadOptions`; settings change single ones of `options`.
        Raises:
            LoadFailedError: the loader that was waited for has failed (with `on_load_error="raise"`).
            LoadTimeoutError: somebody else was still loading when `wait_s` was over.
            ReentrantLoadError: this is called by a load of the same key.
            ValueError, TypeError: a setting is wrong.
            RayCacheError: see the class. If the value was loaded but cannot be stored, it is returned all the same.
            Exception: whatever `load` raises.
        """
        wanted = options_of(options, settings)
        wire_key = encode_key(key)
        through = self._through
        value: V
        near = through.near
        if near is not None:
            kept = near.at_once(wire_key, wanted, through.engine.rng)
            if kept is NOT_PLAIN or kept is IS_DUE:
                known = near.known(wire_key) if kept is IS_DUE else None
                value = through.run(through.engine.obtain(key, wire_key, Source(load), wanted, known,
                                                      is_read=known is not None, is_due=known is not None))
                return value
            if wanted.observer is not None:
                wanted.observer.hit(key)
            value = kept
            return value
        if wanted.tags:
            value = through.run(through.engine.obtain(key, wire_key, Source(load), wanted))
            return value
        aged = through.read(wire_key)
        try:
            found: Any = NOT_PLAIN if aged is None else value_at_once(aged, wanted, through.engine.rng)
        except Sealed as sealed:
            found = loaded(sealed, through.engine.pickles)
        if found is NOT_PLAIN or found is IS_DUE:
            value = through.run(through.engine.obtain(key, wire_key, Source(load), wanted, aged, is_read=True,
                                                  is_due=found is IS_DUE))
        else:
            if wanted.observer is not None:
                wanted.observer.hit(key)
            value = found
        return value

    def get_or_load_many(
        self, keys: Iterable[K], load_many: LoadMany[K, V], *, options: LoadOptions | None = None,
        **settings: Unpack[LoadSettings],
    ) -> dict[K, V]:
        """Return the values of `keys`, in their order; what is missing is loaded with one call of `load_many`.

        Keys that somebody else is loading are waited for after that; should nobody bring one, `load_many` is called
        again, for that key. Otherwise as `get_or_load`.

        Args:
            keys: any keys; each counts once.
            load_many: gets those that are missing, returns a mapping; a key that is not in there has no value.
            options, settings: as for `get_or_load`; one set for all keys.
        Raises:
            See `get_or_load`. Nothing is returned if `load_many` fails; what it had loaded before stays stored.
        """
        wanted = options_of(options, settings)
        given = several(keys)
        names = dict(zip(encode_keys(given), given, strict=True))
        many = Many(self._through.engine, names, load_many, wanted)
        values = self._through.run(many.obtain())
        return {names[key]: values[key] for key in names if key in values}

    def update(
        self, key: Key, fn: Change[V], *, default: Any = None, ttl: TimeToLive | Literal["keep"] = "keep",
        timeout_s: float | None = None,
    ) -> V:
        """Replace the value of `key` by `fn` of it, and return that; nobody's write in between is lost.

        `fn` is called anew after each conflict, so it should only compute. Atomicity is that of `compare_and_set`.

        Args:
            key: any key.
            fn: from the present value to the new one.
            default: what `fn` gets where `key` is absent.
            ttl: the new lifetime; "keep": what it has, for ever where `key` is absent.
            timeout_s: for how long to try, in seconds; None: the handle's `timeout_s`.
        Raises:
            DeadlineExceededError: others were quicker until then; nothing was written.
            ShardUnavailableError: a write was sent and not answered: it may or may not have happened.
            RayCacheError: see the class.
            Exception: whatever `fn` raises; nothing was written.
        """
        px = KEEP_EXPIRY if ttl == "keep" else ttl_ms(ttl)
        limit_s = self._settings.timeout_s if timeout_s is None else timeout_s
        value: V = self._through.run(update(self._through.engine, key, encode_key(key), fn, default, px, limit_s))
        return value

    def delete_prefix(self, prefix: Key, *, batch: int = DELETE_BATCH, pause_s: float = 0.0) -> int:
        """Remove all keys that start with `prefix`; return how many there were.

        First nothing that is being loaded under the prefix may be stored any more. Then the keys are found and removed
        in steps, so no shard stops for it. Keys that are written meanwhile may be removed or stay.

        Args:
            prefix: as it is, no pattern; not empty.
            batch: keys to look at per step, 1 to 10,000.
            pause_s: how long to wait between steps, in seconds; 0 = not at all.
        Raises:
            ValueError: `prefix` is empty, `batch` or `pause_s` out of range.
            RayCacheError: see the class; some keys may have been removed.
        """
        check_batch(batch)
        check_pause(pause_s)
        wire_prefix = prefix_bytes(prefix)
        self._void(wire_prefix)
        walk, deleted = Walk(), 0
        routes = self._dispatcher.routes()
        while (shard_id := walk.next_shard(routes)) is not None:
            cursor: int | None = None
            while cursor != 0:
                step = self._dispatcher.run_on_shard(shard_id, scan(cursor or 0, wire_prefix, batch))
                if step is None:
                    break
                cursor, found = step
                if found:
                    deletion = DeleteMany(found)
                    self._dispatcher.run_batch(deletion)
                    deleted += deletion.deleted
                if pause_s:
                    self._dispatcher.pause(pause_s)
            routes = self._dispatcher.routes_after(shard_id)
            walk.done_with(shard_id, routes)
        return deleted

    def _void(self, prefix: bytes) -> None:
        """Let nothing be stored that is being loaded under `prefix`."""
        routes = self._dispatcher.routes()
        for shard_id in routes.serving():
            self._dispatcher.run_on_shard(shard_id, leasing.void(prefix))

    def invalidate_tags(self, *tags: str) -> None:
        """Make every value that was loaded with one of `tags` a miss, however many there are.

        Costs one write for each tag. What is being loaded now counts as old, too. The entries themselves leave as they
        expire, are evicted or loaded again.

        Raises:
            UnsupportedTypeError, ValueError: a tag is no text, or empty.
            RayCacheError: see the class; some of the tags may have been invalidated.
        """
        if tags:
            self._dispatcher.run_batch(new_generations(tags, self._settings.rng))

    @contextmanager
    def invalidating(
        self, *keys: Key, tags: Iterable[str] = (), prefixes: Iterable[Key] = ()
    ) -> Iterator[None]:
        """Change a database in this context: what is cached of it goes before and after, whatever happens.

            with cache.invalidating("user:1"):
                db.update(...)

        Deleting once is not enough: a reader may have read the old row before the change, and store it after the
        deletion. Here such a value is refused, because the deletion voids the right to store it.

        Args:
            keys: what to delete.
            tags: what to `invalidate_tags`.
            prefixes: what to `delete_prefix`.
        Raises:
            RayCacheError: before: nothing was deleted for sure, and the block has not run. After: the block has run,
                and old values may be left.
        """
        names, labels = encode_keys(keys), several(tags)
        starts = prefixes_bytes(prefixes)
        self._invalidate(names, labels, starts, is_after=False)
        try:
            yield
        finally:
            self._invalidate(names, labels, starts, is_after=True)

    def _invalidate(self, keys: list[bytes], tags: list[str], prefixes: list[bytes], *, is_after: bool) -> None:
        if keys:
            self._dispatcher.run_batch(DeleteMany(keys))
        self.invalidate_tags(*tags)
        for prefix in prefixes:
            if is_after:
                self.delete_prefix(prefix)
            else:
                self._void(prefix)
