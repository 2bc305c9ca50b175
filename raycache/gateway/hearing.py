"""Hearing from every shard which keys change, as long as a client of this gateway tracks any.

What lives here: one connection to each shard that listens to all its keys (BCAST), and what follows if there is none.
What does not: which client is told what (`raycache.shard.tracking`, in the gateway's own core). It belongs to the
gateway's loop.

A client's reads go over connections that it shares with others, so a shard cannot know who has read what. The gateway
does: it notes a key before it passes the command on. An announcement may come before the reply that it makes old; so
it is sent to the client at once, and once more behind what the client still waits for (`ClientConnection.push`).

While one of these connections is missing, changes go unheard. When it is there (again), all clients are told that
everything may have changed; so they are when it is lost, for that is what happens when a shard dies.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from raycache.errors import ProtocolError, ShardUnavailableError
from raycache.gateway.pool import Pool
from raycache.gateway.request import encoded
from raycache.gateway.upstream import Setting, UpstreamConnection, ask
from raycache.resp.reply import Frame, bulk_of, elements, is_error, is_null
from raycache.ring.topology import ShardInfo, Topology
from raycache.shard.session import Session
from raycache.shard.tracking import Tracking

log = logging.getLogger(__name__)

_LISTEN: Final = encoded([b"CLIENT", b"TRACKING", b"ON", b"BCAST"])
_FRESH: Final = encoded([b"RC.FRESH"])
READY_S: Final = 1.0
"""How long CLIENT TRACKING waits until all shards are heard: as long as connecting may take."""
RETRY_S: Final = 0.25
"""How often a shard that cannot be reached is tried again."""
BEAT_S: Final = 0.25
"""How often a shard is asked for a sign of life, so that one that is silent is given up."""

_Process = tuple[str, str, int, int]


class _Ear:
    """The connection to one process of one shard."""

    def __init__(self, connection: UpstreamConnection, now_s: float) -> None:
        self.connection = connection
        self.asked_s = now_s


class Hearing:
    """See the module.

    Args:
        tracking: of the gateway's core.
        pool: opens connections.
        topology: the newest one.
    """

    def __init__(self, tracking: Tracking, pool: Pool, topology: Callable[[], Topology | None]) -> None:
        self._tracking = tracking
        self._pool = pool
        self._topology = topology
        self._ears: dict[_Process, _Ear] = {}
        self._opening: dict[_Process, asyncio.Task[None]] = {}
        self._not_before_s: dict[_Process, float] = {}
        self._waiting: set[int] = set()
        """Sessions that have not been answered yet that they track: they have read nothing."""

    async def ready(self, session: Session) -> None:
        """Return when every shard is heard, or cannot be reached for now."""
        self._waiting.add(session.id)
        try:
            self.step()
            if self._opening:
                await asyncio.wait(list(self._opening.values()), timeout=READY_S)
        finally:
            self._waiting.discard(session.id)

    def step(self) -> None:
        """Open what is missing, drop what is not needed, ask for signs of life. To be called many times a second."""
        wanted = self._wanted()
        for process in self._ears.keys() - wanted.keys():
            ear = self._ears.pop(process)
            ear.connection.on_lost = None
            ear.connection.abort()
            self._tracking.all_changed()
        for process in self._not_before_s.keys() - wanted.keys():
            del self._not_before_s[process]
        now_s = self._pool.now_s()
        for process, shard in wanted.items():
            known = self._ears.get(process)
            if known is not None:
                if now_s - known.asked_s >= BEAT_S:
                    known.asked_s = now_s
                    self._beat(known)
            elif process not in self._opening and now_s >= self._not_before_s.get(process, 0.0):
                self._not_before_s[process] = now_s + RETRY_S
                task = self._opening[process] = self._pool.spawn(self._open(process, shard))
                task.add_done_callback(partial(self._opened, process))

    def _wanted(self) -> dict[_Process, ShardInfo]:
        topology = self._topology() if self._tracking.sessions else None
        shards = topology.shards if topology is not None else ()
        return {(shard.id, shard.host, shard.port, shard.incarnation): shard for shard in shards
                if shard.port and shard.state == "up"}

    def _opened(self, process: _Process, task: asyncio.Task[None]) -> None:
        self._opening.pop(process, None)

    async def _open(self, process: _Process, shard: ShardInfo) -> None:
        try:
            connection = await self._pool.open(shard, 3)
            connection.on_push = self._heard
            (reply,) = await ask(connection, _LISTEN)
        except ShardUnavailableError:
            return  # tried again, until the topology says that it is gone
        if is_error(reply):
            log.warning("shard %s does not say what changes: %s", shard.id, reply)
            connection.abort()
            return
        self._ears[process] = _Ear(connection, self._pool.now_s())
        connection.on_lost = lambda: self._lost(process, connection)
        if connection.is_lost:
            self._lost(process, connection)
        elif self._tracking.sessions.keys() - self._waiting:
            self._tracking.all_changed()  # what changed until now was not heard

    def _lost(self, process: _Process, connection: UpstreamConnection) -> None:
        ear = self._ears.get(process)
        if ear is not None and ear.connection is connection:
            del self._ears[process]
            self._tracking.all_changed()

    def _beat(self, ear: _Ear) -> None:
        """Ask whether the shard may still serve: the answer matters only in that it comes (see `Pool.check`)."""
        ear.connection.send(Setting(_FRESH))

    def _heard(self, message: Frame) -> None:
        try:
            kind, what = elements(message)
            if bulk_of(kind) != b"invalidate":
                return
            if is_null(what):
                self._tracking.all_changed()
                return
            for key in elements(what):
                self._tracking.changed(bulk_of(key))
        except (ProtocolError, ValueError):
            log.warning("a shard announced something that cannot be read: %r", message[:64])
            self._tracking.all_changed()
