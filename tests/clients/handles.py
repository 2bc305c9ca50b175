"""Both handles behind one blocking face, for suites that run for each of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import uvloop

from raycache.client import AsyncCache, Cache, ConnectionInfo


class Blocking:
    """An AsyncCache on a loop of its own thread, called as if it were a Cache."""

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop], info: ConnectionInfo, **kwargs: Any) -> None:
        self._loop = new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._cache = AsyncCache(info, **kwargs)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._run(getattr(self._cache, name)(*args, **kwargs))

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def scan(self, *args: Any, **kwargs: Any) -> list[Any]:
        async def collect() -> list[Any]:
            return [key async for key in self._cache.scan(*args, **kwargs)]

        return self._run(collect())

    def use(self, token: Any) -> None:
        self._cache.use(token)

    def close(self) -> None:
        self._run(self._cache.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def opened(kind: str, info: ConnectionInfo, **kwargs: Any) -> Any:
    """Return a handle of a kind: "sync", "asyncio" or "uvloop"."""
    if kind == "sync":
        return Cache(info, **kwargs)
    return Blocking(asyncio.new_event_loop if kind == "asyncio" else uvloop.new_event_loop, info, **kwargs)
