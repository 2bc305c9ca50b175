"""The gateway's part in keeping one list of users: asking shards, and telling them what was changed here.

What lives here: the questions. What does not: users (`raycache.access`), what they may do (`raycache.shard.guard`). It
belongs to the gateway's loop. Shards tell each other through the router; a gateway needs only one that it can reach.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from raycache.errors import ShardUnavailableError
from raycache.gateway.pool import Pool
from raycache.gateway.request import encoded
from raycache.gateway.upstream import FutureCall
from raycache.resp import encode
from raycache.resp.reply import Frame, bulk_of, is_error, is_null
from raycache.ring.topology import ShardInfo, Topology
from raycache.shard.guard import Guard

log = logging.getLogger(__name__)

EVERY_S: Final = 0.5
"""How often a shard is asked whether users have changed: one small question, and the answer is mostly null."""
TIMEOUT_S: Final = 2.0


class SharedAccess:
    """Keeps the gateway's guard at the shards' list of users."""

    def __init__(self, guard: Guard, pool: Pool, topology: Callable[[], Topology | None], rng: random.Random) -> None:
        self._guard = guard
        self._pool = pool
        self._topology = topology
        self._rng = rng
        self._asked_s = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    def step(self, now_s: float) -> None:
        """Ask a shard if it is time to."""
        if now_s - self._asked_s >= EVERY_S and (self._asking is None or self._asking.done()):
            self._asked_s = now_s
            self._asking = self._pool.spawn(self._ask())

    async def spread(self) -> Frame:
        """Tell every shard the list as it is here; return OK when all have it, or an error that names who has not."""
        shards = self._shards()
        packed = self._guard.users.to_bytes()
        answers = await asyncio.gather(*(self._say([b"RC.ACCESS", b"MERGE", packed], shard) for shard in shards))
        silent = [shard.id for shard, answer in zip(shards, answers, strict=True) if answer is None or is_error(answer)]
        if silent:
            return encode.error(f"ERR changed at this gateway and not yet on {', '.join(silent)}; it will follow there")
        return encode.OK

    async def _ask(self) -> None:
        shards = self._shards()
        if not shards:
            return
        shard = self._rng.choice(shards)
        answer = await self._say([b"RC.ACCESS", self._guard.users.digest()], shard)
        if answer is None or is_error(answer) or is_null(answer):
            return
        try:
            knows_more = self._guard.merge(bulk_of(answer))
        except ValueError as error:
            log.warning("users of shard %s: %s", shard.id, error)
            return
        if knows_more:
            await self._say([b"RC.ACCESS", b"MERGE", self._guard.users.to_bytes()], shard)

    def _shards(self) -> list[ShardInfo]:
        topology = self._topology()
        shards = topology.shards if topology is not None else ()
        return [shard for shard in shards if shard.port and shard.state == "up"]

    async def _say(self, words: list[bytes], shard: ShardInfo) -> Frame | None:
        call = FutureCall(encoded(words))
        self._pool.lane(shard.id, 2, is_long=False).send(call, shard)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                (frame,) = await call.replies
        except (ShardUnavailableError, TimeoutError):
            return None
        return frame
