"""Asking for a newer topology: the router and the shards at once, and nobody waits for the one who does not answer.

What lives here: the open questions, one of a kind at a time. What does not: asking shards (`scout`), when to ask and
what follows (`executor`). It belongs to the gateway's loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from raycache.gateway.pool import Pool
from raycache.gateway.scout import Scout
from raycache.gateway.settings import GatewaySettings
from raycache.ring.topology import Topology

log = logging.getLogger(__name__)


class News:
    """What is being asked.

    Args:
        get_topology: the newest topology known here.
        refresh: asks the router; whatever it brings, `get_topology` has it afterwards. None: there is none to ask.
        learn: takes a topology that a shard has shown; then `get_topology` has it.
    """

    def __init__(self, pool: Pool, scout: Scout, settings: GatewaySettings, *,
                 get_topology: Callable[[], Topology | None], refresh: Callable[[], Awaitable[object]] | None,
                 learn: Callable[[Topology], None]) -> None:
        self._pool = pool
        self._scout = scout
        self._settings = settings
        self._get_topology = get_topology
        self._learn = learn
        self._questions: dict[str, asyncio.Task[None]] = {}
        self.refresh = refresh

    def ask_shards(self) -> None:
        """Ask some shards, unless they are being asked."""
        self._ask("shards", self._ask_shards())

    async def wait(self) -> None:
        """Ask everybody; return when one has brought news, when all have answered, or after a while."""
        known = self._get_topology()
        if self.refresh is not None:
            self._ask("router", self._ask_router(self.refresh))
        self.ask_shards()
        questions, deadline_s = dict(self._questions), self._pool.now_s() + self._settings.scout_timeout_s
        while questions and self._get_topology() is known and (left_s := deadline_s - self._pool.now_s()) > 0:
            await asyncio.wait(questions.values(), timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            questions = {name: task for name, task in questions.items() if not task.done()}

    def _ask(self, name: str, question: Coroutine[Any, Any, None]) -> None:
        """Put one question, unless the last one of its name is still open."""
        if name in self._questions:
            question.close()
            return
        task = self._questions[name] = self._pool.spawn(question)
        task.add_done_callback(lambda _: self._questions.pop(name, None))

    async def _ask_router(self, refresh: Callable[[], Awaitable[object]]) -> None:
        try:
            async with asyncio.timeout(self._settings.refresh_timeout_s):
                await refresh()
        except Exception as error:  # whatever keeps the router from answering, the next round asks again
            log.info("no newer topology: %s", error or type(error).__name__)

    async def _ask_shards(self) -> None:
        known = self._get_topology()
        if known is not None and (found := await self._scout.look(known)) is not None:
            self._learn(found)
