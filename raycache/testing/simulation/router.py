"""A simulated router: the real core and detector behind simulated connections.

What lives here: what the router's actor does around them, without tasks and Ray. What does not: any decision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from raycache.errors import ChangeUnderWayError
from raycache.replication.messages import pack, unpack
from raycache.router.core import RouterCore
from raycache.router.detector import Detector
from raycache.router.messages import (
    Action,
    CreateGateway,
    CreateShard,
    GatewayReport,
    Pong,
    PushTopology,
    RemoveShard,
    ShardReport,
)
from raycache.testing.simulation.clocks import MachineClock
from raycache.testing.simulation.network import End
from raycache.testing.simulation.scheduler import Process
from raycache.testing.simulation.wire import Answer, Request, decode

if TYPE_CHECKING:
    from raycache.testing.simulation.world import World

STEP_S: Final = 0.25
HURRIED_STEP_S: Final = 0.05
PING_TICK_S: Final = 0.05
ASK_S: Final = 1.0
REDIAL_S: Final = 0.2


class RouterNode(Process):
    """One router's process, in all its lives."""

    def __init__(self, world: World, name: str, clock: MachineClock) -> None:
        super().__init__(world.scheduler, name)
        self.world = world
        self.clock = clock
        self.core: RouterCore
        self._detector: Detector
        self._links: dict[str, Link] = {}
        self._is_woken = False

    def _now_s(self) -> float:
        return self.clock.monotonic_s()

    def boot(self) -> None:
        """Start, knowing nothing but who exists."""
        self.start()
        actors, now_s, now_ms = self.world.actors, self._now_s(), self.clock.unix_ms()
        self.core = RouterCore(self.world.config, now_s, term=now_ms)
        self._detector = Detector()
        self._links = {}
        self._is_woken = False
        self.core.nodes_reported(actors.machines.values())
        known = sorted(actors.places)
        self.core.recover(known, [], now_s, epoch_floor=now_ms // 1000 if known else 0)
        for shard in known:
            self._ask(shard)
        self._step()
        self._tick()
        self._ask_all()

    # Its loops

    def _step(self) -> None:
        self._run_step()
        self.after(HURRIED_STEP_S if self.core.is_hurrying else STEP_S, self._step)

    def wake(self) -> None:
        """Step soon: there is news."""
        if not self._is_woken:
            self._is_woken = True
            self.after(0.0001, self._woken)

    def _woken(self) -> None:
        self._is_woken = False
        self._run_step()

    def _run_step(self) -> None:
        core = self.core
        if core.needs_term > core.term:
            core.take_term(core.needs_term + 1)
        if core.must_stand_down:
            self.world.stands_down(self)
            return
        for action in core.step(self._now_s()):
            self._carry_out(action)

    def _tick(self) -> None:
        """Look after the connections, ping, notice silence."""
        now_s = self._now_s()
        addresses = self.core.addresses
        for shard in [shard for shard in self._links if shard not in addresses]:
            self._forget(shard)
        for shard, address in addresses.items():
            link = self._links.get(shard)
            if link is None or link.incarnation != address.incarnation:
                self._forget(shard)
                self._detector.watch(shard, address.incarnation, now_s)
                self._links[shard] = Link(self, shard, address.incarnation)
        for shard in self._detector.due(now_s):
            self._links[shard].ping()
        for shard, incarnation in self._detector.suspects(now_s):
            self.world.note(self.name, f"{shard} is silent")
            self.core.silent(shard, incarnation, now_s)
            self._detector.watch(shard, incarnation, now_s)
            self._ping_all()
            self.wake()
        self.after(PING_TICK_S, self._tick)

    def _forget(self, shard: str) -> None:
        self._detector.forget(shard)
        if (link := self._links.pop(shard, None)) is not None:
            link.close()

    def _ping_all(self) -> None:
        for link in self._links.values():
            link.ping()

    def _ask_all(self) -> None:
        self.core.nodes_reported(self.world.actors.machines.values())
        for view in self.core.shards:
            if view.state != "up":
                self._ask(view.id)
        self.after(ASK_S, self._ask_all)

    # What operators wish

    def wish(self, wish: Callable[[], object]) -> None:
        """Do what an operator asks for; one that comes too early, or asks too much, is refused."""
        try:
            wish()
        except (ChangeUnderWayError, ValueError) as error:
            self.world.note(self.name, f"refuses: {error}")
        self.wake()

    # Carrying out

    def _carry_out(self, action: Action) -> None:
        world = self.world
        match action:
            case CreateShard():
                world.actors.create(action.shard_id, action.node_id)
                self._ask(action.shard_id)
            case RemoveShard(shard):
                self._forget(shard)
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
        if self.core.shard_reported(ShardReport(**report), self._now_s()):
            self._run_step()
            self.wake()
        return self.core.topology.to_bytes() if self.core.topology.epoch else b""

    def answered(self, link: Link, messages: list[Any]) -> None:
        """A shard has answered a ping."""
        now_s = self._now_s()
        self._detector.heard(link.shard, link.incarnation, now_s)
        for message in messages:
            if message[0] == "pong":
                link.heard_s = message[2]["now_s"]
                self.core.pong(link.shard, Pong.of(message[1], message[2]), now_s)
        if self.core.is_hurrying:
            self.wake()

    def refused(self, link: Link) -> None:
        """A shard's process is gone for certain."""
        self.world.note(self.name, f"{link.shard} is gone")
        self.core.refused(link.shard, link.incarnation, self._now_s())
        self._ping_all()
        self.wake()


class Link:
    """The control connection to one process of a shard, opened again whenever it breaks."""

    def __init__(self, router: RouterNode, shard: str, incarnation: int) -> None:
        self._router = router
        self.shard = shard
        self.incarnation = incarnation
        self.heard_s = float("-inf")
        """The shard's own time, as it said last: its lease counts from what it hears back."""
        self._end: End | None = None
        self._is_wanted = True
        self._dial()

    def _dial(self) -> None:
        if self._is_wanted:
            self._router.world.network.dial(self._router, self.shard, self._opened, self._failed)

    def _opened(self, end: End) -> None:
        if not self._is_wanted:
            end.close()
            return
        self._end = end
        end.on_message, end.on_lost = self._took, self._lost
        end.send(Request(0, [b"AUTH", self._router.world.secret.encode()]))
        self.ping()

    def _failed(self, is_refused: bool) -> None:
        if not self._is_wanted:
            return
        if is_refused:
            self._router.refused(self)
        self._router.after(REDIAL_S, self._dial)

    def ping(self) -> None:
        """Ask for a sign of life, if it is connected."""
        if self._end is not None:
            core = self._router.core
            ping = ["ping", core.term, core.topology.epoch, self.heard_s]
            self._end.send(Request(1, [b"RC.PEER", b"router", pack([ping])]))

    def close(self) -> None:
        """Close for good."""
        self._is_wanted = False
        if self._end is not None:
            self._end.close()
            self._end = None

    def _took(self, payload: Any) -> None:
        assert isinstance(payload, Answer)
        if payload.tag == 1 and isinstance(reply := decode(payload.reply), bytes):
            self._router.answered(self, unpack(reply))

    def _lost(self) -> None:
        """A reset may be the network's doing; a refusal is not."""
        self._end = None
        self._dial()
