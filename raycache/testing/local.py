"""A whole cluster in this process: real shard servers and a gateway on real sockets, without Ray.

What lives here: what Ray does around the servers, done by hand; each shard has a thread of its own, so that one can
stand still while the others go on. Public, because programs that use raycache want tests that start in milliseconds.
What does not: the router (`local_router`).

With several copies the real router decides who serves what, and follows what happens: a killed shard is replaced, one
that is back is filled again. With one copy nobody decides anything unless asked to (`router=True`): tables are
published by hand (`move`), and a killed shard stays in them until it is restarted.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from raycache.access.user import user_of
from raycache.client.info import ConnectionInfo
from raycache.config import MIB, ClusterConfig
from raycache.gateway.scrape import ScrapeDoor
from raycache.gateway.server import GatewayServer
from raycache.ring.placement import PlacedShard, build_table
from raycache.ring.topology import GatewayInfo, ShardInfo, Topology
from raycache.router.access import SharedUsers
from raycache.router.core import RouterCore
from raycache.router.messages import GatewayReport, NodeReport, ShardReport
from raycache.shard.build import build_server
from raycache.shard.guard import Guard
from raycache.shard.server import ShardServer, listening_socket
from raycache.stores.config import Attachment
from raycache.stores.protocol import BackingStore
from raycache.stores.worker import WriterThread
from raycache.stores.writer import WriterSettings
from raycache.testing.local_router import LocalRouter
from raycache.testing.seat import Seat

T = TypeVar("T")

HOST: Final = "127.0.0.1"
SETTLE_TIMEOUT_S: Final = 20.0


class LocalCluster:
    """`shards` shard servers and, unless `gateway` is false, one gateway, on loopback and free ports.

    Args:
        shards: how many.
        gateway: whether to run a gateway, too.
        secret: what AUTH must show; with None the doors demand nothing.
        router: whether the router runs; None: where there are several copies.
        machines: on how many pretended machines the shards stand, for the placement of copies; None: one each.
        settings: anything `ClusterConfig` takes, such as `policy`, `copies` or `memory_per_shard_bytes`.

    Use it as a context manager. All methods may be called from any thread.
    """

    def __init__(self, shards: int = 3, *, gateway: bool = True, secret: str | None = None, router: bool | None = None,
                 machines: int | None = None, **settings: Any) -> None:
        settings.setdefault("memory_per_shard_bytes", 64 * MIB)
        self.config = ClusterConfig(name="local", shards=shards, **settings)
        self.secret = secret
        self.servers: list[ShardServer | None] = []
        self.gateway: GatewayServer | None = None
        self.topology = Topology.empty(self.config.name)
        """The newest that was published here; see `newest_topology` where the router runs."""
        self.router: LocalRouter | None = None
        # Shards show each other a secret even where nobody else has to.
        self._secret = secret or secrets.token_hex(16)
        self._infos: dict[int, ShardInfo] = {}
        self._starting = threading.Lock()
        self._with_gateway = gateway
        self._with_router = self.config.copies > 1 if router is None else router
        self._nodes = [NodeReport(f"node{number}", f"machine{number}") for number in range(machines or shards)]
        self._gateway_info: GatewayInfo | None = None
        self._users = SharedUsers(self.config.users)
        self._scrapes: ScrapeDoor | None = None
        self._seats: list[Seat] = []
        self.writers: dict[str, WriterThread] = {}
        """What writes to the stores that are attached for write-behind, by name."""
        self._front: Seat | None = None
        self._office: Seat | None = None

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
        return [(info.host, info.port) for _, info in sorted(self._infos.items())]

    @property
    def gateway_address(self) -> tuple[str, int]:
        """Where the gateway listens."""
        assert self._gateway_info is not None, "there is no gateway"
        return self._gateway_info.host, self._gateway_info.port

    @property
    def info(self) -> ConnectionInfo:
        """What a `Cache` needs to connect."""
        tls = self.config.tls.for_clients() if self.config.tls is not None else None
        return ConnectionInfo(cluster=self.config.name, seeds=tuple(self.addresses), secret=self.secret, tls=tls,
                              topology=self.newest_topology.to_bytes())

    @property
    def newest_topology(self) -> Topology:
        """The router's where it runs, else what was published last."""
        return self.router.core.topology if self.router is not None else self.topology

    @property
    def metrics_address(self) -> tuple[str, int]:
        """Where the gateway serves its figures, and those of all shards, to Prometheus."""
        assert self._scrapes is not None, "there is no gateway"
        return HOST, self._scrapes.port

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
        """Start a killed shard again, empty, at its old address, and tell the router, or publish that it is back."""
        report = self._serve(index, self._infos[index].port, self._infos[index].node_id)
        if self.router is not None:
            self._tell_router(report)
        else:
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
        shards = tuple(info for _, info in sorted(self._infos.items()))
        self.topology = replace(self.topology, epoch=self.topology.epoch + 1, shards=shards, owners=owners,
                                replication=self.config.replication, **changes)
        for index, server in enumerate(self.servers):
            if server is not None:
                self._hand_over(server, index)

    def scale(self, shards: int, timeout_s: float = SETTLE_TIMEOUT_S) -> None:
        """Let the router have so many shards; return when it has and every entry is where it belongs."""
        self.wish(lambda core: core.scale(shards))
        self._wait_until(lambda core: core.is_settled and core.progress(time.monotonic())["change"] is None, timeout_s)

    def wish(self, wish: Callable[[RouterCore], None]) -> None:
        """Say something to the router: `scale`, `drain`, `cancel`. Raises as they do."""
        router, office = self._router()
        office.call(lambda: router.wish(wish))

    def wait_until_settled(self, timeout_s: float = SETTLE_TIMEOUT_S) -> None:
        """Return when the router has nothing left to do.

        Raises:
            TimeoutError: it still has.
        """
        self._wait_until(lambda core: core.is_settled, timeout_s)

    def _wait_until(self, what: Callable[[RouterCore], bool], timeout_s: float) -> None:
        router, office = self._router()
        end_s = time.monotonic() + timeout_s
        while not office.call(lambda: what(router.core)):
            if time.monotonic() > end_s:
                raise TimeoutError(f"not settled after {timeout_s:g} s: {router.core.warnings} {router.core.shards}")
            time.sleep(0.02)

    def describe(self) -> dict[str, Any]:
        """Return what the router's actor would answer to `describe`, without the shards' statistics."""
        router, office = self._router()
        core = router.core

        def described() -> dict[str, Any]:
            now_s = time.monotonic()
            progress = core.progress(now_s)
            policy = self.config.policy
            return {
                "topology": core.topology.to_bytes(), "settled": core.is_settled, "desired": core.wanted_shards,
                "secret": self.secret or "", "requires_auth": self.secret is not None,
                "policy": policy if isinstance(policy, str) else policy.__name__,
                "memory_per_shard_bytes": self.config.memory_per_shard_bytes, "failures": [],
                "warnings": list(core.warnings), "router_machine": "", "standby_machine": "",
                "restarts": {}, "stats": {}, "transfers": progress.pop("transfers"),
                "progress": progress,
                "events": [{"age_s": now_s - event.at_s, "kind": event.kind, "text": event.text}
                           for event in reversed(core.events)],
            }

        return office.call(described)

    def kill_router(self) -> None:
        """End the router; nobody is told."""
        router, self.router = self.router, None
        if router is not None and self._office is not None:
            self.topology = router.core.topology
            self._office.call(router.stop)

    def start_router(self) -> None:
        """Start the router, again or for the first time: it asks those who are there."""
        self._office = self._office or Seat("local-router")
        known = [self._report(index) for index, server in enumerate(self.servers) if server is not None]

        async def start() -> LocalRouter:
            router = LocalRouter(replace(self.config, shards=max(self.config.shards, len(known))), self, self._nodes,
                                 self._secret)
            router.start(known)
            return router

        self.router = self._office.run(start())

    def attach_store(self, attachment: Attachment, settings: WriterSettings | None = None, *,
                     store: BackingStore | None = None) -> Attachment:
        """Attach a store as `raycache.attach_store` does: with write-behind its writer starts, in place of an earlier.

        Args:
            store: the store itself, where it is open already.
        """
        if attachment.write == "behind":
            before = self.writers.get(attachment.name)
            writer = self.writers[attachment.name] = WriterThread(
                self.info, attachment, settings, refresh_info=lambda: self.info, store=store,
                number=max(time.time_ns() // 1_000_000, before.number + 1 if before is not None else 0))
            writer.start()
            if before is not None:
                before.close()
        return attachment

    def close(self) -> None:
        """Stop everything."""
        for writer in self.writers.values():
            writer.close()
        self.kill_router()
        if self._office is not None:
            self._office.close()
            self._office = None
        if self._front is not None:
            if self.gateway is not None:
                if self._scrapes is not None:
                    self._front.call(self._scrapes.stop)
                self._front.run(self.gateway.stop())
            self._front.close()
            self._front = None
        # All of them first: one that still runs would connect to one whose loop is being closed, which waits for it.
        for index in range(len(self._seats)):
            self.kill(index)
        for seat in self._seats:
            seat.close()
        self._seats.clear()

    def _seat(self, shard: int | None) -> Seat:
        if shard is not None:
            return self._seats[shard]
        assert self._front is not None, "the cluster does not run"
        return self._front

    def _start(self) -> None:
        if self._with_router:
            self.start_router()
            self.wait_until_settled()
            return
        for index in range(self.config.shards):
            self.start_shard(index, self._nodes[index % len(self._nodes)].node_id)
        placed = [PlacedShard(info.id, info.machine, info.zone, info.weight) for info in self._infos.values()]
        copies = min(self.config.copies, self.config.shards)
        self.publish(build_table(placed, copies=copies, vnodes_per_shard=self.config.vnodes_per_shard,
                                 max_load=self.config.max_load, previous=None))
        if self._with_gateway:
            self.start_gateway(self._nodes[0].node_id)
            assert self._gateway_info is not None
            self.publish(self.topology.owners, gateways=(self._gateway_info,))

    def _hand_over(self, server: ShardServer, index: int) -> None:
        topology = self.topology
        self._seats[index].call(lambda: server.set_topology(topology))

    def _share_users(self, guard: Guard) -> None:
        """Give everybody the users that have changed on one server: where no router runs nobody else would."""
        if self._with_router or not self._users.take(guard.users.to_bytes()):
            return
        packed = self._users.to_bytes()
        for seat, server in zip(self._seats, self.servers, strict=False):
            if server is not None:
                seat.loop.call_soon_threadsafe(server.core.guard.merge, packed)

    def _tell_router(self, report: ShardReport) -> None:
        router, office = self._router()
        office.call(lambda: router.registered(report))

    def _router(self) -> tuple[LocalRouter, Seat]:
        assert self.router is not None, "no router runs"
        assert self._office is not None
        return self.router, self._office

    # What the router has done

    def start_shard(self, index: int, node_id: str) -> ShardReport:
        """Start a shard, or find that it runs; return what it says of itself."""
        with self._starting:  # the router has several started at once
            while len(self._seats) <= index:
                self._seats.append(Seat(f"shard-{len(self._seats)}"))
                self.servers.append(None)
        if self.servers[index] is not None:
            return self._report(index)
        return self._serve(index, 0, node_id)

    def stop_shard(self, index: int) -> None:
        """End a shard for good."""
        self.kill(index)

    def start_gateway(self, node_id: str) -> GatewayReport:
        """Start the gateway, or find that it runs: one stands for those of all nodes."""
        with self._starting:
            if self._with_gateway and self.gateway is None:
                self._gateway_info = self._seat(None).run(self._serve_gateway(node_id))
        info = self._gateway_info or GatewayInfo(HOST, 1, node_id)
        return GatewayReport(info.host, info.port, node_id, self.topology.to_bytes() if self.topology.epoch else None)

    def take_topology(self, topology: Topology) -> None:
        """Give a topology to the gateway."""
        self.topology = topology
        if self.gateway is not None:
            self._seat(None).loop.call_soon_threadsafe(self.gateway.topology_changed)

    def _serve(self, index: int, port: int, node_id: str) -> ShardReport:
        """Start a shard's server on its own loop."""
        sock = listening_socket(HOST, port)

        async def start() -> ShardServer:
            server = build_server(self.config, f"s{index}", secret=self._secret, require_auth=self.secret is not None)
            server.core.guard.merge(self._users.to_bytes())
            server.core.guard.on_change = lambda: self._share_users(server.core.guard)
            if self._with_router:  # until it says more, nothing is this shard's
                server.core.set_topology(Topology.empty(self.config.name))
            await server.start(sock)
            return server

        port = int(sock.getsockname()[1])
        server = self.servers[index] = self._seats[index].run(start())
        machine = next((node.machine for node in self._nodes if node.node_id == node_id), HOST)
        self._infos[index] = ShardInfo(
            id=f"s{index}", host=HOST, port=port, node_id=node_id, machine=machine, zone="", state="up",
            weight=self.config.memory_per_shard_bytes, incarnation=server.core.started_ms)
        return self._report(index)

    def _report(self, index: int) -> ShardReport:
        info, server = self._infos[index], self.servers[index]
        assert server is not None
        held = server.core.topology
        return ShardReport(info.id, info.host, info.port, info.node_id, info.incarnation,
                           held.to_bytes() if held is not None and held.epoch else None)

    async def _serve_gateway(self, node_id: str) -> GatewayInfo:
        self.gateway = GatewayServer(get_topology=lambda: self.topology, secret=self._secret,
                                     require_auth=self.secret is not None, limits=self.config.limits,
                                     split_transactions=self.config.split_transactions,
                                     users=[user_of(line) for line in self.config.users],
                                     tls=self.config.tls, measure_every=self.config.measure_every)
        self._scrapes = ScrapeDoor(self.gateway, self.config.name, lambda shard: True)
        sock = listening_socket(HOST, 0)
        port = sock.getsockname()[1]
        await self.gateway.start(sock)
        await self._scrapes.start(listening_socket(HOST, 0))
        return GatewayInfo(HOST, port, node_id)
