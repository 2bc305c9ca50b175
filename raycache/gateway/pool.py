"""The gateway's connections to the shards: few, shared, opened when needed, reopened with jitter.

What lives here: lanes (one shared connection each), connections lent to clients that WATCH, and the
check for silent shards. What does not: the connection itself (`upstream`), retrying (`executor`). It
belongs to the gateway's loop.

A shard has at most six lanes: RESP2 and RESP3 (so replies can be passed on as they are), each once
for plain commands, once for long ones, because a connection answers in order and nobody should wait
behind another client's KEYS, and once for reads from it as a replica. Commands of one client for one
shard keep their order on a lane.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from raycache.errors import ShardUnavailableError
from raycache.gateway.settings import GatewaySettings
from raycache.gateway.upstream import (
    READONLY,
    UNWATCH,
    Call,
    Setting,
    UpstreamConnection,
    is_writing,
    open_connection,
)
from raycache.ring.topology import ShardInfo
from raycache.tls import TlsSettings

log = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0


class Lane:
    """One shared connection to one shard. While it is being opened, calls wait; if that fails, they are lost unsent."""

    def __init__(self, pool: Pool, protocol: int, *, is_replica: bool = False) -> None:
        self._pool = pool
        self._protocol = protocol
        self._is_replica = is_replica
        self.shard: ShardInfo | None = None
        self._connection: UpstreamConnection | None = None
        self._waiting: deque[Call] = deque()
        self._is_opening = False
        self._retry_at_s = 0.0
        self._failures = 0
        self._reason = ""
        self.failing_since_s: float | None = None

    def send(self, call: Call, shard: ShardInfo) -> None:
        """Send `call` to `shard`, which is this lane's at its newest address."""
        connection = self._connection
        if shard is not self.shard:
            connection = self._follow(shard)
        if connection is not None and not connection.is_lost:
            connection.send(call)
            return
        if self._is_opening or self._pool.now_s() >= self._retry_at_s:
            self._open()
            if not self._failures:
                self._waiting.append(call)
                return
        # What failed once may take its whole timeout the next time, too: better to try elsewhere, or later.
        call.lost(self._reason, False)

    def _follow(self, shard: ShardInfo) -> UpstreamConnection | None:
        """Take note of a new topology; a new address or process wants a new connection, and a fresh start."""
        old, self.shard = self.shard, shard
        if old is not None and _process(old) != _process(shard):
            if self._connection is not None:
                self._pool.retire(self._connection)
                self._connection = None
            self._retry_at_s, self._failures, self.failing_since_s = 0.0, 0, None
        return self._connection

    def _open(self) -> None:
        if not self._is_opening:
            self._is_opening = True
            self._pool.spawn(self._open_now())

    async def _open_now(self) -> None:
        shard = self.shard
        assert shard is not None
        try:
            connection = await self._pool.open(shard, self._protocol, is_replica=self._is_replica)
        except ShardUnavailableError as error:
            self._is_opening = False
            self._failed(str(error))
            return
        self._is_opening = False
        assert self.shard is not None
        if _process(self.shard) != _process(shard):  # a newer topology came meanwhile
            self._pool.retire(connection)
            self._open()
            return
        if self._failures:
            self._pool.on_return()
        self._connection, self._failures, self.failing_since_s = connection, 0, None
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            self.send(call, self.shard)

    def _failed(self, reason: str) -> None:
        now_s = self._pool.now_s()
        self._reason = reason
        if self.failing_since_s is None:
            self.failing_since_s = now_s
            log.warning("cannot reach %s", reason)
        pause_s = min(_FIRST_PAUSE_S * 2**self._failures, _LONGEST_PAUSE_S)
        self._failures = min(self._failures + 1, 10)
        self._retry_at_s = now_s + pause_s * self._pool.rng.uniform(0.5, 1.0)
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            call.lost(self._reason, False)

    def owes_write(self, client: object) -> bool:
        """Whether a command of `client` that changes something is under way here."""
        connection = self._connection
        return (connection is not None and connection.owes_write(client)) or any(
            is_writing(call, client) for call in self._waiting)

    def give_up(self, connection: UpstreamConnection, reason: str) -> None:
        """Close `connection` if it is this lane's: nothing more waits for it or for the next one."""
        if self._connection is connection:
            self._connection = None
            self._failures, self._reason = max(self._failures, 1), reason
            connection.abort(reason)

    def close(self) -> None:
        """Give up the connection; what is under way or waiting is lost."""
        if self._connection is not None:
            self._connection.abort("it left the cluster")
            self._connection = None
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            call.lost("its shard left the cluster", False)


def _process(shard: ShardInfo) -> tuple[str, int, int]:
    """Return what tells one process of a shard from another."""
    return shard.host, shard.port, shard.incarnation


