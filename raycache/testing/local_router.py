"""The router of a cluster in one process: the real core and detector, behind real connections, without Ray.

What lives here: what the router's actor does around its core: pinging, pushing, carrying out. What does not: any
decision (`raycache.router`), and starting shards (`local`). It belongs to the loop it is made on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from raycache.clock import SystemClock
from raycache.config import ClusterConfig
from raycache.replication.messages import Message
from raycache.ring.topology import Topology
from raycache.router.access import SharedUsers
from raycache.router.core import RouterCore
from raycache.router.detector import Detector
from raycache.router.messages import (
    Action,
    CreateGateway,
    CreateShard,
    GatewayReport,
    NodeReport,
    Pong,
    PushTopology,
    RemoveGateway,
    RemoveShard,
    ShardReport,
)
from raycache.shard.peer_link import Listeners, PeerLink

log = logging.getLogger(__name__)

STEP_S: Final = 0.02
NEVER_S: Final = -1e9


class Actors(Protocol):
    """What Ray does for the real router. Both block, and are called in a thread."""

    def start_shard(self, index: int, node_id: str) -> ShardReport:
        """Start a shard, or find that it runs; return what it says of itself."""

    def stop_shard(self, index: int) -> None:
        """End a shard for good."""

    def start_gateway(self, node_id: str) -> GatewayReport:
        """Start the gateway of a node, or find that it runs."""

    def take_topology(self, topology: Topology) -> None:
        """Give a topology to the gateways."""


class LocalRouter:
    """One life of a router."""

    def __init__(self, config: ClusterConfig, actors: Actors, nodes: Sequence[NodeReport], secret: str) -> None:
        self._actors = actors
        self._nodes = nodes
        self._secret = secret
        self._rng = random.Random()
        clock = SystemClock()
        self._now_s = clock.monotonic_s
        self._term = clock.unix_ms()
        self.users = SharedUsers(config.users)
        self._tls = config.tls
        self.core = RouterCore(config, self._now_s(), term=self._term)
        self._detector = Detector()
        self._links: dict[str, PeerLink] = {}
        self._places: dict[str, tuple[str, int, int]] = {}
        self._heard_s: dict[str, float] = {}
        """Each shard's own time at its last answer, by which it may count its lease."""
        self._suspects: set[str] = set()
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._listeners = Listeners(self._opened, self._heard, self._lost, self._refused)
        self._task: asyncio.Task[None] | None = None

    def start(self, known: Sequence[ShardReport] = ()) -> None:
        """Begin; with `known` as a router that was started again among shards that are there."""
        now_s = self._now_s()
        self.core.nodes_reported(self._nodes)
        # As the real one: epochs begin with the time, so that none is ever used twice.
        self.core.recover([one.shard_id for one in known], [], now_s, epoch_floor=self._term // 1000)
        for report in known:
            self.core.shard_reported(report, now_s)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """End as a process ends: nobody is told."""
        for task in [self._task, *self._jobs.values()]:
            if task is not None:
                task.cancel()
        for link in self._links.values():
            link.close()
        self._links.clear()

    def wish(self, wish: Callable[[RouterCore], None]) -> None:
        """Say what an operator wishes: `scale`, `drain` and their kin. Raises as they do."""
        wish(self.core)
        self._wake.set()

    def registered(self, report: ShardReport) -> None:
        """Take in a shard that has started."""
        self.core.shard_reported(report, self._now_s())
        self._wake.set()

    # Its loop

    async def _run(self) -> None:
        while True:
            try:
                self._step()
            except Exception:
                log.exception("a step of the router failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STEP_S):
                    await self._wake.wait()
            self._wake.clear()

    def _step(self) -> None:
        now_s = self._now_s()
        self.core.nodes_reported(self._nodes)
        self._follow_addresses()
        for shard_id in self._detector.due(now_s):
            self._ping(shard_id)
        for shard_id, incarnation in self._detector.suspects(now_s):
            self._suspects.add(shard_id)
            self.core.silent(shard_id, incarnation, now_s)
        for link in list(self._links.values()):
            link.check(asyncio.get_running_loop().time())
        for action in self.core.step(now_s):
            self._carry_out(action)

    def _follow_addresses(self) -> None:
        views = {view.id: view for view in self.core.shards if view.port}
        for shard_id in self._links.keys() - views.keys():
            self._forget(shard_id)
        for shard_id, view in views.items():
            place = (view.host, view.port, view.incarnation)
            if self._places.get(shard_id) != place:
                self._forget(shard_id)
                self._places[shard_id] = place
                self._links[shard_id] = PeerLink("router", shard_id, view.host, view.port, self._secret,
                                                 self._listeners, self._rng, self._tls)
                self._detector.watch(shard_id, view.incarnation, self._now_s())

    def _forget(self, shard_id: str) -> None:
        self._places.pop(shard_id, None)
        self._heard_s.pop(shard_id, None)
        self._detector.forget(shard_id)
        if (link := self._links.pop(shard_id, None)) is not None:
            link.close()

    def _ping(self, shard_id: str) -> None:
        message: Message = ["ping", self.core.term, self.core.topology.epoch, self._heard_s.get(shard_id, NEVER_S)]
        if (link := self._links.get(shard_id)) is not None:
            link.send([message])

    # What the connections tell

    def _opened(self, shard_id: str) -> None:
        self._links[shard_id].send([self.users.message])
        if self.core.topology.epoch:  # as the answer to a registration
            self._links[shard_id].send([["topology", self.core.topology.to_bytes()]])
        self._ping(shard_id)

    def _heard(self, shard_id: str, messages: list[Message]) -> None:
        now_s = self._now_s()
        for message in messages:
            if message[0] == "pong":
                pong = Pong.of(message[1], message[2])
                self._heard_s[shard_id] = message[2]["now_s"]
                if shard_id in self._suspects:
                    self._suspects.discard(shard_id)
                    self._detector.watch(shard_id, pong.incarnation, now_s)
                self._detector.heard(shard_id, pong.incarnation, now_s)
                self.core.pong(shard_id, pong, now_s)
                if self.users.differs(message[2].get("access")):
                    self._links[shard_id].send([self.users.message])
            elif message[0] == "access":
                if self.users.take(message[1]):
                    for link in self._links.values():
                        link.send([self.users.message])
            elif message[0] == "topology!":
                self.core.shard_holds(shard_id, message[1])
        self._wake.set()

    def _lost(self, shard_id: str) -> None:
        for other in self._links.keys() - {shard_id}:  # a promotion may wait for their answers
            self._ping(other)

    def _refused(self, shard_id: str) -> None:
        _, _, incarnation = self._places[shard_id]
        self.core.refused(shard_id, incarnation, self._now_s())
        self._wake.set()

    # Carrying out

    def _carry_out(self, action: Action) -> None:
        match action:
            case CreateShard(shard_id, index, node_id):
                self._begin(f"create {shard_id}", self._create(index, node_id))
            case RemoveShard(shard_id):
                self._begin(f"remove {shard_id}", self._remove(shard_id))
            case CreateGateway(node_id):
                self._begin(f"gateway {node_id}", self._create_gateway(node_id))
            case RemoveGateway():
                pass
            case PushTopology(topology, shard_ids, gateway_node_ids):
                log.info("epoch %d to %s", topology.epoch, ", ".join(shard_ids))
                data = topology.to_bytes()
                for shard_id in shard_ids:
                    if (link := self._links.get(shard_id)) is not None:
                        link.send([["topology", data]])
                if gateway_node_ids:
                    self._actors.take_topology(topology)
                for node_id in gateway_node_ids:
                    self.core.gateway_holds(node_id, topology.epoch)

    def _begin(self, name: str, work: object) -> None:
        assert asyncio.iscoroutine(work)
        if name in self._jobs:
            work.close()
            return
        task = self._jobs[name] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda _: self._jobs.pop(name, None))

    async def _create(self, index: int, node_id: str) -> None:
        self.registered(await asyncio.to_thread(self._actors.start_shard, index, node_id))

    async def _remove(self, shard_id: str) -> None:
        self._forget(shard_id)
        await asyncio.to_thread(self._actors.stop_shard, int(shard_id[1:]))
        self.core.shard_removed(shard_id, self._now_s())

    async def _create_gateway(self, node_id: str) -> None:
        self.core.gateway_reported(await asyncio.to_thread(self._actors.start_gateway, node_id))
        self._wake.set()
