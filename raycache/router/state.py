"""Everything that a router knows: wanted and observed, in one place, with a few questions about it.

What lives here: data that one `RouterCore` owns. What does not: the rules (`lifecycle`, `gateways`, `publishing`,
`recovery` beside this) and the order they run in (`core`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from raycache.config import ClusterConfig
from raycache.ring.topology import Topology
from raycache.router.messages import NodeReport
from raycache.router.records import GatewayRecord, Patience, ShardRecord


@dataclass(slots=True)
class RouterState:
    """What is wanted (`config.shards`), what was observed, and the topology that follows from both."""

    config: ClusterConfig
    patience: Patience
    topology: Topology
    """The newest; epoch 0 until the first shards are dealt in."""
    started_at_s: float
    """When recovery began."""
    nodes: dict[str, NodeReport] = field(default_factory=dict)
    shards: dict[int, ShardRecord] = field(default_factory=dict)
    gateways: dict[str, GatewayRecord] = field(default_factory=dict)
    is_scaled: bool = False
    """Whether somebody has set the number of shards on this very router."""
    is_recovered: bool = False
    awaited: set[str] = field(default_factory=set)
    """Shards known to exist whose first report has not come."""
    best_seen: Topology | None = None
    """The newest that anybody has shown."""
    epoch_floor: int = 0
    """Somebody may hold this epoch; the next one is above it."""
    must_publish: bool = False
    """Somebody holds an epoch that this router did not make."""
    doubts: dict[str, str] = field(default_factory=dict)
    """Warnings about reports, by who sent them."""

    def is_recovering(self, now_s: float) -> bool:
        """Say whether reports are still worth waiting for."""
        return bool(self.awaited) and now_s - self.started_at_s < self.patience.recovery_wait_s

    def is_node_dead(self, node_id: str) -> bool:
        """Say whether a node is known to be dead. One never heard of is not: a shard may report before its node."""
        node = self.nodes.get(node_id)
        return node is not None and not node.is_alive

    def locate(self, record: ShardRecord) -> None:
        """Look up the machine and zone of a shard's node; what was known stays where the node is not."""
        node = self.nodes.get(record.node_id)
        if node is not None:
            record.machine, record.zone = node.machine, node.zone
        elif not record.machine:
            record.machine = record.node_id

    def gateway_nodes(self) -> set[str]:
        """Return the nodes that should have a gateway: those with shards, there or on their way."""
        nodes = {record.node_id for record in self.shards.values() if not record.is_drained}
        return {node_id for node_id in nodes if node_id and not self.is_node_dead(node_id)}

    def seen(self, who: str, data: bytes | None) -> int:
        """Take in the topology that somebody holds; return its epoch, 0 for none."""
        self.doubts.pop(who, None)
        if data is None:
            return 0
        try:
            topology = Topology.from_bytes(data)
        except ValueError as error:
            self.doubts[who] = f"{who} reported a topology that cannot be read: {error}"
            return 0
        if topology.cluster != self.config.name:
            self.doubts[who] = f"{who} reported a topology of the cluster {topology.cluster!r}"
            return 0
        if self.best_seen is None or topology.epoch > self.best_seen.epoch:
            self.best_seen = topology
        mine = self.topology
        if topology.epoch > mine.epoch or (topology.epoch == mine.epoch and topology != mine):
            self.epoch_floor = max(self.epoch_floor, topology.epoch)
            self.must_publish = True
        return topology.epoch
