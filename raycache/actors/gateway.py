"""The gateway actor: Ray's view of one machine's `GatewayServer`.

What lives here: being started by Ray, registering at the router, keeping the topology fresh. What does
not: serving (`raycache.gateway.server`).
"""

from __future__ import annotations

import logging
import os
import socket
from typing import Any

from ray.runtime_context import get_runtime_context

from raycache.access.user import user_of
from raycache.actors import calls
from raycache.actors.background import spawn
from raycache.actors.finding import RouterFinder
from raycache.actors.metrics import push_forever
from raycache.actors.shard import Door
from raycache.config import ClusterConfig
from raycache.gateway.scrape import ScrapeDoor, gateway_samples
from raycache.gateway.server import GatewayServer
from raycache.logs import event, set_up
from raycache.ring.topology import Topology
from raycache.shard.server import listening_socket

log = logging.getLogger(__name__)


class GatewayActor:
    """One machine's door for clients that know no cluster."""

    def __init__(self, config: ClusterConfig, door: Door) -> None:
        set_up(config.log_format, [door.secret], cluster=config.name, gateway=door.public_address())
        self._config = config
        self._door = door
        self._host = door.public_address()
        self._port = config.gateway_port
        self._is_serving = False
        self._warnings: list[str] = []
        self._node_id = get_runtime_context().get_node_id()
        self._topology = Topology.empty(config.name)
        self._router = RouterFinder(config.name)
        self._server = GatewayServer(
            get_topology=lambda: self._topology, refresh=self._refresh, secret=door.secret,
            require_auth=door.require_auth, limits=config.limits, split_transactions=config.split_transactions,
            users=[user_of(line) for line in config.users], tls=config.tls,
            measure_every=config.measure_every,
        )
        self._scrapes = ScrapeDoor(self._server, config.name, lambda shard: shard.node_id == self._node_id)
        self._boot_task = spawn(self._boot(), "boot")
        self._push_task = spawn(push_forever(config.name, lambda: gateway_samples(self._server)), "metrics")

    async def _boot(self) -> None:
        # First of all: users that have been deleted or narrowed since the start must not come in again.
        users = await self._router.ask_until_heard("this gateway", calls.router_users)
        self._server.core.guard.merge(users)
        sock = self._bind("gateway port", self._port)
        self._port = sock.getsockname()[1]
        await self._server.start(sock)
        if self._config.metrics_port:
            await self._scrapes.start(self._bind("metrics port", self._config.metrics_port))
        self._is_serving = True
        log.info("the gateway serves on %s:%d", self._host, self._port,
                 extra=event("gateway_started", host=self._host, port=self._port, metrics_port=self._scrapes.port))

        async def register(router: calls.RouterHandle) -> bytes | None:
            return await calls.register_gateway(router, await self.report())

        data = await self._router.ask_until_heard("this gateway", register)
        if data is not None:
            await self.set_topology(data)

    def _bind(self, name: str, port: int) -> socket.socket:
        """Listen on a port, or, where another has it (several Ray nodes on one machine), on any."""
        address = self._door.listen_address()
        try:
            return listening_socket(address, port)
        except OSError as error:
            if not port:
                raise
            sock = listening_socket(address, 0)
            self._warnings.append(
                f"{name} {port} is taken on {self._host} ({error.strerror}); "
                f"this gateway listens on {sock.getsockname()[1]}"
            )
            return sock

    async def _refresh(self) -> Topology | None:
        """Ask the router for a newer topology."""
        data = await self._router.ask(lambda router: calls.router_topology(router, self._topology.epoch))
        if data is not None:
            await self.set_topology(data)
        return self._topology

    async def report(self) -> dict[str, Any]:
        """Return what the router needs to know of this gateway."""
        topology = self._server.topology()
        return {"host": self._host, "port": self._port, "serving": self._is_serving, "node_id": self._node_id,
                "pid": os.getpid(),
                "topology": topology.to_bytes() if topology is not None and topology.epoch else None,
                "warnings": self._warnings}

    async def set_topology(self, data: bytes) -> int:
        """Take in a topology if it is newer; return the epoch held afterwards."""
        topology = Topology.from_bytes(data)
        if topology.epoch > self._topology.epoch:
            self._topology = topology
            self._server.topology_changed()
        newest = self._server.topology()
        return newest.epoch if newest is not None else 0
