"""The shard actor: Ray's view of one `ShardServer`.

What lives here: being started and restarted by Ray, registering at the router, control methods.
What does not: serving (`raycache.shard.server`), which never waits for anything in this module.

Ray runs `__init__` of an async actor on the actor's own event loop, after every restart too. So the
shard binds its port there and then serves by itself; nobody has to call it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from dataclasses import dataclass, field
from typing import Any, Final

from ray.runtime_context import get_runtime_context

from raycache.actors import calls
from raycache.actors.background import die, keep_collector_away, spawn
from raycache.actors.environment import missing_settings
from raycache.actors.finding import RETRY_S, RouterFinder
from raycache.actors.metrics import push_forever
from raycache.actors.objects import RayObjects, own
from raycache.config import ClusterConfig, set_state_by_name, state_by_name
from raycache.logs import event, set_up
from raycache.ring.topology import Topology
from raycache.shard.build import build_server
from raycache.shard.long import run_batch
from raycache.shard.objects import Objects
from raycache.shard.server import listening_socket
from raycache.snapshot.keeper import SnapshotKeeper
from raycache.store import make_policy

log = logging.getLogger(__name__)

TOPOLOGY_QUESTIONS: Final = 3
"""So often, up to 5 s each, a shard that has a snapshot asks what its cluster holds, before it goes on without: with
one copy it may not load it then, so a router that is being started again should not be the reason."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where doors listen and what they demand."""

    bind: str
    """"127.0.0.1", "node" (the Ray node's own address), or an address to listen on."""
    secret: str = field(repr=False)
    require_auth: bool

    __getstate__ = state_by_name
    __setstate__ = set_state_by_name

    def listen_address(self) -> str:
        """Return the address to bind on this machine."""
        return calls.node_address() if self.bind == "node" else self.bind

    def public_address(self) -> str:
        """Return the address to tell others."""
        return calls.node_address() if self.bind in ("node", "0.0.0.0", "::") else self.bind


