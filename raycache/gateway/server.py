"""The gateway: one listening socket that looks like one standalone Redis 7, in front of all shards.

What lives here: `GatewayServer`, putting the parts together, admission, the periodic checks, numbers.
What does not: a client's socket (`connection`), its commands (`conversation`), the way to the shards
(`plan`, `executor`, `pool`), Ray (`raycache.actors`). Everything here belongs to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import resource
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from raycache.access.user import User
from raycache.clock import Clock, SystemClock
from raycache.config import MIN_SHARD_MEMORY_BYTES, Limits
from raycache.gateway.access import SharedAccess
from raycache.gateway.connection import ClientConnection
from raycache.gateway.conversation import Conversation
from raycache.gateway.executor import Executor
from raycache.gateway.hearing import Hearing
from raycache.gateway.info import Sections
from raycache.gateway.plan import Planner
from raycache.gateway.pool import Pool
from raycache.gateway.settings import GatewaySettings
from raycache.handshake import TlsDoor
from raycache.ring.topology import Topology
from raycache.shard.commands.info_commands import commandstats, errorstats, latencystats
from raycache.shard.core import ShardCore
from raycache.shard.figures import latency_of
from raycache.shard.meter import EVERY
from raycache.shard.server import resident_bytes
from raycache.store import Store, make_policy
from raycache.strangers import Strangers
from raycache.tls import TlsSettings

log = logging.getLogger(__name__)

CHECK_INTERVAL_S: Final = 0.25
"""How often slow clients and lost connections are looked for: a fraction of the shortest limit, and cheap."""
SILENCE_INTERVAL_S: Final = 0.05
"""How often silent shards are looked for: reads wait for it before they go to a replica."""


@dataclass(slots=True)
class GatewayStats:
    """What happened at the door, counted since the start."""

    commands: int = 0
    """Commands begun, whether a shard was asked or not."""
    connections_total: int = 0
    """Connections accepted."""
    connections_refused: int = 0
    """Connections over `max_connections`, closed at once with an error."""
    dropped_slow: int = 0
    """Clients dropped because they did not read their replies."""
    dropped_half_sent: int = 0
    """Clients dropped because they left a command half-sent."""
    dropped_strangers: int = 0
    """Connections closed because they did not show the secret in time, or were too many, or sent too much before."""
    protocol_errors: int = 0
    """Connections closed because of broken framing."""


class GatewayServer:
    """Serves clients that know nothing of clusters. Life: `await start(sock)`, serve until `await stop()`.

    Args:
        get_topology: the newest topology that others have told; None or one without owners: commands wait, then
            -CLUSTERDOWN. What the gateway learns from the shards itself it keeps to itself (see `topology`).
        refresh: asks the router for a newer topology; afterwards `get_topology` returns it. None: nobody to ask.
        secret: shown to the shards, and what clients' AUTH must show.
        require_auth: whether clients are refused until they have shown it.
        users: those that the cluster was started with; the shards may know others by now.
        user: whose password `secret` is; None: the cluster's own secret.
        tls: certificates, for this door and for the way to the shards; None: neither speaks TLS.
        split_transactions: whether a transaction over several shards runs as one per shard, or is refused.
    """

    def __init__(self, *, get_topology: Callable[[], Topology | None],
                 refresh: Callable[[], Awaitable[object]] | None = None, secret: str | None = None,
                 require_auth: bool = False, limits: Limits | None = None, split_transactions: bool = True,
                 users: Iterable[User] = (), tls: TlsSettings | None = None, user: str | None = None,
                 settings: GatewaySettings | None = None, clock: Clock | None = None,
                 measure_every: int = EVERY, rng: random.Random | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.limits = limits or Limits()
        self.settings = settings or GatewaySettings()
        self.clock: Clock = clock or SystemClock()
        self.stats = GatewayStats()
        self.connections: set[ClientConnection] = set()
        self.strangers = Strangers[ClientConnection](self.limits, lambda one: one.conversation.session.authenticated)
        self.tls = tls
        self.port = 0
        rng = rng or random.Random()
        # Never written to: it is there because the commands the gateway answers alone expect a core.
        store = Store(capacity_bytes=MIN_SHARD_MEMORY_BYTES, policy=make_policy("noeviction"))
        self.core = ShardCore(store=store, shard_id="gateway", secret=secret, require_auth=require_auth,
                              limits=self.limits, started_ms=self.clock.unix_ms(), users=users)
        self.core.measure(self.clock.monotonic_s, measure_every)
        self.pool = Pool(secret, self.settings, rng, tls, user)
        self._get_topology = get_topology
        self._learned: Topology | None = None
        planner = Planner(rng, self.info, self.info_sections)
        self.executor = Executor(planner, self.pool, self.topology, refresh, self.settings, rng,
                                 learn=self.learn, may_split=split_transactions)
        self.access = SharedAccess(self.core.guard, self.pool, self.topology, rng)
        self.core.tracking.limit_bytes = self.settings.tracking_bytes
        self.hearing = Hearing(self.core.tracking, self.pool, self.topology)
        self.core.tracking.on_due = self._push_soon
        self.pool.on_return = self.topology_changed
        self._server: asyncio.Server | TlsDoor | None = None
        self._checks: asyncio.Task[None] | None = None

    async def start(self, sock: socket.socket | None) -> None:
        """Serve on `sock`, a bound stream socket; it belongs to the gateway from here on. None: nobody connects."""
        if sock is not None:
            self.port = sock.getsockname()[1]
            if self.tls is None:
                self._server = await self.loop.create_server(lambda: ClientConnection(self), sock=sock, backlog=1024)
            else:
                self._server = TlsDoor(self.tls, self.limits, lambda: ClientConnection(self))
                self._server.start(sock)
        self._checks = self.loop.create_task(self._check_forever(), name="gateway-checks")

    async def stop(self) -> None:
        """Stop listening and close every connection."""
        if self._checks is not None:
            self._checks.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._checks
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        await self.pool.close()

    def topology(self) -> Topology | None:
        """Return the newest topology, whoever told it."""
        told, learned = self._get_topology(), self._learned
        if learned is None or (told is not None and told.epoch >= learned.epoch):
            return told
        return learned

    def learn(self, topology: Topology) -> None:
        """Take a topology that a shard has shown."""
        known = self.topology()
        if known is None or topology.epoch > known.epoch:
            log.info("a shard has shown epoch %d", topology.epoch)
            self._learned = topology
            self.topology_changed()

    def topology_changed(self) -> None:
        """Tell those who wait for a newer topology that it is there; without this they find it themselves, later."""
        self.executor.topology_changed()

    def info(self) -> dict[str, object]:
        """Return the INFO fields in which clients must see the gateway rather than a shard."""
        topology = self.executor.topology()
        return {
            "process_id": os.getpid(), "tcp_port": self.port, "connected_clients": len(self.connections),
            "maxclients": self.limits.max_connections,
            "raycache_role": "gateway", "raycache_epoch": topology.epoch if topology is not None else 0,
            "raycache_shards": len(topology.shards) if topology is not None else 0,
            "raycache_gateway_dropped_slow": self.stats.dropped_slow,
        }

    def info_sections(self) -> Sections:
        """Return the sections of INFO that speak of commands: as they came through this gateway."""
        meter, calls = self.core.meter, self.core.calls_of()
        found = {"Commandstats": commandstats(meter, calls), "Latencystats": latencystats(meter),
                 "Errorstats": errorstats(meter)}
        return {name: {field: str(value) for field, value in fields.items()} for name, fields in found.items()}

    def report(self) -> dict[str, Any]:
        """Return the gateway's numbers, plain enough for msgpack."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        topology = self.topology()
        return {**asdict(self.stats), **asdict(self.executor.stats), "connections": len(self.connections),
                "upstream_connections": self.pool.connection_count, "started_ms": self.core.started_ms,
                "epoch": topology.epoch if topology is not None else 0, "cpu_s": used.ru_utime + used.ru_stime,
                "resident_bytes": resident_bytes(), "latency": latency_of(self.core.meter)}

    def admit(self, connection: ClientConnection) -> None:
        """Give a new connection its session, or refuse it."""
        transport = connection.transport
        peer, local = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self.core.now_ms = self.clock.unix_ms()
        session = self.core.open_session(_address(peer), _address(local))
        session.kill, session.push = transport.abort, connection.push
        connection.conversation = Conversation(self.core, session, self.executor, connection, self.settings,
                                               connection.spawn, self.access, self.hearing)
        if len(self.connections) >= self.limits.max_connections:
            self.stats.connections_refused += 1
            transport.write(b"-ERR max number of clients reached\r\n")
            transport.close()
            return
        self.stats.connections_total += 1
        self.connections.add(connection)
        if not session.authenticated:
            connection.is_watched = True
            self._drop_strangers(self.strangers.add(connection, self.clock.monotonic_s()))

    def _push_soon(self) -> None:
        self.loop.call_soon(self._push_due)

    def _push_due(self) -> None:
        """Tell clients that track keys which have changed."""
        for session, message in self.core.tracking.take():
            if session.push is not None:
                session.push(message)

    def _drop_strangers(self, strangers: list[ClientConnection]) -> None:
        self.stats.dropped_strangers += len(strangers)
        for connection in strangers:
            connection.transport.abort()

    def forget(self, connection: ClientConnection) -> None:
        """Take leave of a connection that is gone."""
        self.connections.discard(connection)
        self.strangers.forget(connection)
        self.core.close_session(connection.conversation.session)
        connection.conversation.close()

    async def _check_forever(self) -> None:
        checked_s = self.clock.monotonic_s()
        while True:
            await asyncio.sleep(SILENCE_INTERVAL_S)
            now_s = self.clock.monotonic_s()
            try:
                self.executor.check()
                self.access.step(now_s)
                self.hearing.step()
                if now_s - checked_s >= CHECK_INTERVAL_S:
                    checked_s = now_s
                    self.check(now_s)
            except Exception:  # the checks must outlive a bug in one of them
                log.exception("the gateway's checks failed")

    def check(self, now_s: float) -> None:
        """Drop clients that neither read nor send; give up shards that owe replies and are silent."""
        self.pool.check()
        for connection in list(self.connections):
            connection.check(now_s)
        self._drop_strangers(self.strangers.overdue(now_s))


def _address(name: tuple[Any, ...] | None) -> str:
    return f"{name[0]}:{name[1]}" if name else "?:0"
