"""Plain reads of one key, the way that a crowd of tasks goes: one future for each, and nothing else that lives on.

What lives here: the shortest way from a key to its shard's channel, and back to the long one where anything is unusual:
a shard that is not connected or has been silent, a reply that is none. What does not: that long way
(`aio_dispatcher.py`, `aio_owners.py`). Belongs to the dispatcher's loop.

While ten thousand tasks wait, all that was made for them is alive, and the collector looks through it again and again:
with a request, closures and four coroutines for each it took more time than everything else ([decision
0031](../../docs/decisions/0031-what-a-waiting-read-is-made-of.md)).
"""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from raycache.client import requests
from raycache.client.channel import Channel
from raycache.client.info import Address
from raycache.client.pending import outcome
from raycache.client.retry import RETRIED
from raycache.client.routes import NOBODY, Routes
from raycache.errors import NotEnoughReplicasError
from raycache.ring.slots import SLOT_COUNT, slot_of

if TYPE_CHECKING:
    from raycache.client.aio_dispatcher import AsyncDispatcher

NOT_BEGUN: Final = object()
"""In the place of the reply to a read that `begin` has not begun."""
_NO_OWNERS: Final = (NOBODY,) * SLOT_COUNT


class PlainReads:
    """The plain reads of one dispatcher."""

    def __init__(self, dispatcher: AsyncDispatcher, timeout_s: float) -> None:
        self._dispatcher = dispatcher
        self._timeout_s = timeout_s
        self._has_copies = False
        self._channels: list[Channel | None] = [None]
        """By the index of their shard; the last one is for NOBODY."""
        self._owners: Sequence[int] = _NO_OWNERS

    def follow(self, routes: Routes | None, channels: Mapping[Address, Channel]) -> None:
        """Use what the dispatcher has now. To be called whenever one of them changes."""
        self._owners = _NO_OWNERS if routes is None else routes.owners
        self._has_copies = routes is not None and routes.copies > 1
        self._channels = [None] if routes is None else [*map(channels.get, routes.addresses), None]

    def begin(self, key: bytes) -> asyncio.Future[Any] | None:
        """Begin a plain read; return the future of its reply, as `Channel.submit` does. HOT.

        None: it has to go the long way. Then, and where the reply is no payload and not null, `finish` does the rest.
        """
        channel = self._channels[self._owners[slot_of(key)]]
        if (
            channel is None or (self._has_copies and not channel.is_trusted)
            or len(key) > requests.JOINED_KEY_BYTES or get_running_loop() is not channel.loop
        ):
            return None
        return channel.read(key)

    async def finish(self, key: bytes, reply: Any, began_s: float, seen: int) -> Any:
        """Return what a plain read brings that has not come to its end.

        Args:
            reply: what `begin` has brought, or NOT_BEGUN.
            began_s: when that was, on Python's monotonic clock.
            seen: the dispatcher's `refreshes` before it.
        Raises:
            RayCacheError: see `raycache.errors`.
        """
        request = requests.get(key)
        if reply is NOT_BEGUN:
            return await self._dispatcher.run(key, request)
        try:
            return request.decode(outcome(reply))
        except (*RETRIED, NotEnoughReplicasError) as error:
            failure: Exception = error
        deadline_s = get_running_loop().time() + self._timeout_s - (monotonic() - began_s)
        return await self._dispatcher.run_again(key, request, failure, deadline_s, seen)
