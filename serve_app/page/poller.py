"""One look a second at a watched cluster, shared by everybody who watches it from this Serve replica.

What lives here: the loop that asks, and what its watchers wait for. What does not: what is shown (`feed`), HTTP
(`routes`). Belongs to the Serve replica's loop. Nobody watches: nothing is asked.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic, time
from typing import Any, Final

from raycache.actors.described import status_of
from raycache.client.aio import AsyncCache
from raycache.client.looking import look_at_shards
from raycache.ring.topology import Topology
from serve_app.page.feed import Memory, ring_of, tick_of
from serve_app.page.office import Office

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
HOT_KEYS: Final = 20
ANSWER_S: Final = 0.8
"""How long a shard may take to say how it is: a silent one must not hold up the others' figures."""
_ROUTER_S: Final = 2.0
"""How long a tick waits for the router. A call that takes longer goes on, and the tick shows what it said before."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One tick, ready to be sent."""

    number: int
    epoch: int
    ring: bytes
    """`feed.ring_of` as an event of its own, for those that have not had this epoch."""
    tick: bytes


def event(name: str, document: Mapping[str, Any]) -> bytes:
    """Return a server-sent event. JSON has no line break in it, so one line of data is enough."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps(document, separators=(",", ":")).encode())


class Poller:
    """Looks at one cluster while somebody watches.

    Args:
        find: returns the handle; may raise what `raycache.connect_async` raises.
    """

    def __init__(self, name: str, find: Callable[[], Awaitable[AsyncCache]], office: Office) -> None:
        self._name = name
        self._find = find
        self._office = office
        self._memory = Memory()
        self._described: Mapping[str, Any] | None = None
        self._asking: asyncio.Task[Mapping[str, Any]] | None = None
        self._table: tuple[bytes, Topology, bytes] | None = None
        self._latest: Seen | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.watchers = 0
        self.looks = 0
        """How often the cluster was looked at."""

    async def watch(self) -> AsyncIterator[Seen]:
        """Yield what is seen, from now on, once each; whoever is slow misses some. Close the generator to stop."""
        self.watchers += 1
        if self._task is None:
            self._latest = None  # from when somebody watched before
            self._task = asyncio.create_task(self._run(), name=f"page-{self._name}")
        sent = 0
        try:
            while True:
                news, latest = self._news, self._latest
                if latest is not None and latest.number != sent:
                    sent = latest.number
                    yield latest
                else:
                    await news.wait()
        finally:
            self.watchers -= 1
            if not self.watchers and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _run(self) -> None:
        due_s = monotonic()
        while True:
            try:
                await self.look()
            except Exception as error:  # whatever it is, the next look may do better, and the page should say so
                self._show(event("trouble", {"cluster": self._name, "text": str(error) or type(error).__name__}))
            # No look is made up for: one that took long is followed by a whole pause.
            due_s = max(due_s + EVERY_S, monotonic() + EVERY_S / 5)
            await asyncio.sleep(due_s - monotonic())

    async def look(self) -> None:
        """Look once, and tell the watchers."""
        self.looks += 1
        cache = await self._find()
        described, seen = await asyncio.gather(self._ask_router(), look_at_shards(cache, HOT_KEYS, ANSWER_S))
        data = described["topology"]
        if self._table is None or self._table[0] != data:
            topology = Topology.from_bytes(data)
            self._table = data, topology, event("ring", ring_of(topology))
        _, topology, ring = self._table
        status = status_of(self._name, described, topology, seen.stats)
        tick = tick_of(status, topology, seen.stats, seen.use, described["progress"], self._memory, time())
        self._show(event("tick", tick), ring, topology.epoch)

    async def _ask_router(self) -> Mapping[str, Any]:
        """Return the router's account; while it does not answer, the last one, with a warning."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(asyncio.to_thread(self._office.describe, self._name))
        await asyncio.wait((self._asking,), timeout=_ROUTER_S)
        if self._asking.done() and not self._asking.exception():
            self._described = self._asking.result()
            return self._described
        if self._described is None:
            return await self._asking
        why = f": {self._asking.exception()}" if self._asking.done() else ""
        warning = f"the router does not answer{why}; what is shown of events and changes is old"
        return {**self._described, "warnings": [*self._described["warnings"], warning]}

    def _show(self, tick: bytes, ring: bytes = b"", epoch: int = -1) -> None:
        self._latest = Seen(self._latest.number + 1 if self._latest else 1, epoch, ring, tick)
        news, self._news = self._news, asyncio.Event()
        news.set()
