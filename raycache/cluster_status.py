"""What `raycache.start` and `raycache.status` answer: plain, frozen, picklable records.

What lives here, too: reading what concerns copies off a topology and the shards' statistics (`with_copies`). What does
not: collecting those (`raycache.actors`) and printing (`raycache.cli`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class LossWindow:
    """What a shard has acknowledged and some other owner does not have yet: at most that is lost with it."""

    mutations: int = 0
    bytes: int = 0
    age_s: float = 0.0
    """How long the oldest has been waiting."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far one owner is behind another that writes: what it has not acknowledged."""

    mutations: int = 0
    bytes: int = 0
    age_s: float = 0.0
    dropped: int = 0
    """Mutations given up for it because they were too many; a comparison brings them."""


@dataclass(frozen=True, slots=True)
class TransferStatus:
    """Slots on their way from one shard to another, as the receiver tells it."""

    id: str
    giver: str
    receiver: str
    slots: int
    state: str = ""
    """"starting", "streaming", "checking" or "done"; "" where the receiver has not told yet."""
    entries: int = 0
    """Entries that have come so far."""
    bytes: int = 0
    """Keys and values that have come so far."""
    misses: int = 0
    """Reads that found nothing only because the giver did not answer."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a cluster: a failover, a shard that came back, a change that ended."""

    age_s: float
    kind: str
    """"lost", "back", "failover", "transfer", "change", "refused" or "router"."""
    text: str


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One shard, as it described itself when asked (counters since its last start)."""

    id: str
    state: str
    """"starting", "up" or "down"."""
    machine: str
    """Address of the machine it runs on."""
    address: str
    """Where it listens, as "host:port"."""
    slots: int
    """How many of the 16,384 slots it is the primary of."""
    entries: int = 0
    used_bytes: int = 0
    """Bytes charged to its entries."""
    capacity_bytes: int = 0
    hits: int = 0
    misses: int = 0
    commands: int = 0
    commands_per_s: float = 0.0
    """Over the last few seconds."""
    connections: int = 0
    evicted: int = 0
    expired: int = 0
    uptime_s: float = 0.0
    restarts: int = 0
    latency: dict[str, dict[str, float]] = field(default_factory=dict)
    """By class of commands, at its door: {"p50_us", "p99_us", "count"}; docs/metrics.md says what is measured."""
    queued: int = 0
    """Writes that wait for a database, of the slots that it is primary of."""
    queued_bytes: int = 0
    """Charged to those, to dead letters, and to copies of other shards' ones."""
    queue_limit_bytes: int = 0
    """Above this, writes for a database are refused."""
    queue_oldest_s: float = 0.0
    """For how long the oldest of them has been waiting."""
    dead_letters: int = 0
    """Writes that a database has refused for good."""
    replica_slots: int = 0
    """How many slots it holds a further copy of."""
    lag: Lag = Lag()
    """How far it is behind, as an owner that follows: the largest that another shard sees."""
    loss: LossWindow = LossWindow()
    """What its own loss would cost now."""
    has_lease: bool = True
    """Whether it may serve as a primary; False: it is cut off from the others."""
    is_draining: bool = False
    """Whether somebody wants it to be empty."""
    version: str = ""
    """Of the raycache that its process runs; "" where it did not answer."""

    @property
    def hit_ratio(self) -> float:
        """Hits per lookup, 0 to 1; 0 before the first lookup."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else 0.0


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """A cluster and its shards at one moment."""

    name: str
    epoch: int
    policy: str
    memory_per_shard_bytes: int
    shards: tuple[ShardStatus, ...]
    gateways: tuple[str, ...]
    """Where each gateway listens, as "host:port"."""
    warnings: tuple[str, ...] = ()
    """What an operator should know, one sentence each: a missing setting, a CPU reservation that did not fit."""
    requires_auth: bool = False
    """Whether the doors demand AUTH (they listen beyond loopback)."""
    secret: str = field(default="", repr=False)
    """The cluster's password for AUTH; never printed unless asked for."""
    copies: int = 1
    """How many shards hold each slot."""
    replication: str = "primary-replica"
    """How copies follow each other."""
    transfers: tuple[TransferStatus, ...] = ()
    """Slots on their way now."""
    events: tuple[Event, ...] = ()
    """What happened lately, newest first."""
    router_machine: str = ""
    """Where the router runs."""
    standby_machine: str = ""
    """Where its standby runs, which takes over if that machine is lost; "" where there is none."""

    @property
    def serving(self) -> bool:
        """Whether every shard is up and there is a gateway."""
        return bool(self.shards) and bool(self.gateways) and all(shard.state == "up" for shard in self.shards)

    @property
    def loss(self) -> LossWindow:
        """The loss windows of all shards together: what the loss of all of them at once would cost."""
        every = [shard.loss for shard in self.shards]
        return LossWindow(sum(one.mutations for one in every), sum(one.bytes for one in every),
                          max((one.age_s for one in every), default=0.0))

    @property
    def queued(self) -> int:
        """Writes that wait for a database, in all shards."""
        return sum(shard.queued for shard in self.shards)

    @property
    def queue_oldest_s(self) -> float:
        """For how long the oldest of them has been waiting."""
        return max((shard.queue_oldest_s for shard in self.shards), default=0.0)

    @property
    def dead_letters(self) -> int:
        """Writes that a database has refused for good, in all shards."""
        return sum(shard.dead_letters for shard in self.shards)

    @property
    def entries(self) -> int:
        """Entries in all shards, each copy counted."""
        return sum(shard.entries for shard in self.shards)

    @property
    def hit_ratio(self) -> float:
        """Hits per lookup over all shards, 0 to 1."""
        hits = sum(shard.hits for shard in self.shards)
        lookups = hits + sum(shard.misses for shard in self.shards)
        return hits / lookups if lookups else 0.0


