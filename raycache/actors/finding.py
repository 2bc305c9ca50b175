"""The way to the router, for actors that must not wait for Ray's GCS.

What lives here: looking its handle up, in a thread and one look-up at a time, keeping it, and telling it something
until it hears. What does not: what it is told (`shard`, `gateway`), the calls (`calls`).

A look-up hangs for as long as the GCS is gone, and a thread that hangs cannot be ended: so there is never more than
one. A handle, once found, needs no GCS; it stays good when Ray starts the router again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import ray

from raycache.actors import calls

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_S: Final = 0.2
"""First wait before trying something again; doubles up to ten times this, with full jitter."""
CALL_TIMEOUT_S: Final = 5.0
"""How long a call may take: a router that is being started again answers within 2 s."""


class RouterFinder:
    """One actor's way to its cluster's router. Belongs to the actor's loop."""

    def __init__(self, cluster: str) -> None:
        self._cluster = cluster
        self._handle: calls.RouterHandle | None = None
        self._look_up: asyncio.Future[calls.RouterHandle] | None = None

    async def ask(self, question: Callable[[calls.RouterHandle], Awaitable[T]]) -> T:
        """Return what the router answers.

        Raises:
            Exception: it does not, in `CALL_TIMEOUT_S`; of many kinds, most of them Ray's.
        """
        async with asyncio.timeout(CALL_TIMEOUT_S):
            handle = await self._find()
            try:
                return await question(handle)
            except ray.exceptions.ActorDiedError:
                self._handle = None  # for good; there may be another one by now
                raise

    async def ask_until_heard(self, who: str, question: Callable[[calls.RouterHandle], Awaitable[T]]) -> T:
        """Ask again and again; return the first answer."""
        wait_s = RETRY_S
        while True:
            try:
                return await self.ask(question)
            except Exception as error:
                log.info("the router did not hear %s: %s", who, error or type(error).__name__)
            await asyncio.sleep(wait_s * random.random())
            wait_s = min(2 * wait_s, 10 * RETRY_S)

    async def _find(self) -> calls.RouterHandle:
        if self._handle is None:
            if self._look_up is None:
                self._look_up = asyncio.ensure_future(asyncio.to_thread(calls.find_router, self._cluster))
                self._look_up.add_done_callback(self._looked_up)
            self._handle = await asyncio.shield(self._look_up)
        return self._handle

    def _looked_up(self, look_up: asyncio.Future[calls.RouterHandle]) -> None:
        self._look_up = None
        if not look_up.cancelled() and look_up.exception() is None:
            self._handle = look_up.result()
