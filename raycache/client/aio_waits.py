"""Connections on which a shard lets an async handle wait: apart from the others, which nobody may hold up.

What lives here: the twin of `waits.py`. Belongs to the running loop.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

import hiredis

from raycache.client.aio_dispatcher import AsyncDispatcher
from raycache.client.channel import Channel
from raycache.client.info import Address, Login
from raycache.client.pending import outcome
from raycache.client.requests import Request
from raycache.client.retry import NoOwner
from raycache.client.routes import NOBODY
from raycache.client.settings import ClientSettings
from raycache.client.waits import PATIENCE_S
from raycache.errors import CallerError, DeadlineExceededError
from raycache.ring.slots import slot_of

T = TypeVar("T")

MAX_WAITS_HERE: Final = 256
"""Connections for waiting. More keys than that that are waited for wait for one of these first."""


class AsyncWaits:
    """Connections on which shards let this loop wait; each for one wait at a time."""

    def __init__(self, dispatcher: AsyncDispatcher, settings: ClientSettings) -> None:
        self._dispatcher = dispatcher
        self._settings = settings
        self._idle: dict[tuple[Address, Login], list[Channel]] = {}
        self._free = asyncio.Semaphore(MAX_WAITS_HERE)

    async def run(self, key: bytes, request: Request[T], wait_s: float) -> T:
        """Run a request on the key's shard that may take `wait_s`.

        Raises:
            RayCacheError: see `raycache.errors`.
        """
        slot = slot_of(key)
        try:
            async with asyncio.timeout(wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise DeadlineExceededError("all connections for waiting were busy") from None
        try:
            deadline_s = self._dispatcher.running().time() + wait_s + PATIENCE_S

            async def attempt() -> T:
                routes = self._dispatcher.known_routes
                index = NOBODY if routes is None else routes.owners[slot]
                if routes is None or index == NOBODY:
                    raise NoOwner(f"nobody serves slot {slot}")
                return await self._ask(routes.addresses[index], request, deadline_s)

            return await self._dispatcher.persist(attempt, deadline_s)
        finally:
            self._free.release()

    async def _ask(self, address: Address, request: Request[T], deadline_s: float) -> T:
        login = self._dispatcher.login
        idle = self._idle.setdefault((address, login), [])
        channel = idle.pop() if idle else Channel(address, login, self._settings, self._dispatcher.running())
        is_good = False
        try:
            reply = await channel.submit(request, deadline_s)
            is_good = isinstance(reply, hiredis.ReplyError) or not isinstance(reply, Exception)
            answer = request.decode(outcome(reply))
        finally:
            if is_good:
                idle.append(channel)
            else:  # whoever gave up must not be given the lease
                channel.close(CallerError("nobody waits any more"))
        return answer

    def close(self, failure: Exception) -> None:
        """Close what no task waits on."""
        for channels in self._idle.values():
            for channel in channels:
                channel.close(failure)
        self._idle = {}

    def forget(self) -> None:
        """Start anew in a forked child, or in another loop."""
        self._idle = {}
        self._free = asyncio.Semaphore(MAX_WAITS_HERE)
