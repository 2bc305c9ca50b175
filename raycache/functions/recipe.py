"""What a decorator was told: keys, tags and loading options of one function, checked.

What lives here: the settings of `cached`, each with its reason, and what a function must not be. What does not: how a
value is loaded (`raycache.loading`), the text of keys (`naming`). Immutable, any thread.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypedDict

from raycache.errors import (
    CallerError,
    ClusterNotFoundError,
    LoadFailedError,
    LoadTimeoutError,
    RayCacheError,
    RetryableError,
)
from raycache.functions.naming import KeyMaker
from raycache.loading import LoadObserver, LoadOptions
from raycache.loading.options import Lifetime, LifetimeOf, Seconds

TagsOf = Callable[..., Sequence[str]]


class CachedSettings(TypedDict, total=False):
    """What `cached` takes as keywords."""

    key: Callable[..., Any] | None
    """Given a call's arguments, returns what stands for them in the key: a str as it is, anything else by its text.
    None: all arguments, by name."""
    ignore: Sequence[str]
    """Parameters that do not change the result (a connection, a logger): they are no part of the key."""
    version: int | str | None
    """Part of the key: change it when the function changes, and what the old one returned is not read any more."""
    name: str | None
    """Instead of `module.function`: for functions of a script, whose module is `__main__` in every script."""
    tags: Sequence[str] | TagsOf
    """What results belong to, for `invalidate_tags`; or a function of the call's arguments that returns it."""
    on_cache_error: Literal["load", "raise"]
    """What a call does if the cache cannot be reached, or has no room: "load" (the default) runs the function, so that
    an outage of the cache is slow and not one of the program, and counts it in `cache_errors`; "raise" raises, which
    protects what is behind the function. Either waits for the handle's `timeout_s` first."""
    ttl: Lifetime | LifetimeOf
    jitter: float
    beta: float
    stale_ttl: Seconds
    stale_if_error: Seconds
    cache_if: Callable[[Any], bool] | None
    negative_ttl: Lifetime
    lease_s: float
    wait_s: float | None
    on_load_error: Literal["raise", "retry"]


_OWN: Final = frozenset({"key", "ignore", "version", "name", "on_cache_error"})


class Recipe:
    """The settings of one function.

    Raises:
        TypeError: the function is none that can be cached, or a setting has another type.
        ValueError: a setting is out of its range.
    """

    def __init__(self, function: Callable[..., Any], settings: CachedSettings, observer: LoadObserver) -> None:
        self.keys = KeyMaker(function, name=settings.get("name"), version=settings.get("version"),
                             ignore=settings.get("ignore", ()), key=settings.get("key"))
        self.on_cache_error = settings.get("on_cache_error", "load")
        if self.on_cache_error not in ("load", "raise"):
            raise ValueError(f'on_cache_error is "load" or "raise", not {self.on_cache_error!r}')
        loading: dict[str, Any] = {name: value for name, value in settings.items() if name not in _OWN}
        if unknown := loading.keys() - CachedSettings.__annotations__.keys():
            raise TypeError(f"cached() has no setting {sorted(unknown)[0]!r}")
        tags = loading.get("tags", ())
        self._tags_of: TagsOf | None = None
        if callable(tags):
            self._tags_of = tags
            loading["tags"] = ()
        self._options = LoadOptions(**loading, observer=observer)

    def options(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LoadOptions:
        """Return the options of a call."""
        if self._tags_of is None:
            return self._options
        return self._options.but(tags=self._tags_of(*args, **kwargs))

    def forgives(self, error: RayCacheError) -> bool:
        """Return whether a call goes on without the cache after this."""
        return self.on_cache_error == "load" and (
            isinstance(error, ClusterNotFoundError)
            or (isinstance(error, RetryableError) and not isinstance(error, LoadFailedError | LoadTimeoutError)))


def check_function(function: Callable[..., Any]) -> None:
    """Make sure that the result of `function` is a value.

    Raises:
        TypeError: it is none; the text says what to do.
    """
    if isinstance(function, staticmethod | classmethod):
        kind = type(function).__name__
        raise TypeError(f"cached() must come below @{kind}: it decorates the plain function in it")
    name = getattr(function, "__qualname__", repr(function))
    if isinstance(function, type) or not callable(function) or not hasattr(function, "__qualname__"):
        raise TypeError(f"cached() decorates functions and methods, not {name}: write @cache.cached(...)")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} is a generator: what it yields is gone once it was read; cache a function that"
                        f" returns a list of it instead")


def refuse_kind(function: Callable[..., Any], *, is_async: bool) -> None:
    """Make sure that `function` is asynchronous, or is not.

    Raises:
        CallerError: it is the other kind; the text says what to do.
        TypeError: it cannot be cached at all, see `check_function`.
    """
    check_function(function)
    if inspect.iscoroutinefunction(function) is is_async:
        return
    name = function.__qualname__
    if is_async:
        raise CallerError(f"{name} is no `async def`: an AsyncCache decorates those; use a Cache, or raycache.cached")
    raise CallerError(f"{name} is an `async def`: a Cache would block its loop; use an AsyncCache, or raycache.cached")
