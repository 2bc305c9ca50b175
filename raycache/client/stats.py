"""What a cluster counts, as a handle shows it.

What lives here: frozen values built from the shards' RC.STATS. What a shard counts is defined in
`raycache.store` and `raycache.shard.core`. Immutable, any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

import msgpack

from raycache.errors import ProtocolError, ShardUnavailableError
from raycache.near import NearStats


@dataclass(frozen=True, slots=True)
class ReplicaStats:
    """How one copy follows a shard."""

    shard_id: str
    """Of the copy."""
    connected: bool
    offset: int
    """Number of the last change sent or waiting for the copy; counts up by one."""
    acked: int
    """Number of the last one that it has confirmed."""
    lag_mutations: int
    """Changes that it has not confirmed."""
    lag_bytes: int
    lag_s: float
    """Age of the oldest of them."""
    hints_dropped: int
    """Changes given up because it was away too long; it will be compared slot by slot instead."""


@dataclass(frozen=True, slots=True)
class LossWindow:
    """Writes that were acknowledged and are not on every copy yet: what the death of their shard could lose."""

    mutations: int = 0
    bytes: int = 0
    age_s: float = 0.0
    """Of the oldest of them."""


@dataclass(frozen=True, slots=True)
class ReplicationStats:
    """One shard's part in replication."""

    mode: str
    """One of `raycache.config.REPLICATION_MODES`."""
    has_lease: bool
    """Whether it is in touch with enough of the others to serve as a primary."""
    replicas: tuple[ReplicaStats, ...]
    """The shards that follow it, by id."""
    loss_window: LossWindow
    arrivals: int
    """Transfers that it receives now."""
    tombstones: int
    """Deleted keys that it remembers."""
    merged: int
    """Changes taken over from other copies."""
    ignored: int
    """Those that were not newer than what it had."""
    repaired: int
    """Entries that a comparison of copies has brought."""
    transfer_misses: int
    """Reads of keys on their way here whose giver could not be asked."""

    @property
    def lag_s(self) -> float:
        """Age of the oldest change that some copy has not confirmed, 0.0 if there is none."""
        return max((replica.lag_s for replica in self.replicas), default=0.0)

    @classmethod
    def of(cls, given: dict[str, Any]) -> ReplicationStats:
        """Return what stands under "replication" in a shard's statistics."""
        replicas = [ReplicaStats(shard_id, **_known(ReplicaStats, each)) for shard_id, each in given["peers"].items()]
        figures = _known(cls, given) | {"arrivals": len(given["arrivals"])}
        figures["replicas"] = tuple(sorted(replicas, key=lambda replica: replica.shard_id))
        figures["loss_window"] = LossWindow(**_known(LossWindow, given["loss_window"]))
        return cls(**figures)


def _known(kind: type[Any], given: dict[str, Any]) -> dict[str, Any]:
    return {field.name: given[field.name] for field in fields(kind) if field.name in given}


