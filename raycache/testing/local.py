"""A whole cluster in this process: real shard servers and a gateway on real sockets, without Ray.

What lives here: what the actors do around the servers, done by hand; each shard has a thread of its own, so that one
can stand still while the others go on. Public, because programs that use raycache want tests that start in
milliseconds. What does not: placement, which needs Ray.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from raycache.client.info import ConnectionInfo
from raycache.config import MIB, ClusterConfig
from raycache.gateway.server import GatewayServer
from raycache.ring.placement import PlacedShard, build_table
from raycache.ring.topology import GatewayInfo, ShardInfo, Topology
from raycache.shard.build import build_server
from raycache.shard.server import ShardServer, listening_socket
from raycache.testing.seat import Seat

T = TypeVar("T")

HOST: Final = "127.0.0.1"


class LocalCluster:
    """`shards` shard servers and, unless `gateway` is false, one gateway, on loopback and free ports.

    Args:
        shards: how many.
        gateway: whether to run a gateway, too.
        secret: what AUTH must show; with None the doors demand nothing.
        settings: anything `ClusterConfig` takes, such as `policy`, `copies` or `memory_per_shard_bytes`.

    Use it as a context manager. All methods may be called from any thread.
    """

    def __init__(self, shards: int = 3, *, gateway: bool = True, secret: str | None = None, **settings: Any) -> None:
        settings.setdefault("memory_per_shard_bytes", 64 * MIB)
        self.config = ClusterConfig(name="local", shards=shards, **settings)
        self.secret = secret
        self.servers: list[ShardServer | None] = []
        self.gateway: GatewayServer | None = None
        self.topology = Topology.empty(self.config.name)
        # Shards show each other a secret even where nobody else has to.
        self._secret = secret or secrets.token_hex(16)
        self._infos: list[ShardInfo] = []
        self._with_gateway = gateway
        self._seats: list[Seat] = []
        self._front: Seat | None = None

    def __enter__(self) -> Self:
        self._front = Seat("local-cluster")
        try:
            self._start()
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

    def run(self, work: Coroutine[Any, Any, T], shard: int | None = None) -> T:
        """Run a coroutine on a shard's loop, or on the gateway's, and return its result."""
        return self._seat(shard).run(work)

    def call(self, function: Callable[[], T], shard: int | None = None) -> T:
        """Call a function on a shard's loop, or on the gateway's: touching what lives there is safe only there."""
        return self._seat(shard).call(function)

    def kill(self, index: int) -> None:
        """Stop a shard at once: its connections break, its entries are gone, nobody is told."""
        server, self.servers[index] = self.servers[index], None
        if server is not None:
            self._seats[index].resume()
            self._seats[index].run(server.stop())

    def restart(self, index: int) -> None:
        """Start a killed shard again, empty, at its old address, and publish the new topology."""
        old = self._infos[index]
        self._serve(index, old.port)
        self._infos[index] = replace(old, state="up", incarnation=old.incarnation + 1)
        self.publish(self.topology.owners)

    def pause(self, index: int) -> None:
        """Let a shard stand still as SIGSTOP does: its sockets stay open, and it answers nobody."""
        self._seats[index].pause()

    def resume(self, index: int) -> None:
        """Let a paused shard go on."""
        self._seats[index].resume()

    def move(self, owners: Callable[[Topology], Any]) -> None:
        """Publish a next topology whose slot table is what `owners` makes of the present one."""
        self.publish(owners(self.topology))

    def publish(self, owners: Any, **changes: Any) -> None:
        """Give everybody a next topology with this slot table, and whatever else of it is to change."""
        self.topology = replace(self.topology, epoch=self.topology.epoch + 1, shards=tuple(self._infos), owners=owners,
                                replication=self.config.replication, **changes)
        for index, server in enumerate(self.servers):
            if server is not None:
                self._hand_over(server, index)

    def close(self) -> None:
        """Stop everything."""
        if self._front is not None:
            if self.gateway is not None:
                self._front.run(self.gateway.stop())
            self._front.close()
            self._front = None
        for index, seat in enumerate(self._seats):
            if index < len(self.servers):
                self.kill(index)
            seat.close()
        self._seats.clear()

    def _seat(self, shard: int | None) -> Seat:
        if shard is not None:
            return self._seats[shard]
        assert self._front is not None, "the cluster does not run"
        return self._front

    def _start(self) -> None:
        for index in range(self.config.shards):
            self._seats.append(Seat(f"shard-{index}"))
            self.servers.append(None)
            port = self._serve(index, 0)
            self._infos.append(ShardInfo(id=f"s{index}", host=HOST, port=port, node_id="local", machine=HOST, zone="",
                                         state="up", weight=self.config.memory_per_shard_bytes, incarnation=1))
        placed = [PlacedShard(info.id, info.machine, info.zone, info.weight) for info in self._infos]
        copies = min(self.config.copies, self.config.shards)
        self.publish(build_table(placed, copies=copies, vnodes_per_shard=self.config.vnodes_per_shard,
                                 max_load=self.config.max_load, previous=None))
        if self._with_gateway:
            self._seat(None).run(self._start_gateway())

    def _serve(self, index: int, port: int) -> int:
        """Start a shard's server on its own loop; return its port."""
        sock = listening_socket(HOST, port)

        async def start() -> ShardServer:
            server = build_server(self.config, f"s{index}", secret=self._secret, require_auth=self.secret is not None)
            await server.start(sock)
            return server

        port = sock.getsockname()[1]
        self.servers[index] = self._seats[index].run(start())
        return int(port)

    def _hand_over(self, server: ShardServer, index: int) -> None:
        topology = self.topology
        self._seats[index].call(lambda: server.set_topology(topology))

    async def _start_gateway(self) -> None:
        self.gateway = GatewayServer(get_topology=lambda: self.topology, secret=self._secret,
                                     require_auth=self.secret is not None, limits=self.config.limits,
                                     split_transactions=self.config.split_transactions)
        sock = listening_socket(HOST, 0)
        port = sock.getsockname()[1]
        await self.gateway.start(sock)
        gateway = GatewayInfo(HOST, port, "local")
        await asyncio.to_thread(self.publish, self.topology.owners, gateways=(gateway,))
