"""Everything that a router knows: wanted and observed, in one place, with a few questions about it.

What lives here: data that one `RouterCore` owns. What does not: the rules (`lifecycle`, `gateways`, `publishing`,
`recovery` beside this) and the order they run in (`core`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from raycache.config import ClusterConfig
from raycache.ring.topology import Topology
from raycache.router.changes import Change
from raycache.router.messages import Event, NodeReport
from raycache.router.records import NEVER, GatewayRecord, Patience, ShardRecord

EVENTS_KEPT: Final = 200


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
    now_s: float = NEVER
    """Of the newest observation or step."""
    term: int = 0
    is_elected: bool = True
    """Whether most shards have granted this router's term; the very first router needs no grants."""
    highest_term: int = 0
    """Of any router that a shard has told of."""
    electorate: frozenset[str] = frozenset()
    """The shards whose votes count: those that the newest topology that most of them hold does not call down."""
    draining: tuple[str, ...] = ()
    """Shards and nodes that an operator wants to be empty, and the shard whose turn in an upgrade it is."""
    upgrading: tuple[str, ...] = ()
    """Shards whose process an upgrade has still to replace, in their order, and then the spare."""
    change: Change | None = None
    """What is under way: an operator's wish, or a repair."""
    last_change: Change | None = None
    """The one before, ended."""
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    event_counts: dict[str, int] = field(default_factory=dict)
    """Events by kind, those that are kept no more included."""
    on_event: Callable[[str, str], None] = lambda kind, text: None
    """Hears of each event's kind and text."""
    is_dirty: bool = True
    """Something was observed that may ask for another topology."""
    unrest_at_s: float = NEVER
    """When a shard was lost or came back last."""
    dealt_for: object = None
    """The placement whose dealing is complete."""
    slots_waiting: int = 0
    """Slots that do not belong where they are, and could not be moved yet."""
    tried: dict[str, object] = field(default_factory=dict)
    """What was found to have nothing to do, and when that holds."""
    shared_slots: int = 0
    """Slots with two copies on one machine."""

    def note(self, kind: str, text: str) -> None:
        """Remember an event."""
        self.events.append(Event(self.now_s, kind, text))
        self.event_counts[kind] = self.event_counts.get(kind, 0) + 1
        self.on_event(kind, text)

    def by_id(self) -> dict[str, ShardRecord]:
        """Return every record by its shard's id."""
        return {record.id: record for record in self.shards.values()}

    def members(self) -> Iterator[ShardRecord]:
        """Return the records of the shards in the topology, by index."""
        return (record for _, record in sorted(self.shards.items()) if record.is_member)

    def is_node_going(self, node_id: str) -> bool:
        """Say whether nothing should live on a node: it was announced to go, or an operator drains it."""
        node = self.nodes.get(node_id)
        return node_id in self.draining or (node is not None and node.is_alive and node.is_draining)

    def has_usable_node(self) -> bool:
        """Say whether there is a node for a new shard that is not about to go."""
        return any(node.takes_shards and not self.is_node_going(node.node_id) for node in self.nodes.values())

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
