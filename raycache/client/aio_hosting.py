"""What decorated functions use an `AsyncCache` for; otherwise as `hosting`, with a timer of the loop for a thread.

What does not live here: the functions (`raycache.functions`). Belongs to the running loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from raycache.client import forks, requests
from raycache.client.aio_dispatcher import AsyncDispatcher
from raycache.client.aio_through import AsyncThrough
from raycache.client.arguments import encode_key
from raycache.client.hosting import NEWS_EVERY_S
from raycache.errors import RayCacheError
from raycache.functions.tally import Ledger
from raycache.loading.basics import Source
from raycache.loading.options import LoadOptions
from raycache.loading.renewing import PlainValue, renew

if TYPE_CHECKING:
    from raycache.client.aio import AsyncCache

V = TypeVar("V")


class AsyncHost:
    """One handle, as decorated functions use it."""

    def __init__(self, cache: AsyncCache, dispatcher: AsyncDispatcher, through: AsyncThrough) -> None:
        self._dispatcher = dispatcher
        self._through = through
        self.get_or_load = cache.get_or_load
        self.delete = cache.delete
        self.delete_prefix = cache.delete_prefix
        self.ledger = Ledger(self._wake)
        self._telling: asyncio.Task[None] | None = None
        self._is_closed = False
        self._place = random.randrange(1 << 16)
        forks.watch(self)

    async def renew(self, key: str, load: Callable[[], Awaitable[V]], *, options: LoadOptions) -> V:
        """Load and store the value of `key`, whatever the cache holds; return it. Errors as `AsyncCache.get_or_load`.
        """
        wire_key = encode_key(key)
        while True:
            try:
                value: V = await self._through.run(renew(self._through.engine, key, wire_key, Source(load), options))
                return value
            except PlainValue:
                await self.delete(key)

    async def tell(self) -> None:
        """Send what is new. Raises nothing that the cluster may be blamed for."""
        with contextlib.suppress(RayCacheError):
            news = self.ledger.news()
            if news:
                shard_ids = (await self._dispatcher.routes()).shard_ids
                shard_id = shard_ids[self._place % len(shard_ids)]
                _, silent = await self._dispatcher.ask_each([shard_id], requests.used(news))
                self._place += len(silent)

    async def close(self) -> None:
        """Send what is new, for the last time."""
        if not self._is_closed:
            self._is_closed = True
            telling, self._telling = self._telling, None
            if telling is not None:
                telling.cancel()
                await self.tell()

    def forget_connections(self) -> None:
        """Start anew in a forked child: its parent tells what was counted before."""
        self._telling = None
        self.ledger.forget()

    def _wake(self) -> None:
        if self._is_closed:
            self.ledger.news()
        else:
            self._telling = asyncio.get_running_loop().create_task(self._tell_soon(), name="raycache-usage")

    async def _tell_soon(self) -> None:
        await asyncio.sleep(NEWS_EVERY_S)
        await self.tell()


class AsyncBound:
    """Where the host of a handle that is there is: `@cache.cached(...)`. Pickles with the handle."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    async def get(self) -> AsyncHost:
        """Return it."""
        host: AsyncHost = self._cache._host
        return host

    def known(self) -> AsyncHost:
        """Return it."""
        host: AsyncHost = self._cache._host
        return host
