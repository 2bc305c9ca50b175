"""A simulated router: the real core and detector behind simulated connections.

What lives here: what the router's actor does around them, without tasks and Ray. What does not: any decision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from raycache.errors import ChangeUnderWayError
from raycache.ring.slots import SLOT_COUNT
from raycache.router.core import RouterCore
from raycache.router.messages import (
    Action,
    CreateGateway,
    CreateShard,
    GatewayReport,
    PushTopology,
    RemoveShard,
    ShardReport,
)
from raycache.router.records import Patience
from raycache.testing.simulation.clocks import MachineClock
from raycache.testing.simulation.router_links import RouterLinks
from raycache.testing.simulation.scheduler import Process

if TYPE_CHECKING:
    from raycache.testing.simulation.world import World

STEP_S: Final = 0.25
HURRIED_STEP_S: Final = 0.05
PING_TICK_S: Final = 0.05
ASK_S: Final = 1.0
PATIENCE: Final = Patience(slots_moved_at_once=SLOT_COUNT // 4, slots_swapped_at_once=SLOT_COUNT // 8)
"""In the proportions of the real one, but evening in fewer turns: each costs simulated time."""


class RouterNode(Process):
    """One router's process, in all its lives."""

    def __init__(self, world: World, name: str, clock: MachineClock) -> None:
        super().__init__(world.scheduler, name)
        self.world = world
        self.clock = clock
        self.core: RouterCore
        self.links: RouterLinks
        self._is_woken = False

    def _now_s(self) -> float:
        return self.clock.monotonic_s()

    def boot(self) -> None:
        """Start, knowing nothing but who exists."""
        self.start()
        now_ms, known = self.clock.unix_ms(), sorted(self.world.actors.places)
        self.know_nothing(now_ms)
        self.core.recover(known, [], self._now_s(), epoch_floor=now_ms // 1000 if known else 0)
        self.begin_loops()

    def know_nothing(self, term: int) -> None:
        """Make a core that has observed nothing but the machines."""
        self.core = RouterCore(self.world.config, self._now_s(), term=term, patience=PATIENCE)
        self.links = RouterLinks(self)
        self.core.nodes_reported(self.world.actors.machines.values())

    # Its loops

    def begin_loops(self) -> None:
        """Ask everybody, and go on with steps and pings."""
        self._is_woken = False
        for shard in sorted(self.world.actors.places):
            self._ask(shard)
        self._step()
        self._tick()
        self._ask_all()

    def _step(self) -> None:
        self._run_step()
        self.after(HURRIED_STEP_S if self.core.is_hurrying else STEP_S, self._step)

    def wake(self) -> None:
        """Step soon: there is news."""
        if not self._is_woken:
            self._is_woken = True
            self.after(0.003, self._woken)  # several answers, one step

    def _woken(self) -> None:
        self._is_woken = False
        self._run_step()

    def _run_step(self) -> None:
        core = self.core
        for action in core.step(self._now_s()):
            self._carry_out(action)
        if core.must_stand_down:
            self.world.stands_down(self)
        elif core.needs_term > core.term:
            core.take_term(max(self.clock.unix_ms(), core.needs_term + 1 + int(1000 * self.world.rng.random())))

    def _tick(self) -> None:
        self.links.tick()
        self.after(PING_TICK_S, self._tick)

    def _ask_all(self) -> None:
        self.core.nodes_reported(self.world.actors.machines.values())
        for view in self.core.shards:
            if view.state != "up" or view.is_suspected:
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
                world.actors.remove(shard)
                self.after(0.1, self._removed, shard)
            case CreateGateway(node_id):
                self.core.gateway_reported(GatewayReport("gateway", 1, node_id))
                self.wake()
            case PushTopology(topology, shards, gateways):
                world.note(self.name, f"epoch {topology.epoch} to {', '.join(shards)}")
                data = topology.to_bytes()
                for shard in shards:
                    if not self.links.push(shard, data):
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