class Pool:
    """All connections of one gateway to the shards."""

    def __init__(self, secret: str | None, settings: GatewaySettings, rng: random.Random,
                 tls: TlsSettings | None = None, user: str | None = None) -> None:
        self.rng = rng
        self._tls = tls
        self._user = user
        self._secret = secret
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._lanes: dict[tuple[str, int, bool], Lane] = {}
        self._replica_lanes: dict[tuple[str, int], Lane] = {}
        self._connections: set[UpstreamConnection] = set()
        self._retired: set[UpstreamConnection] = set()
        self._idle: dict[tuple[str, int, int], list[UpstreamConnection]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.now_s = self._loop.time
        self.on_return: Callable[[], None] = lambda: None
        """Called when a shard that could not be reached can be reached again."""

    @property
    def connection_count(self) -> int:
        """Open connections to shards."""
        return len(self._connections)

    def lane(self, shard_id: str, protocol: int, is_long: bool) -> Lane:
        """Return the lane for plain or for long commands, made when first asked for."""
        lane = self._lanes.get((shard_id, protocol, is_long))
        if lane is None:
            lane = self._lanes[shard_id, protocol, is_long] = Lane(self, protocol)
        return lane

    def replica_lane(self, shard_id: str, protocol: int) -> Lane:
        """Return the lane for reads of slots that the shard is a replica of."""
        lane = self._replica_lanes.get((shard_id, protocol))
        if lane is None:
            lane = self._replica_lanes[shard_id, protocol] = Lane(self, protocol, is_replica=True)
        return lane

    def keep(self, shard_ids: set[str]) -> None:
        """Close the lanes of shards that are no longer there."""
        for key in [key for key in self._lanes if key[0] not in shard_ids]:
            self._lanes.pop(key).close()
        for place in [place for place in self._replica_lanes if place[0] not in shard_ids]:
            self._replica_lanes.pop(place).close()

    async def open(self, shard: ShardInfo, protocol: int, *, is_replica: bool = False) -> UpstreamConnection:
        """Return a new connection, watched over by `check`; with `is_replica`, one that may read from replicas.

        Raises:
            ShardUnavailableError: it cannot be had.
        """
        host, port, timeout_s = shard.host, shard.port, self._settings.connect_timeout_s
        name = f"shard {shard.id} at {host}:{port}"
        connection = await open_connection(name, host, port, protocol, self._secret, timeout_s, self._tls,
                                           self._user)
        connection.shard_id = shard.id
        self._connections.add(connection)
        if is_replica:
            connection.send(Setting(READONLY))  # a shard that refuses will refuse the reads, too
        return connection

    async def borrow(self, shard: ShardInfo, protocol: int) -> UpstreamConnection:
        """Return a connection for one client alone; `give_back` or `retire` it.

        Raises:
            ShardUnavailableError: it cannot be had.
        """
        idle = self._idle.get((shard.host, shard.port, protocol), [])
        while idle:
            if not (connection := idle.pop()).is_lost:
                return connection
        return await self.open(shard, protocol)

    def give_back(self, connection: UpstreamConnection, shard: ShardInfo, protocol: int) -> None:
        """Keep a borrowed connection for the next, after an UNWATCH that nobody waits for."""
        idle = self._idle.setdefault((shard.host, shard.port, protocol), [])
        if connection.is_lost or len(idle) >= self._settings.idle_watch_connections:
            connection.abort()
        else:
            connection.send(Setting(UNWATCH))
            idle.append(connection)

    def retire(self, connection: UpstreamConnection) -> None:
        """Close `connection` as soon as it owes nothing."""
        self._retired.add(connection)
        if connection.is_idle:
            connection.abort()

    def give_up(self, connection: UpstreamConnection, reason: str) -> None:
        """Close a connection whose shard does not answer; what is under way there is lost."""
        for lane in (*self._lanes.values(), *self._replica_lanes.values()):
            lane.give_up(connection, reason)
        connection.abort(reason)

    def silent(self) -> list[UpstreamConnection]:
        """Return the connections that owe replies and have sent nothing for a while."""
        now_s, after_s = self.now_s(), self._settings.replica_after_s
        return [connection for connection in self._connections if connection.silent_for_s(now_s) > after_s]

    def unanswered(self) -> list[str]:
        """Return the addresses, "host:port", of shards that do not answer here, or cannot be reached, for a while."""
        silent = {connection.shard_id for connection in self.silent()}
        since_s = self.now_s() - self._settings.replica_after_s
        shards = [lane.shard for lane in (*self._lanes.values(), *self._replica_lanes.values()) if lane.shard and (
            lane.shard.id in silent or (lane.failing_since_s is not None and lane.failing_since_s < since_s))]
        return list(dict.fromkeys(f"{shard.host}:{shard.port}" for shard in shards))

    def check(self) -> None:
        """Forget the lost connections, close the retired, give up the silent. To be called a few times a second."""
        now_s = self.now_s()
        for connection in list(self._connections):
            connection.check(now_s, self._settings.upstream_silence_s)
            if connection in self._retired and connection.is_idle:
                connection.abort()
            if connection.is_lost:
                self._connections.discard(connection)
                self._retired.discard(connection)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` beside the rest; if it fails, say so."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a task of the gateway failed", exc_info=error)

    async def close(self) -> None:
        """Close everything."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self._connections):
            connection.abort()
        self._connections.clear()
