"""A cache and the database behind it as one: `raycache.backed`.

What lives here: choosing the handle, and asking Ray for a store that is attached to a cluster, imported only then. What
does not: the handles (`raycache.stores`), attaching (`raycache.actors.stores`).
"""

from __future__ import annotations

from typing import Any, overload

from raycache.client.aio import AsyncCache
from raycache.client.sync import Cache
from raycache.stores.backed import BackedCache
from raycache.stores.backed_aio import AsyncBackedCache
from raycache.stores.config import Attachment, StoreConfig, WriteMode
from raycache.stores.protocol import BackingStore


@overload
def backed(cache: Cache, store: str | Attachment | StoreConfig | BackingStore, *, write: WriteMode | None = ...,
           read: bool = ..., **options: Any) -> BackedCache: ...


@overload
def backed(cache: AsyncCache, store: str | Attachment | StoreConfig | BackingStore, *, write: WriteMode | None = ...,
           read: bool = ..., **options: Any) -> AsyncBackedCache: ...


def backed(cache: Cache | AsyncCache, store: str | Attachment | StoreConfig | BackingStore, *,
           write: WriteMode | None = "through", read: bool = True, **options: Any) -> BackedCache | AsyncBackedCache:
    """Return a handle that reads and writes a database through `cache`.

    Args:
        cache: a handle of either kind; it stays open when the result is closed.
        store: the name of a store that is attached to the cluster (Ray is asked, which blocks for some milliseconds),
            or one for this handle alone: its settings, or an open `BackingStore`.
        write: for a store of this handle alone: "through", or None: writes go to the cache and not to the database.
            Write-behind needs a writer, so it is for attached stores.
        read: for a store of this handle alone: whether a miss is loaded from it.
        options: for loading, those of `get_or_load` (`ttl`, `jitter`, `stale_ttl`, ...) but `cache_if`.
    Raises:
        ValueError, TypeError: a setting makes no sense.
        ClusterNotFoundError: no store of that name is attached to the cluster.
    """
    opened: BackingStore | None = None
    if isinstance(store, str):
        from raycache.actors.stores import attachment  # Ray takes a third of a second to import

        attached = attachment(cache.cluster, store)
    elif isinstance(store, Attachment):
        attached = store
    else:
        if write == "behind":
            raise ValueError("write-behind needs a writer: attach the store to the cluster and give its name")
        if isinstance(store, StoreConfig):
            attached = Attachment("handle", store, write, read)
        else:
            attached, opened = Attachment("handle", None, write, read), store
    if isinstance(cache, AsyncCache):
        return AsyncBackedCache(cache, attached, opened, **options)
    return BackedCache(cache, attached, opened, **options)
