"""Asking the shards themselves for a newer topology, so that a failover is followed without the router.

What lives here: whom to ask, for how long, and reading the answers. What does not: when to ask (`executor`, `server`)
and what follows from it. It belongs to the gateway's loop.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from raycache.errors import ShardUnavailableError
from raycache.gateway.pool import Pool
from raycache.gateway.request import encoded
from raycache.gateway.settings import GatewaySettings
from raycache.gateway.upstream import FutureCall
from raycache.resp.reply import Frame, bulk_of, is_error, is_null
from raycache.ring.topology import ShardInfo, Topology

log = logging.getLogger(__name__)

MOST_ASKED: Final = 5
"""A new topology reaches the shards within milliseconds of each other; more answers would only repeat it."""

MOST_SILENT: Final = 8
"""Shards named as silent in one question."""


class Scout:
    """Asks some shards at a time."""

    def __init__(self, pool: Pool, settings: GatewaySettings, rng: random.Random) -> None:
        self._pool = pool
        self._settings = settings
        self._rng = rng

    async def look(self, known: Topology) -> Topology | None:
        """Return a newer topology than `known`, as soon as one of the shards in that shows one; None: nobody does."""
        tasks = {asyncio.ensure_future(self._ask(shard, known)) for shard in self._whom(known)}
        try:
            async with asyncio.timeout(self._settings.scout_timeout_s):
                while tasks:
                    done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    found = [answer for task in done if (answer := task.result()) is not None]
                    if found:
                        return max(found, key=lambda topology: topology.epoch)
        except TimeoutError:
            pass
        finally:
            for task in tasks:
                task.cancel()
        return None

    def _whom(self, known: Topology) -> list[ShardInfo]:
        """Those that are up first, in random order: a shard that does not answer must not be all there is."""
        shards = [shard for shard in known.shards if shard.port]
        self._rng.shuffle(shards)
        return sorted(shards, key=lambda shard: shard.state != "up")[:MOST_ASKED]

    async def _ask(self, shard: ShardInfo, known: Topology) -> Topology | None:
        silent = [address.encode() for address in self._pool.unanswered()[:MOST_SILENT]]
        report = (b"SILENT", *silent) if silent else ()  # which the router may want to know
        call = FutureCall(encoded([b"RC.TOPOLOGY", b"%d" % known.epoch, *report]))
        self._pool.lane(shard.id, 2, is_long=False).send(call, shard)
        try:
            (frame,) = await call.replies
        except ShardUnavailableError:
            return None
        topology = _topology_in(frame)
        is_newer = topology is not None and topology.cluster == known.cluster and topology.epoch > known.epoch
        return topology if is_newer else None


def _topology_in(frame: Frame) -> Topology | None:
    if is_error(frame) or is_null(frame):
        return None
    try:
        return Topology.from_bytes(bulk_of(frame))
    except Exception as error:  # whatever a peer of another version sends: it is no newer topology
        log.info("a shard's topology cannot be read: %s", error)
        return None
