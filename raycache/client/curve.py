"""What other amounts of memory would give, as a handle shows it.

What lives here: frozen values built from the shards' RC.CURVE. What a curve is and how far it is true stands in
`raycache.curves.shards` and docs/policies.md. Immutable, any thread.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import msgpack

from raycache.curves import points
from raycache.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class ShardCurve:
    """What one shard answers to RC.CURVE."""

    shard_id: str
    policy: str
    serving: str
    """The policy that serves, where `policy` is "auto"."""
    capacity_bytes: int
    hits: int
    misses: int
    lookups: float
    """Look-ups that the curve stands for; after half an hour one counts half."""
    sampled_keys: int
    rate: float
    """Which part of all keys is looked at."""
    hit_ratios: tuple[float, ...]

    @classmethod
    def from_bytes(cls, data: bytes) -> ShardCurve:
        """Return what RC.CURVE answered.

        Raises:
            ProtocolError: the bytes are something else.
        """
        try:
            given: dict[str, Any] = msgpack.unpackb(data)
            ratios = tuple(float(ratio) for ratio in given["hit_ratios"])
            if len(ratios) != len(points.FACTORS):
                raise ValueError(f"{len(ratios)} points")
            return cls(**{one.name: given[one.name] for one in fields(cls)} | {"hit_ratios": ratios})
        except Exception as error:  # msgpack raises half a dozen kinds; here they all mean one thing
            raise ProtocolError(f"a shard's miss-ratio curve cannot be read: {error!r}") from error


@dataclass(frozen=True, slots=True)
class ClusterCurve:
    """The hit ratio that an LRU cache of other sizes would have had, over the shards that answered."""

    cluster: str
    shards: tuple[ShardCurve, ...]
    unreachable: tuple[str, ...] = ()
    """Ids of shards that did not answer before the deadline."""

    @classmethod
    def of(cls, cluster: str, answered: Iterable[ShardCurve], asked: Iterable[str]) -> ClusterCurve:
        """Return the curves of the shards that answered; the others of `asked` were not reached."""
        shards = sorted(answered, key=lambda shard: shard.shard_id)
        return cls(cluster, tuple(shards), tuple(sorted(set(asked) - {shard.shard_id for shard in shards})))

    @property
    def capacity_bytes(self) -> int:
        """What the shards may hold now: the memory that `hit_ratio` is told multiples of."""
        return sum(shard.capacity_bytes for shard in self.shards)

    @property
    def lookups(self) -> float:
        """Look-ups that the curve stands for; 0 if there is nothing to tell yet."""
        return sum(shard.lookups for shard in self.shards)

    @property
    def measured(self) -> float:
        """The hit ratio that was counted since the shards' start, under their policy; 0.0 before the first look-up."""
        hits = sum(shard.hits for shard in self.shards)
        lookups = hits + sum(shard.misses for shard in self.shards)
        return hits / lookups if lookups else 0.0

    def hit_ratio(self, factor: float) -> float:
        """Return the hit ratio, 0 to 1, with `factor` times the memory (1/16 to 16); 0.0 before the first look-up.

        Raises:
            ValueError: `factor` is not positive.
        """
        if factor <= 0:
            raise ValueError(f"factor must be positive, not {factor}")
        ratios = points.together([(shard.lookups, shard.hit_ratios) for shard in self.shards])
        return points.at(ratios, factor) if ratios else 0.0