class ShardActor:
    """One shard. Every method is for control; data goes through the socket."""

    def __init__(self, config: ClusterConfig, shard_id: str, index: int, door: Door) -> None:
        set_up(config.log_format, [door.secret], cluster=config.name, shard=shard_id)
        self._config = config
        self._shard_id = shard_id
        self._door = door
        self._port = config.port + index if config.port else 0
        self._host = door.public_address()
        self._node_id = get_runtime_context().get_node_id()
        self._server = build_server(config, shard_id, secret=door.secret, require_auth=door.require_auth)
        self._server.on_failure = die
        if config.tracing is not None:
            from raycache.tracing.shards import shard_tracer  # where it is not asked for, nothing of it is loaded

            self._server.core.tracer = shard_tracer(config.tracing, config.name, shard_id)
        self._keeper = self._snapshots()
        self._router = RouterFinder(config.name)
        self._is_serving = False
        self._failure = ""
        core = self._server.core
        self._objects = self._object_store()
        self._tasks = [spawn(self._boot(), "boot"), spawn(keep_collector_away(lambda: core.commands), "collector"),
                       spawn(push_forever(config.name, core.samples), "metrics")]

    def _snapshots(self) -> SnapshotKeeper | None:
        config = self._config
        if config.snapshot_dir is None:
            return None
        keeper = SnapshotKeeper(self._server.core, config.name, config.snapshot_dir,
                                interval_s=config.snapshot_interval_s, tombstone_ttl_s=config.tombstone_ttl_s,
                                clock=self._server.clock, life=config.life)
        self._server.more_info = keeper.stats
        return keeper

    def _object_store(self) -> RayObjects | None:
        config, core = self._config, self._server.core
        if not config.object_capacity_bytes:
            return None
        backend = RayObjects(config.name)
        core.objects = core.slots.objects = Objects(core, config.object_capacity_bytes, make_policy(config.policy),
                                                    backend, each_copy=config.object_copies == "each")
        return backend

    async def _boot(self) -> None:
        # Until the router has said what is ours, nothing is: a restarted shard must not answer misses
        # for slots that have been given away meanwhile.
        if self._keeper is None:
            self._server.core.set_topology(Topology.empty(self._config.name))
        else:
            has_one = await asyncio.to_thread(self._keeper.path.exists)
            await self._keeper.load(await self._last_topology() if has_one else None)
            self._tasks.append(spawn(self._keeper.run(), "snapshots"))
        sock = await self._bind()
        self._port = sock.getsockname()[1]
        await self._server.start(sock)
        self._is_serving, self._failure = True, ""
        log.info("shard %s serves on %s:%d", self._shard_id, self._host, self._port,
                 extra=event("shard_started", host=self._host, port=self._port))
        await self._register()

    async def _last_topology(self) -> Topology | None:
        """Return what the router holds, None if it does not tell: it may be starting, too."""
        for _ in range(TOPOLOGY_QUESTIONS):
            try:
                data = await self._router.ask(lambda router: calls.router_topology(router, 0))
            except Exception as error:
                log.info("the router does not tell shard %s the topology: %s", self._shard_id, error or type(error))
            else:
                return Topology.from_bytes(data) if data is not None else None
        return None

    async def _bind(self) -> socket.socket:
        wait_s = RETRY_S
        while True:
            try:
                return listening_socket(self._door.listen_address(), self._port)
            except OSError as error:
                self._failure = f"shard {self._shard_id} cannot listen on {self._host}:{self._port}: {error.strerror}"
                await self._register()
            await asyncio.sleep(wait_s * random.random())
            wait_s = min(2 * wait_s, 10 * RETRY_S)

    async def _register(self) -> None:
        """Tell the router that this shard is up, or why it is not, until it hears; take its topology."""
        async def register(router: calls.RouterHandle) -> bytes | None:
            # Before a topology: users that have been deleted or narrowed since the start must not come in again.
            self._server.core.guard.merge(await calls.router_users(router))
            return await calls.register_shard(router, await self.report())

        data = await self._router.ask_until_heard(f"shard {self._shard_id}", register)
        if data is not None:
            await self.set_topology(data)

    async def report(self) -> dict[str, Any]:
        """Return what the router needs to know of this shard."""
        self._server.begin_turn()
        core = self._server.core
        topology, replicator = core.topology, core.replicator
        assert replicator is not None
        return {
            "shard_id": self._shard_id, "host": self._host, "port": self._port, "node_id": self._node_id,
            "incarnation": core.started_ms, "pid": os.getpid(),
            "serving": self._is_serving, "failure": self._failure,
            "topology": topology.to_bytes() if topology is not None and topology.epoch else None,
            "granted_term": replicator.granted_term, "replication": replicator.report(),
            "warnings": missing_settings(dict(os.environ), os.nice(0), type(asyncio.get_running_loop()).__module__),
        }

    async def set_topology(self, data: bytes) -> int:
        """Take in a topology if it is newer; return the epoch held afterwards."""
        return self._server.set_topology(Topology.from_bytes(data))

    async def stats(self) -> dict[str, Any]:
        """Return the shard's counters, as RC.STATS gives them."""
        return self._server.core.stats()

    async def snapshot(self) -> bool:
        """Write a snapshot now; return whether there is one. False where none are kept."""
        return self._keeper is not None and await self._keeper.write()

    async def execute(self, commands: list[list[bytes]]) -> list[bytes]:
        """Run commands and return their encoded replies: the way in for drivers that cannot reach the socket."""
        return await run_batch(self._server, commands)

    async def stage_object(self, name: bytes, kind: int, size_bytes: int, refs: list[Any]) -> bool:
        """Copy a writer's object into one of this shard's, for the command that will store it under a key.

        Args:
            name: what that command will call it; a random one, so that only the writer knows.
            kind: of the value in it.
            size_bytes: of that value.
            refs: the reference, in a list: as an argument of its own Ray would replace it by its value.
        Returns: whether that was done; False: there is no room for it.
        """
        objects, server = self._server.core.objects, self._server
        if objects is None:
            return False
        server.begin_turn()
        holding = objects.admit(name, size_bytes, server.core.now_ms)
        server.hand_on()  # what had to go for it
        if holding is None:
            return False
        owned = await asyncio.to_thread(own, refs[0])
        return objects.stage(holding, kind, owned, server.clock.monotonic_s())

    async def lend_object(self, name: bytes) -> list[Any]:
        """Return a list with the reference to an object of this shard, an empty one if it has none of that name."""
        objects = self._server.core.objects
        ref = objects.lend(name) if objects is not None else None
        return [] if ref is None else [ref]
