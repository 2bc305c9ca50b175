"""Decorated functions for asyncio: `AsyncCachedFunction`.

What lives here: a call, and what else one can do with a decorated function. What does not: keys (`naming`), options
(`recipe`), loading once for everybody (`raycache.loading`), and the same for threads (`sync`). Belongs to the
running loop.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from raycache.errors import RayCacheError
from raycache.functions.attempt import NOT_YET, AsyncAttempt
from raycache.functions.pickling import find, is_findable
from raycache.functions.recipe import CachedSettings, Recipe, refuse_kind
from raycache.functions.tally import Ledger, Tally
from raycache.loading import LoadOptions
from raycache.usage.rows import FunctionUse

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
V = TypeVar("V")


class Host(Protocol):
    """What a decorated function needs of an `AsyncCache` (`raycache.client.aio_hosting`)."""

    ledger: Ledger

    async def get_or_load(self, key: str, load: Callable[[], Awaitable[V]], *, options: LoadOptions) -> V: ...

    async def renew(self, key: str, load: Callable[[], Awaitable[V]], *, options: LoadOptions) -> V: ...

    async def delete(self, key: str) -> bool: ...

    async def delete_prefix(self, prefix: str) -> int: ...


class HostSource(Protocol):
    """Where a handle's host is. It pickles."""

    async def get(self) -> Host:
        """Return the host, connecting first where need be."""

    def known(self) -> Host | None:
        """Return it if there is one already."""


class AsyncCachedFunction(Generic[P, R]):
    """A function whose results are kept in a cluster; calling it looks there first.

    Of all callers in all processes that miss one result at once, one runs the function. A call may raise what the
    function raises; LoadFailedError where another process ran it and it raised there; LoadTimeoutError where that took
    longer than `wait_s`; UncacheableArgumentError for an argument that no key can be made of; UnsupportedTypeError for
    a result that cannot be stored. `__wrapped__` is the function itself.
    """

    __wrapped__: Callable[P, Awaitable[R]]

    def __init__(self, function: Callable[P, Awaitable[R]], source: HostSource, settings: CachedSettings) -> None:
        refuse_kind(function, is_async=True)
        self._function = function
        self._source = source
        self._settings = settings
        self._tally = Tally("", self._ledger)
        self._recipe = recipe = Recipe(function, settings, self._tally)
        self._tally.name = recipe.keys.name
        self._key = recipe.keys.key
        functools.update_wrapper(self, function)

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the result, from the cache or from the function."""
        attempt: AsyncAttempt[R] = AsyncAttempt(self._function, args, kwargs)
        key = self._key(args, kwargs)
        try:
            host = await self._source.get()
            return await host.get_or_load(key, attempt, options=self._recipe.options(args, kwargs))
        except RayCacheError as error:
            return await self._without_cache(attempt, key, error)

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key of a call."""
        return self._key(args, kwargs)

    async def uncached(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function, without a look at the cache."""
        return await self._function(*args, **kwargs)

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function and store its result; callers get the old one until then. One at a time runs, in all."""
        attempt: AsyncAttempt[R] = AsyncAttempt(self._function, args, kwargs)
        key = self._key(args, kwargs)
        try:
            host = await self._source.get()
            return await host.renew(key, attempt, options=self._recipe.options(args, kwargs))
        except RayCacheError as error:
            return await self._without_cache(attempt, key, error)

    async def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Forget the result of a call; return whether there was one. What is being loaded for it is not stored."""
        return await (await self._source.get()).delete(self._key(args, kwargs))

    async def invalidate_all(self) -> int:
        """Forget the results of all calls (of this `version`); return how many there were.

        Walks over all keys of the cluster in steps; `tags` and `invalidate_tags` do not.
        """
        return await (await self._source.get()).delete_prefix(self._recipe.keys.prefix)

    def cache_info(self) -> FunctionUse:
        """Return what has happened in this process. `raycache top` and `cache.top()` show all processes."""
        return self._tally.use()

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...

    @overload
    def __get__(
        self: AsyncCachedFunction[Concatenate[Any, Q], V], instance: object, owner: type | None = None
    ) -> BoundAsyncCachedFunction[Q, V]: ...

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        function: Any = self  # whose first parameter is the instance
        return self if instance is None else BoundAsyncCachedFunction(function, instance)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        function = self._function
        if is_findable(self, function.__module__, function.__qualname__):
            return find, (function.__module__, function.__qualname__)
        return type(self), (function, self._source, self._settings)

    def __repr__(self) -> str:
        return f"<cached {self._recipe.keys.name}>"

    def _ledger(self) -> Ledger | None:
        host = self._source.known()
        return None if host is None else host.ledger

    async def _without_cache(self, attempt: AsyncAttempt[R], key: str, error: RayCacheError) -> R:
        if attempt.error is not None or not self._recipe.forgives(error):
            raise error
        self._tally.cache_failed()
        if attempt.value is not NOT_YET:
            return attempt.value
        began_s = time.monotonic()
        value = await attempt()
        self._tally.loaded(key, time.monotonic() - began_s)
        return value


class BoundAsyncCachedFunction(Generic[Q, R]):
    """A cached method with its object: `repository.load`. What it does is described there."""

    def __init__(self, function: AsyncCachedFunction[Concatenate[Any, Q], R], instance: object) -> None:
        self.__func__ = function
        self.__self__ = instance

    async def __call__(self, *args: Q.args, **kwargs: Q.kwargs) -> R:
        return await self.__func__(self.__self__, *args, **kwargs)

    def key(self, *args: Q.args, **kwargs: Q.kwargs) -> str:
        """Return the key of a call."""
        return self.__func__.key(self.__self__, *args, **kwargs)

    async def uncached(self, *args: Q.args, **kwargs: Q.kwargs) -> R:
        """Run the method, without a look at the cache."""
        return await self.__func__.uncached(self.__self__, *args, **kwargs)

    async def refresh(self, *args: Q.args, **kwargs: Q.kwargs) -> R:
        """Run the method and store its result."""
        return await self.__func__.refresh(self.__self__, *args, **kwargs)

    async def invalidate(self, *args: Q.args, **kwargs: Q.kwargs) -> bool:
        """Forget the result of a call; return whether there was one."""
        return await self.__func__.invalidate(self.__self__, *args, **kwargs)

    async def invalidate_all(self) -> int:
        """Forget the results of all calls, whatever their object; return how many there were."""
        return await self.__func__.invalidate_all()

    def cache_info(self) -> FunctionUse:
        """Return what has happened in this process, whatever the object."""
        return self.__func__.cache_info()

    @property
    def __wrapped__(self) -> Callable[Q, Awaitable[R]]:
        return functools.partial(self.__func__.__wrapped__, self.__self__)

    def __repr__(self) -> str:
        return f"<bound {self.__func__!r} of {self.__self__!r}>"