class Moving(Protocol):
    """A transfer, as a topology names it (`raycache.ring.topology.Transfer`)."""

    @property
    def id(self) -> str: ...
    @property
    def giver(self) -> str: ...
    @property
    def receiver(self) -> str: ...
    def slot_array(self) -> Sized: ...


class Roles(Protocol):
    """What a topology tells of copies (`raycache.ring.topology.Topology`)."""

    @property
    def copies(self) -> int: ...
    @property
    def replication(self) -> str: ...
    @property
    def draining(self) -> tuple[str, ...]: ...
    @property
    def transfers(self) -> Sequence[Moving]: ...
    def replica_shares(self) -> dict[str, int]: ...


Stats = Mapping[str, Mapping[str, Any]]
"""Shard id -> its statistics; {} of one that did not answer."""


def with_copies(status: ClusterStatus, topology: Roles, stats: Stats) -> ClusterStatus:
    """Return `status` with roles, lags, loss windows and transfers."""
    figures = {shard_id: one.get("replication") or {} for shard_id, one in stats.items()}
    replicas = topology.replica_shares()
    shards = tuple(
        replace(
            shard, replica_slots=replicas.get(shard.id, 0), lag=lag_of(shard.id, figures),
            loss=_loss(figures.get(shard.id, {})), has_lease=figures.get(shard.id, {}).get("has_lease", True),
            is_draining=shard.id in topology.draining,
        ) for shard in status.shards
    )  # fmt: skip
    transfers = tuple(_transfer(one, figures.get(one.receiver, {})) for one in topology.transfers)
    return replace(status, shards=shards, transfers=transfers, copies=topology.copies, replication=topology.replication)


def lag_of(shard_id: str, figures: Mapping[str, Mapping[str, Any]]) -> Lag:
    """Return how far `shard_id` is behind that shard which has most for it."""
    return max(_lags(shard_id, figures), default=Lag(), key=lambda lag: (lag.age_s, lag.mutations, lag.dropped))


def _lags(shard_id: str, figures: Mapping[str, Mapping[str, Any]]) -> Iterator[Lag]:
    for one in figures.values():
        peer = one.get("peers", {}).get(shard_id)
        if peer is not None:
            yield Lag(peer["lag_mutations"], peer["lag_bytes"], peer["lag_s"], peer["hints_dropped"])


def _loss(figures: Mapping[str, Any]) -> LossWindow:
    window = figures.get("loss_window", {})
    return LossWindow(window.get("mutations", 0), window.get("bytes", 0), window.get("age_s", 0.0))


def _transfer(moving: Moving, figures: Mapping[str, Any]) -> TransferStatus:
    known = figures.get("arrivals", {}).get(moving.id, {})
    return TransferStatus(
        moving.id, moving.giver, moving.receiver, len(moving.slot_array()), known.get("state", ""),
        known.get("entries", 0), known.get("bytes", 0), known.get("misses", 0), known.get("seconds", 0.0),
    )  # fmt: skip
