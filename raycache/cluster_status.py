"""What `raycache.start` and `raycache.status` answer: plain, frozen, picklable records.

What does not live here: collecting them (`raycache.actors.launch`) and printing them (`raycache.cli`).
"""

from __future__ import annotations

from dataclasses import dataclass, field


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

    @property
    def serving(self) -> bool:
        """Whether every shard is up and there is a gateway."""
        return bool(self.shards) and bool(self.gateways) and all(shard.state == "up" for shard in self.shards)

    @property
    def entries(self) -> int:
        """Entries in all shards."""
        return sum(shard.entries for shard in self.shards)

    @property
    def hit_ratio(self) -> float:
        """Hits per lookup over all shards, 0 to 1."""
        hits = sum(shard.hits for shard in self.shards)
        lookups = hits + sum(shard.misses for shard in self.shards)
        return hits / lookups if lookups else 0.0
