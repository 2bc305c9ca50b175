"""One call of a decorated function: whether it really ran, and what came of it.

What lives here: what tells the function's own errors from the cache's, and keeps a result that could not be stored.
One call's thread or task.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, Generic, TypeVar

R = TypeVar("R")

NOT_YET: Final[Any] = object()


class Attempt(Generic[R]):
    """A call with its arguments; the loader of its key."""

    __slots__ = ("args", "error", "function", "kwargs", "value")

    def __init__(self, function: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.value: R = NOT_YET
        self.error: BaseException | None = None

    def __call__(self) -> R:
        try:
            value = self.function(*self.args, **self.kwargs)
        except BaseException as error:
            self.error = error
            raise
        self.value = value
        return value


class AsyncAttempt(Generic[R]):
    """The same of an `async def`."""

    __slots__ = ("args", "error", "function", "kwargs", "value")

    def __init__(self, function: Callable[..., Awaitable[R]], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.value: R = NOT_YET
        self.error: BaseException | None = None

    async def __call__(self) -> R:
        try:
            value = await self.function(*self.args, **self.kwargs)
        except BaseException as error:
            self.error = error
            raise
        self.value = value
        return value
