"""What a cluster counts, as a handle shows it.

What lives here: two frozen values built from the shards' RC.STATS. What a shard counts is defined in
`raycache.store` and `raycache.shard.core`. Immutable, any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import msgpack

from raycache.errors import ProtocolError, ShardUnavailableError


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
            return cls(**{field.name: given[field.name] for field in fields(cls)})
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

    @classmethod
    def of(cls, cluster: str, epoch: int, answered: list[ShardStats], silent: list[str]) -> ClusterStats:
        """Return the statistics of the shards that answered, by id.

        Raises:
            ShardUnavailableError: none did.
        """
        if silent and not answered:
            raise ShardUnavailableError(f"no shard of {cluster!r} answered; asked {', '.join(silent)}")
        return cls(cluster, epoch, tuple(sorted(answered, key=lambda shard: shard.shard_id)), tuple(silent))

    @property
    def entries(self) -> int:
        """Entries in all shards; a few may have expired and not been removed yet."""
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
    def hit_ratio(self) -> float:
        """Hits / lookups over all shards, 0 to 1; 0.0 before the first lookup."""
        return _ratio(self.hits, self.misses)

    def _sum(self, count: Callable[[ShardStats], Any]) -> int:
        return sum(count(shard) for shard in self.shards)


def _ratio(hits: int, misses: int) -> float:
    return hits / (hits + misses) if hits + misses else 0.0
