"""A simulated router: the real core and detector behind simulated connections.

What lives here: what the router's actor does around them, without tasks and Ray. What does not: any decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raycache.router.core import RouterCore
from raycache.router.detector import Detector
from raycache.router.messages import (
    Action,
    CreateGateway,
    CreateShard,
    GatewayReport,
    PushTopology,
    RemoveShard,
    ShardReport,
)
from raycache.testing.simulation.clocks import MachineClock
from raycache.testing.simulation.network import End
from raycache.testing.simulation.scheduler import Process
from raycache.testing.simulation.wire import Answer, Request

if TYPE_CHECKING:
    from raycache.testing.simulation.world import World

STEP_S: Final = 0.25
NODES_S: Final = 1.0
PING_TICK_S: Final = 0.05
ASK_S: Final = 1.0


class RouterNode(Process):
    """One router's process, in all its lives."""

    def __init__(self, world: World, name: str, clock: MachineClock) -> None:
        super().__init__(world.scheduler, name)
        self.world = world
        self.clock = clock
        self.core: RouterCore
        self._detector: Detector
        self._links: dict[str, _Link] = {}
        self._is_woken = False

    def _now_s(self) -> float:
        return self.clock.monotonic_s()

    def boot(self) -> None:
        """Start, knowing nothing but who exists."""
        self.start()
        actors, now_s = self.world.actors, self._now_s()
        self.core = RouterCore(self.world.config, now_s)
        self._detector = Detector()
        self._links = {}
        self.core.nodes_reported(actors.machines.values())
        known = sorted(actors.places)
        self.core.recover(known, [], now_s, epoch_floor=self.clock.unix_ms() // 1000 if known else 0)
        for shard in known:
            self._ask(shard)
        self._step()
        self._ping()
        self._ask_all()

    # Its loops

    def _step(self) -> None:
        self._run_step()
        self.after(STEP_S, self._step)

    def wake(self) -> None:
        """Step soon: there is news."""
        if not self._is_woken:
            self._is_woken = True
            self.after(0.0001, self._woken)

    def _woken(self) -> None:
        self._is_woken = False
        self._run_step()

    def _run_step(self) -> None:
        for action in self.core.step(self._now_s()):
            self._carry_out(action)

    def _ping(self) -> None:
        now_s = self._now_s()
        for shard in self._detector.due(now_s):
            if (link := self._links.get(shard)) is not None:
                link.ping()
        for shard, incarnation in self._detector.suspects(now_s):
            self._lost(shard, incarnation)
        self.after(PING_TICK_S, self._ping)

    def _ask_all(self) -> None:
        self.core.nodes_reported(self.world.actors.machines.values())
        for view in self.core.shards:
            if view.state != "up":
                self._ask(view.id)
        self.after(ASK_S, self._ask_all)

    def scale(self, shards: int) -> None:
        """Want this many shards."""
        self.core.scale(shards)
        self.wake()

    def drain(self, shard: str) -> None:
        """Want a shard empty."""

    # Carrying out

    def _carry_out(self, action: Action) -> None:
        world = self.world
        match action:
            case CreateShard():
                world.actors.create(action.shard_id, action.node_id)
                self._ask(action.shard_id)
            case RemoveShard(shard):
                self._forget_link(shard)
                world.actors.remove(shard)
                self.after(0.1, self._removed, shard)
            case CreateGateway(node_id):
                self.core.gateway_reported(GatewayReport("gateway", 1, node_id))
                self.wake()
            case PushTopology(topology, shards, gateways):
                world.note(self.name, f"epoch {topology.epoch} to {', '.join(shards)}")
                data = topology.to_bytes()
                for shard in shards:
                    self._push(shard, data)
                for node_id in gateways:
                    self.core.gateway_holds(node_id, topology.epoch)

    def _removed(self, shard: str) -> None:
        self.core.shard_removed(shard, self._now_s())
        self.wake()

    def _push(self, shard: str, data: bytes) -> None:
        node = self.world.shard(shard)

        def done(epoch: Any) -> None:
            if epoch is not None:
                self.core.shard_holds(shard, epoch)
                self.wake()

        self.world.actors.call(self, node, lambda: node.set_topology(data), done)

    def _ask(self, shard: str) -> None:
        node = self.world.shard(shard)

        def done(report: Any) -> None:
            if report is not None:
                self.take_registration(report)

        if shard in self.world.actors.places:
            self.world.actors.call(self, node, lambda: self.world.actors.report(node), done)

    # News

    def take_registration(self, report: dict[str, Any]) -> bytes:
        """Take in a shard that is up; return the topology, b"" if there is none yet."""
        now_s = self._now_s()
        if self.core.shard_reported(ShardReport(**report), now_s):
            shard, incarnation = report["shard_id"], report["incarnation"]
            self._forget_link(shard)
            self._detector.watch(shard, incarnation, now_s)
            self._links[shard] = _Link(self, shard, incarnation)
            self.wake()
        return self.core.topology.to_bytes() if self.core.topology.epoch else b""

    def _forget_link(self, shard: str) -> None:
        self._detector.forget(shard)
        if (link := self._links.pop(shard, None)) is not None:
            link.close()

    def heard(self, shard: str, incarnation: int) -> None:
        """A shard has answered."""
        self._detector.heard(shard, incarnation, self._now_s())

    def _lost(self, shard: str, incarnation: int) -> None:
        self.world.note(self.name, f"{shard} is lost")
        self._forget_link(shard)
        self.core.shard_lost(shard, incarnation, self._now_s())
        self.wake()

    def link_lost(self, shard: str, incarnation: int) -> None:
        """The control connection to a shard broke."""
        self._lost(shard, incarnation)


class _Link:
    """The control connection to one shard."""

    def __init__(self, router: RouterNode, shard: str, incarnation: int) -> None:
        self._router = router
        self._shard = shard
        self._incarnation = incarnation
        self._end: End | None = None
        self._is_wanted = True
        router.world.network.dial(router, shard, self._opened, self._failed)

    def _opened(self, end: End) -> None:
        if not self._is_wanted:
            end.close()
            return
        self._end = end
        end.on_message, end.on_lost = self._took, self._lost
        end.send(Request(0, [b"AUTH", self._router.world.secret.encode()]))

    def _failed(self, is_refused: bool) -> None:
        self._lost()

    def ping(self) -> None:
        if self._end is not None:
            self._end.send(Request(1, [b"PING"]))

    def close(self) -> None:
        self._is_wanted = False
        if self._end is not None:
            self._end.close()

    def _took(self, payload: Any) -> None:
        assert isinstance(payload, Answer)
        self._router.heard(self._shard, self._incarnation)

    def _lost(self) -> None:
        if self._is_wanted:
            self._is_wanted = False
            self._router.link_lost(self._shard, self._incarnation)