@dataclass(frozen=True, slots=True)
class ShardStats:
    """Counters of one shard since its process started, and what it holds now."""

    shard_id: str
    policy: str
    epoch: int
    """Of the newest topology that the shard has seen."""
    slots: int
    """Slots that it serves."""
    entries: int
    """Copies of other shards' entries among them."""
    used_bytes: int
    """Charged to entries, every table counted; never above `capacity_bytes`."""
    capacity_bytes: int
    hits: int
    misses: int
    """Reads of keys that were absent or had expired."""
    evicted: int
    """Removed for space."""
    expired: int
    """Removed for age."""
    deleted: int
    """Removed on request."""
    rejected: int
    """Writes refused for want of space."""
    commands: int
    connections: int
    """Open now."""
    uptime_s: float
    policy_serving: str = ""
    """The policy that serves: `policy`, or what "auto" has chosen."""
    policy_reason: str = ""
    """Why "auto" has chosen it; empty under another policy."""
    policy_changes: int = 0
    """How often "auto" has changed it."""
    leases: int = 0
    """Keys that are being loaded now."""
    leases_granted: int = 0
    """Loads begun with a lease."""
    leases_voided: int = 0
    """Those whose key was written or deleted meanwhile."""
    leases_overdue: int = 0
    """Those that took longer than they might."""
    lease_waits: int = 0
    """How often somebody waited at the shard for another's load."""
    replication: ReplicationStats | None = None
    """None where slots have one copy."""
    queued: int = 0
    """Writes that wait for a database, of the slots that it is primary of."""
    queued_bytes: int = 0
    """Charged to those, to dead letters, and to copies of other shards' ones."""
    queue_limit_bytes: int = 0
    """Above this, writes for a database are refused."""
    queue_oldest_s: float = 0.0
    """For how long the oldest of them has been waiting."""
    objects: int = 0
    """Large values whose objects in Ray's store it owns, those on their way included."""
    object_bytes: int = 0
    """What they have; never above `object_capacity_bytes`."""
    object_capacity_bytes: int = 0
    """0: it takes none."""
    objects_lost: int = 0
    """Large values that were missed because their object was gone."""
    objects_adopted: int = 0
    """Objects copied from other shards, of entries that came from them."""
    objects_arriving: int = 0
    """Those that are still to be copied, or that it has not decided about."""
    queue_refused: int = 0
    """Writes refused because too many were waiting."""
    dead_letters: int = 0
    """Writes that a database has refused for good, of the slots that it is primary of."""
    latency: dict[str, dict[str, float]] = field(default_factory=dict)
    """By class of commands ("read", "write", ...): {"p50_us", "p99_us"} of measured ones at its door, and "count", the
    commands that these stand for. It grows from the start, or the last CONFIG RESETSTAT."""

    @property
    def hit_ratio(self) -> float:
        """Hits / lookups, 0 to 1; 0.0 before the first lookup."""
        return _ratio(self.hits, self.misses)

    @classmethod
    def from_bytes(cls, data: bytes) -> ShardStats:
        """Return what RC.STATS answered; fields that this version does not know are left out.

        Raises:
            ProtocolError: the bytes are something else.
        """
        try:
            given = msgpack.unpackb(data)
            replication = given.pop("replication", None)
            if not replication or replication.get("copies") == 1:
                replication = None
            figures = {one.name: given[one.name] for one in fields(cls)
                       if one.name in given or (one.default is MISSING and one.default_factory is MISSING)}
            figures["replication"] = None if replication is None else ReplicationStats.of(replication)
            return cls(**figures)
        except Exception as error:  # msgpack raises half a dozen kinds; here they all mean one thing
            raise ProtocolError(f"a shard's statistics cannot be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class ClusterStats:
    """The shards that answered, and sums over them."""

    cluster: str
    epoch: int
    """Of the topology that this handle uses."""
    shards: tuple[ShardStats, ...]
    unreachable: tuple[str, ...] = ()
    """Ids of shards that did not answer before the deadline; the sums lack them."""
    near: NearStats | None = None
    """Of the handle that was asked; None: it keeps nothing near."""

    @classmethod
    def of(cls, cluster: str, epoch: int, answered: list[ShardStats], asked: list[str],
           near: NearStats | None = None) -> ClusterStats:
        """Return the statistics of the shards that answered, by id; the others of `asked` were not reached.

        Raises:
            ShardUnavailableError: none did.
        """
        silent = sorted(set(asked) - {shard.shard_id for shard in answered})
        if silent and not answered:
            raise ShardUnavailableError(f"no shard of {cluster!r} answered; asked {', '.join(silent)}")
        return cls(cluster, epoch, tuple(sorted(answered, key=lambda shard: shard.shard_id)), tuple(silent), near)

    @property
    def entries(self) -> int:
        """Entries in all shards, each copy counted; a few may have expired and not been removed yet."""
        return self._sum(lambda shard: shard.entries)

    @property
    def used_bytes(self) -> int:
        """Bytes charged to entries in all shards."""
        return self._sum(lambda shard: shard.used_bytes)

    @property
    def capacity_bytes(self) -> int:
        """Bytes that all shards together may hold."""
        return self._sum(lambda shard: shard.capacity_bytes)

    @property
    def hits(self) -> int:
        """Reads that found a live key."""
        return self._sum(lambda shard: shard.hits)

    @property
    def misses(self) -> int:
        """Reads that did not."""
        return self._sum(lambda shard: shard.misses)

    @property
    def evicted(self) -> int:
        """Entries removed for space."""
        return self._sum(lambda shard: shard.evicted)

    @property
    def expired(self) -> int:
        """Entries removed for age."""
        return self._sum(lambda shard: shard.expired)

    @property
    def queued(self) -> int:
        """Writes that wait for a database."""
        return self._sum(lambda shard: shard.queued)

    @property
    def queue_oldest_s(self) -> float:
        """For how long the oldest of them has been waiting, 0.0 if none is."""
        return max((shard.queue_oldest_s for shard in self.shards), default=0.0)

    @property
    def dead_letters(self) -> int:
        """Writes that a database has refused for good."""
        return self._sum(lambda shard: shard.dead_letters)

    @property
    def loss_window(self) -> LossWindow:
        """Writes that are not on every copy yet, over all shards; the age is that of the oldest."""
        windows = [shard.replication.loss_window for shard in self.shards if shard.replication is not None]
        return LossWindow(sum(window.mutations for window in windows), sum(window.bytes for window in windows),
                          max((window.age_s for window in windows), default=0.0))

    @property
    def lag_s(self) -> float:
        """Age of the oldest change that some copy has not confirmed, 0.0 if there is none."""
        return max((shard.replication.lag_s for shard in self.shards if shard.replication is not None), default=0.0)

    @property
    def hit_ratio(self) -> float:
        """Hits / lookups over all shards, 0 to 1; 0.0 before the first lookup."""
        return _ratio(self.hits, self.misses)

    @property
    def latency(self) -> dict[str, dict[str, float]]:
        """By class of commands: the slowest shard's {"p50_us", "p99_us"}, and "count" over all shards."""
        return slowest(shard.latency for shard in self.shards)

    def _sum(self, count: Callable[[ShardStats], Any]) -> int:
        return sum(count(shard) for shard in self.shards)


def _ratio(hits: int, misses: int) -> float:
    return hits / (hits + misses) if hits + misses else 0.0


def slowest(latencies: Iterable[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return by class of commands the slowest shard's quantiles, and the count over all shards."""
    found: dict[str, dict[str, float]] = {}
    for class_, one in (item for latency in latencies for item in latency.items()):
        known = found.setdefault(class_, {"p50_us": 0.0, "p99_us": 0.0, "count": 0})
        for name in ("p50_us", "p99_us"):
            known[name] = max(known[name], one[name])
        known["count"] += one["count"]
    return found
