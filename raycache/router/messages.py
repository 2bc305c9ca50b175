"""What goes into the router's state machine and what comes out: observations and actions.

What lives here: plain, frozen records. What does not: deciding anything (`raycache.router.core`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from raycache.ring.topology import ShardState, Topology


def shard_id_of(index: int) -> str:
    """Return the id of the shard with this index: "s0", "s1", ..."""
    return f"s{index}"


def index_of(shard_id: str) -> int:
    """Return the index in a shard's id.

    Raises:
        ValueError: it is none of `shard_id_of`'s.
    """
    digits = shard_id[1:]
    if not (shard_id.startswith("s") and digits.isascii() and digits.isdigit()):
        raise ValueError(f"{shard_id!r} is no shard id; those are s0, s1 and so on")
    return int(digits)


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One Ray node, as Ray's GCS has it."""

    node_id: str
    machine: str
    """Its address: what fails together."""
    zone: str = ""
    """Its zone label."""
    is_alive: bool = True
    cpus_free: float = 0.0
    """What Ray could still reserve there when this was asked (not the total: others reserve too)."""
    is_draining: bool = False
    """Whether it has announced that it will go: preempted, or drained by Ray's own command."""
    room: int | None = None
    """How many shards it takes: 0 = never one, else no more as long as others have room; None = any number."""

    @property
    def takes_shards(self) -> bool:
        """Whether a shard may be there."""
        return self.is_alive and self.room != 0


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What a shard says of itself when it registers, or when a restarted router asks."""

    shard_id: str
    host: str
    port: int
    node_id: str
    incarnation: int
    """Larger for a later start of the same shard; the start time in ms will do."""
    topology: bytes | None = None
    """The topology that it holds, if any."""
    failure: str = ""
    """Why it does not serve yet ("cannot listen on ..."); "" = it serves."""
    granted_term: int = 0
    """The highest term of a router that it has granted."""


@dataclass(frozen=True, slots=True)
class Pong:
    """A shard's answer to a ping."""

    granted_term: int
    """The highest term of a router that it has granted."""
    epoch: int
    incarnation: int
    silent: dict[str, float] = field(default_factory=dict)
    """For how many seconds it has not heard each of its peers."""
    applied: dict[str, int] = field(default_factory=dict)
    """How far it has applied each peer's stream."""
    arrivals: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By transfer: its state ("done" at the end), entries, bytes, misses."""
    lease_left_s: float | None = None
    loss: dict[str, Any] = field(default_factory=dict)
    """Writes that it has acknowledged and not replicated."""
    complaints: dict[str, float] = field(default_factory=dict)
    """Shard -> seconds since a client has told this one that it does not answer."""
    router_silence_s: float = 0.0
    """For how many seconds no router that may act has asked it."""
    entries: int = 0
    """How many it has."""

    @classmethod
    def of(cls, granted_term: int, report: dict[str, Any]) -> Pong:
        """Return the answer that came over the wire.

        Raises:
            ValueError: it is none.
        """
        try:
            lease_left_s = report.get("lease_left_s")
            return cls(
                int(granted_term), int(report["epoch"]), int(report["incarnation"]),
                {str(peer): float(silence_s) for peer, silence_s in (report.get("silent") or {}).items()},
                {str(peer): int(offset) for peer, offset in (report.get("applied") or {}).items()},
                {str(arrival): dict(state) for arrival, state in (report.get("arrivals") or {}).items()},
                None if lease_left_s is None else float(lease_left_s), dict(report.get("loss") or {}),
                {str(shard): float(age_s) for shard, age_s in (report.get("complaints") or {}).items()},
                float(report.get("router_silence_s", 0.0)), int(report.get("entries", 0)),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is no answer to a ping: {error!r}") from error

    def has_received(self, transfer_id: str) -> bool:
        """Return whether a transfer to this shard is done."""
        return self.arrivals.get(transfer_id, {}).get("state") == "done"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that an operator may want to know afterwards."""

    at_s: float
    """Monotonic."""
    kind: str
    """"lost", "back", "failover", "transfer", "change", "refused" or "router"."""
    text: str


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """What a gateway says of itself when it registers, or when a restarted router asks."""

    host: str
    port: int
    node_id: str
    topology: bytes | None = None


@dataclass(frozen=True, slots=True)
class ShardView:
    """One shard as `status` shows it, whether or not the topology has it yet."""

    id: str
    state: ShardState
    host: str
    port: int
    node_id: str
    machine: str
    incarnation: int
    is_leaving: bool
    is_draining: bool = False
    is_suspected: bool = False
    """Whether it has not answered the router for too long."""


@dataclass(frozen=True, slots=True)
class CreateShard:
    """Create the shard's actor on `node_id`; if that node is lost, away from `peer_node_ids`; else anywhere."""

    shard_id: str
    index: int
    node_id: str
    peer_node_ids: tuple[str, ...]
    cpus: float
    """What to reserve; 0 where the wish does not fit."""


@dataclass(frozen=True, slots=True)
class RemoveShard:
    """End the shard's actor for good, if there is one, and then say `RouterCore.shard_removed`."""

    shard_id: str


@dataclass(frozen=True, slots=True)
class CreateGateway:
    """Create the gateway actor of a node."""

    node_id: str


@dataclass(frozen=True, slots=True)
class RemoveGateway:
    """End the gateway actor of a node, if there is one."""

    node_id: str


@dataclass(frozen=True, slots=True)
class PushTopology:
    """Give the topology to these shards and gateways, then say `shard_holds` and `gateway_holds`."""

    topology: Topology
    shard_ids: tuple[str, ...]
    gateway_node_ids: tuple[str, ...]


Action = CreateShard | RemoveShard | CreateGateway | RemoveGateway | PushTopology
