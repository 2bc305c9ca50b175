"""A whole cluster in this process: real shard servers and a gateway on real sockets, without Ray.

What lives here: what the actors do around the servers, done by hand on one background thread. Public,
because programs that use raycache want tests that start in milliseconds. What does not: restarts and
placement, which need Ray.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from raycache.client.info import ConnectionInfo
from raycache.config import MIB, ClusterConfig
from raycache.gateway.server import GatewayServer
from raycache.ring.placement import PlacedShard, build_table
from raycache.ring.topology import GatewayInfo, ShardInfo, Topology
from raycache.shard.build import build_server
from raycache.shard.server import ShardServer, listening_socket

T = TypeVar("T")

HOST = "127.0.0.1"
START_TIMEOUT_S = 10.0


class LocalCluster:
    """`shards` shard servers and, unless `gateway` is false, one gateway, on loopback and free ports.

    Args:
        shards: how many.
        gateway: whether to run a gateway, too.
        secret: what AUTH must show; with None the doors demand nothing.
        settings: anything `ClusterConfig` takes, such as `policy` or `memory_per_shard_bytes`.

    Use it as a context manager. All methods may be called from any thread.
    """

    def __init__(self, shards: int = 3, *, gateway: bool = True, secret: str | None = None, **settings: Any) -> None:
        settings.setdefault("memory_per_shard_bytes", 64 * MIB)
        self.config = ClusterConfig(name="local", shards=shards, **settings)
        self.secret = secret
        self.servers: list[ShardServer | None] = []
        self.gateway: GatewayServer | None = None
        self.topology = Topology.empty(self.config.name)
        self._infos: list[ShardInfo] = []
        self._with_gateway = gateway
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-cluster", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.run(self._start())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where each shard listens."""
        return [(info.host, info.port) for info in self._infos]

    @property
    def gateway_address(self) -> tuple[str, int]:
        """Where the gateway listens."""
        gateway = self.topology.gateways[0]
        return gateway.host, gateway.port

    @property
    def info(self) -> ConnectionInfo:
        """What a `Cache` needs to connect."""
        return ConnectionInfo(cluster=self.config.name, seeds=tuple(self.addresses), secret=self.secret,
                              topology=self.topology.to_bytes())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the cluster's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_TIMEOUT_S)

    def call(self, function: Callable[[], T]) -> T:
        """Call a function on the cluster's loop, where touching a core is safe."""

        async def called() -> T:
            return function()

        return self.run(called())

    def kill(self, index: int) -> None:
        """Stop a shard at once: its connections break, its entries are gone, nobody is told."""
        server, self.servers[index] = self.servers[index], None
        if server is not None:
            self.run(server.stop())

    def restart(self, index: int) -> None:
        """Start a killed shard again, empty, at its old address, and publish the new topology."""
        self.run(self._restart(index))

    def move(self, owners: Callable[[Topology], Any]) -> None:
        """Publish a next topology whose slot table is what `owners` makes of the present one."""
        self.run(self._publish(owners(self.topology)))

    def close(self) -> None:
        """Stop everything."""
        if self._thread.is_alive():
            self.run(self._stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(START_TIMEOUT_S)
        self._loop.close()

    async def _start(self) -> None:
        for index in range(self.config.shards):
            server, port = await self._serve(index, 0)
            self.servers.append(server)
            self._infos.append(ShardInfo(id=f"s{index}", host=HOST, port=port, node_id="local", machine=HOST, zone="",
                                         state="up", weight=self.config.memory_per_shard_bytes, incarnation=1))
        placed = [PlacedShard(info.id, info.machine, info.zone, info.weight) for info in self._infos]
        await self._publish(build_table(placed, copies=1, vnodes_per_shard=self.config.vnodes_per_shard,
                                        max_load=self.config.max_load, previous=None))
        if self._with_gateway:
            await self._start_gateway()

    async def _serve(self, index: int, port: int) -> tuple[ShardServer, int]:
        server = build_server(self.config, f"s{index}", secret=self.secret, require_auth=self.secret is not None)
        sock = listening_socket(HOST, port)
        address = sock.getsockname()
        await server.start(sock)
        return server, address[1]

    async def _start_gateway(self) -> None:
        self.gateway = GatewayServer(get_topology=lambda: self.topology, secret=self.secret,
                                     require_auth=self.secret is not None, limits=self.config.limits,
                                     split_transactions=self.config.split_transactions)
        sock = listening_socket(HOST, 0)
        port = sock.getsockname()[1]
        await self.gateway.start(sock)
        gateway = GatewayInfo(HOST, port, "local")
        await self._publish(self.topology.owners, (gateway,))

    async def _restart(self, index: int) -> None:
        old = self._infos[index]
        server, _ = await self._serve(index, old.port)
        self.servers[index] = server
        self._infos[index] = replace(old, state="up", incarnation=old.incarnation + 1)
        await self._publish(self.topology.owners)

    async def _publish(self, owners: Any, gateways: tuple[GatewayInfo, ...] | None = None) -> None:
        old = self.topology
        self.topology = Topology(self.config.name, old.epoch + 1, tuple(self._infos), owners,
                                 old.gateways if gateways is None else gateways)
        for server in self.servers:
            if server is not None:
                server.core.set_topology(self.topology)

    async def _stop(self) -> None:
        if self.gateway is not None:
            await self.gateway.stop()
        for index, server in enumerate(self.servers):
            if server is not None:
                await server.stop()
                self.servers[index] = None
        # One more turn lets transports that were aborted close their sockets.
        await asyncio.sleep(0)
