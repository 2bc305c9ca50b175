"""`raycache.cached`: decorated functions that connect wherever they are called.

What lives here: the decorator for code that is imported before any cluster runs, or that travels to other machines, and
the handles that such functions share in each process. What does not: decorated functions (`raycache.functions`),
connecting (`raycache.connecting`).
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import threading
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from raycache.client.aio import AsyncCache
from raycache.client.aio_hosting import AsyncHost
from raycache.client.hosting import Host
from raycache.client.large import DEFAULT_LARGE_FROM
from raycache.client.near_parts import DEFAULT_MAX_STALENESS_S
from raycache.client.settings import DEFAULT_TIMEOUT_S
from raycache.client.sync import Cache
from raycache.client.wishes import ReadFrom
from raycache.connecting import connect, connect_async
from raycache.functions.aio import AsyncCachedFunction
from raycache.functions.recipe import CachedSettings
from raycache.functions.sync import CachedFunction
from raycache.tls import TlsSettings

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Where:
    """Which cluster, and how it is asked: what `connect` takes."""

    cluster: str
    address: str | None
    secret: str | None = field(repr=False)
    timeout_s: float
    read_from: ReadFrom
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsSettings | None = None
    allow_pickle: bool = False
    near: int | str | None = None
    max_staleness_s: float = DEFAULT_MAX_STALENESS_S
    large_from: int | str | None = DEFAULT_LARGE_FROM

    def connect(self) -> Cache:
        """Return a handle."""
        return connect(self.cluster, address=self.address, secret=self.secret, timeout_s=self.timeout_s,
                       read_from=self.read_from, user=self.user, password=self.password, tls=self.tls,
                       allow_pickle=self.allow_pickle, near=self.near, max_staleness_s=self.max_staleness_s,
                       large_from=self.large_from)

    async def connect_async(self) -> AsyncCache:
        """Return a handle for the running loop."""
        return await connect_async(self.cluster, address=self.address, secret=self.secret, timeout_s=self.timeout_s,
                                   read_from=self.read_from, user=self.user, password=self.password, tls=self.tls,
                                   allow_pickle=self.allow_pickle, near=self.near,
                                   max_staleness_s=self.max_staleness_s, large_from=self.large_from)


class Decorator(Protocol):
    """What `cached` returns: an `async def` becomes an AsyncCachedFunction, a `def` a CachedFunction."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a coroutine function is a function, too
        self, function: Callable[P, Awaitable[R]], /
    ) -> AsyncCachedFunction[P, R]: ...

    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...


def cached(cluster: str, *, address: str | None = None, secret: str | None = None,
           timeout_s: float = DEFAULT_TIMEOUT_S, read_from: ReadFrom = "primary", user: str | None = None,
           password: str | None = None, tls: TlsSettings | None = None, allow_pickle: bool = False,
           near: int | str | None = None, max_staleness_s: float = DEFAULT_MAX_STALENESS_S,
           large_from: int | str | None = DEFAULT_LARGE_FROM,
           **settings: Unpack[CachedSettings]) -> Decorator:
    """Return a decorator like `Cache.cached`, for functions that run anywhere: it connects when one is called.

        @raycache.cached("features", ttl=300)
        def user(user_id: int) -> dict[str, Any]: ...

    So it may stand in a module that Ray tasks import, or in a script whose functions Ray sends to them: nothing is
    looked up before the first call, and each process has one handle for all its functions. An `async def` uses an
    AsyncCache of the running loop.

    Args:
        cluster: its name.
        address, secret, timeout_s, read_from, user, password, tls, allow_pickle, near, max_staleness_s, large_from: as
            for `connect`.
        settings: as for `Cache.cached`.
    Raises:
        TypeError, ValueError: the function is none that can be cached, or a setting is wrong. Calls raise
            ClusterNotFoundError with `on_cache_error="raise"` where no such cluster runs.
    """
    where = Where(cluster, address, secret, timeout_s, read_from, user, password, tls, allow_pickle, near,
                  max_staleness_s, large_from)

    def decorate(function: Callable[..., Any]) -> Any:
        if inspect.iscoroutinefunction(function):
            return AsyncCachedFunction(function, AsyncSource(where), settings)
        return CachedFunction(function, Source(where), settings)

    return decorate


_lock = threading.Lock()
_handles: dict[Where, Cache] = {}
_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Where, asyncio.Future[AsyncCache]]] = (
    weakref.WeakKeyDictionary())


class Source:
    """This process' handle for `where`."""

    def __init__(self, where: Where) -> None:
        self._where = where

    def get(self) -> Host:
        """Return its host, connecting first where need be."""
        handle = _handles.get(self._where)
        if handle is None:
            handle = self._where.connect()  # without the lock: it may wait for Ray
            with _lock:
                kept = _handles.setdefault(self._where, handle)
            if kept is not handle:
                handle.close()
            handle = kept
        return handle._host

    def known(self) -> Host | None:
        """Return its host if there is one already."""
        handle = _handles.get(self._where)
        return None if handle is None else handle._host


class AsyncSource:
    """The running loop's handle for `where`."""

    def __init__(self, where: Where) -> None:
        self._where = where

    async def get(self) -> AsyncHost:
        """Return its host, connecting first where need be."""
        handles = _loops.setdefault(asyncio.get_running_loop(), {})
        connecting = handles.get(self._where)
        if connecting is None or (connecting.done() and (connecting.cancelled() or connecting.exception())):
            connecting = handles[self._where] = asyncio.ensure_future(self._where.connect_async())
        if not connecting.done():
            # One caller that is cancelled must not take the connection from the others.
            return (await asyncio.shield(connecting))._host
        return connecting.result()._host

    def known(self) -> AsyncHost | None:
        """Return its host if there is one already."""
        connecting = _loops.get(asyncio.get_running_loop(), {}).get(self._where)
        if connecting is None or not connecting.done() or connecting.cancelled() or connecting.exception():
            return None
        return connecting.result()._host


def close_handles() -> None:
    """Close the handles of this process' plain functions; the next call connects anew."""
    with _lock:
        handles = list(_handles.values())
        _handles.clear()
    for handle in handles:
        handle.close()


async def close_async_handles() -> None:
    """Close the handles of the running loop's functions; the next call connects anew."""
    for connecting in _loops.pop(asyncio.get_running_loop(), {}).values():
        await (await connecting).close()


atexit.register(close_handles)
