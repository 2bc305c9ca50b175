"""A cluster by hand: carries out the router's actions on paper, so that tests say only what happens.

Time is a number that tests move. Nothing registers unless told to, or `settle` is called.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from raycache.config import ClusterConfig
from raycache.ring.topology import Topology
from raycache.router.core import RouterCore
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
from raycache.router.records import Patience

PATIENCE = Patience(slots_moved_at_once=4096)


def node(number: int, *, zone: str = "", cpus: float = 8.0, alive: bool = True, draining: bool = False,
         room: int | None = None) -> NodeReport:
    return NodeReport(f"n{number}", f"10.0.0.{number}", zone, alive, cpus, draining, room)


@dataclass
class Actor:
    """A shard's actor as the world knows it."""

    node_id: str
    incarnation: int
    port: int
    topology: Topology | None = None
    granted_term: int = 0
    applied: dict[str, int] = field(default_factory=dict)


class World:
    """Router, actors and the messages between them."""

    def __init__(self, shards: int = 3, nodes: int = 3, **config: Any) -> None:
        self.now = 100.0
        self.config = ClusterConfig("c", shards=shards, **config)
        self.nodes = {f"n{number}": node(number) for number in range(nodes)}
        self.actors: dict[str, Actor] = {}
        self.gateways: dict[str, Topology | None] = {}
        self.unreachable: set[str] = set()
        self.starts = 0
        self.lives = 0
        self.made: dict[int, Topology] = {}
        """What was sent, by its epoch."""
        self.epochs = [0]
        self.unfinished: set[str] = set()
        """Receivers whose transfers go on for ever."""
        self.silences: dict[str, dict[str, float]] = {}
        self.entries = 0
        """How many each shard says that it has."""
        self.core = RouterCore(self.config, self.now, patience=PATIENCE)
        self.core.nodes_reported(self.nodes.values())

    # What happens

    def step(self, after_s: float = 0.0) -> list[Action]:
        """Let time pass, take a step and check what must hold after every one."""
        self.now += after_s
        self.ping()
        actions = self.core.step(self.now)
        if self.core.is_hurrying:  # a failover comes first, and alone
            actions += self.core.step(self.now)
        again = self.core.step(self.now)
        assert again == [], f"after {actions} and {again} a second step without news must have nothing to do"
        # 0 is a router that has just come back, and says nothing yet. Before it is in office it may hold an older one,
        # which somebody showed it: what it makes afterwards is newer than all.
        held = self.core.topology.epoch
        assert held >= self.epochs[-1] or not held or not self.core._state.is_elected, "epochs only grow"
        for action in actions:
            if isinstance(action, PushTopology):
                epoch = action.topology.epoch
                assert epoch >= self.epochs[-1], "nothing older than what was made is ever sent"
                assert self.made.setdefault(epoch, action.topology) == action.topology, "an epoch means one topology"
        self.epochs.append(max(held, self.epochs[-1]))
        return actions

    def ping(self) -> None:
        """Everybody who can be reached answers the router."""
        for shard_id in sorted(self.actors.keys() - self.unreachable):
            self.core.pong(shard_id, self.pong_of(shard_id), self.now)

    def pong_of(self, shard_id: str, /, **changes: Any) -> Pong:
        actor = self.actors[shard_id]
        actor.granted_term = max(actor.granted_term, self.core.term)
        arrivals = {} if actor.topology is None or shard_id in self.unfinished else {
            one.id: {"state": "done", "entries": 7} for one in actor.topology.transfers_to(shard_id)}
        epoch = actor.topology.epoch if actor.topology else 0
        return replace(Pong(actor.granted_term, epoch, actor.incarnation, self.silences.get(shard_id, {}),
                            actor.applied, arrivals, entries=self.entries), **changes)

    def carry_out(self, actions: list[Action]) -> None:
        """Do at once what the shell would do: actors come up and register, pushes arrive."""
        for action in actions:
            match action:
                case CreateShard(shard_id, _, node_id):
                    self.start(shard_id, node_id)
                case RemoveShard(shard_id):
                    self.actors.pop(shard_id, None)
                    self.unreachable.discard(shard_id)
                    self.core.shard_removed(shard_id, self.now)
                case CreateGateway(node_id):
                    self.gateways[node_id] = None
                    self.register_gateway(node_id)
                case RemoveGateway(node_id):
                    self.gateways.pop(node_id, None)
                case PushTopology(topology, shard_ids, gateway_node_ids):
                    for shard_id in shard_ids:
                        self.deliver(shard_id, topology)
                    for node_id in self.gateways.keys() & set(gateway_node_ids):
                        self.gateways[node_id] = topology
                        self.core.gateway_holds(node_id, topology.epoch)

    def settle(self, after_s: float = 0.0) -> World:
        """Step and carry out until nothing is left to do."""
        actions = self.step(after_s)
        for _ in range(60):
            if not actions:
                return self
            self.carry_out(actions)
            actions = self.step(0.01)
        raise AssertionError(f"there is always more to do: {actions}")

    def deliver(self, shard_id: str, topology: Topology) -> None:
        if shard_id in self.actors and shard_id not in self.unreachable:
            self.actors[shard_id].topology = topology
            self.core.shard_holds(shard_id, topology.epoch)

    def start(self, shard_id: str, node_id: str | None = None) -> None:
        """A shard's process starts (again), with nothing in it, and registers."""
        self.unreachable.discard(shard_id)
        self.starts += 1
        before = self.actors.get(shard_id)
        where = node_id or (before.node_id if before else "n0")
        self.actors[shard_id] = Actor(where, 1000 + self.starts, 7000 + self.starts)
        self.register(shard_id)

    def register(self, shard_id: str) -> None:
        if shard_id not in self.unreachable:
            self.core.shard_reported(self.report(shard_id), self.now)

    def register_gateway(self, node_id: str) -> None:
        held = self.gateways[node_id]
        self.core.gateway_reported(GatewayReport("h", 6400, node_id, held.to_bytes() if held else None))

    def report(self, shard_id: str, /, **changes: Any) -> ShardReport:
        actor = self.actors[shard_id]
        held = actor.topology.to_bytes() if actor.topology else None
        return replace(ShardReport(shard_id, "h", actor.port, actor.node_id, actor.incarnation, held), **changes)

    def silence(self, shard_id: str) -> None:
        """It answers nobody, for as long as the router's detector waits."""
        self.unreachable.add(shard_id)
        for other in self.actors.keys() - self.unreachable:
            self.silences.setdefault(other, {})[shard_id] = 1.0
        self.core.silent(shard_id, self.actors[shard_id].incarnation, self.now)

    def wake(self, shard_id: str) -> None:
        """It answers again, the same process."""
        self.unreachable.discard(shard_id)
        for heard in self.silences.values():
            heard.pop(shard_id, None)

    def lose(self, shard_id: str) -> None:
        """Its process ends, and the router is refused."""
        self.unreachable.add(shard_id)
        self.core.refused(shard_id, self.actors[shard_id].incarnation, self.now)

    def report_nodes(self, *changed: NodeReport) -> None:
        self.nodes |= {each.node_id: each for each in changed}
        dead = {each.node_id for each in changed if not each.is_alive}
        self.unreachable |= {shard_id for shard_id, actor in self.actors.items() if actor.node_id in dead}
        self.core.nodes_reported(self.nodes.values())

    def restart_router(self) -> None:
        """The router comes back knowing nothing; whoever can be reached reports."""
        self.lives += 1
        self.core = RouterCore(self.config, self.now, patience=PATIENCE, term=1 + self.lives)
        self.core.nodes_reported(self.nodes.values())
        self.core.recover(list(self.actors), sorted(self.gateways), self.now, epoch_floor=1000 * self.lives)
        for shard_id in self.actors:
            self.register(shard_id)
        for node_id in sorted(self.gateways):
            self.register_gateway(node_id)

    # What is

    @property
    def topology(self) -> Topology:
        return self.core.topology

    def state_of(self, shard_id: str) -> str:
        return self.topology.shard(shard_id).state

    def ids(self) -> list[str]:
        return [shard.id for shard in self.topology.shards]


def of(kind: type[Any], actions: list[Action]) -> list[Any]:
    return [action for action in actions if isinstance(action, kind)]
