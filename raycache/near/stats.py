"""What a near cache counts. Immutable, any thread."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NearStats:
    """One handle's near cache: what it holds now, and what has happened since the handle was made.

    Threads count without a lock, so the counters may lack a few.
    """

    entries: int
    used_bytes: int
    """Charged to them, keys and tables included; never above `capacity_bytes`."""
    capacity_bytes: int
    links: int
    """Shards that say now what changes."""
    hits: int
    """Reads answered from here."""
    misses: int
    """Reads that went to a shard, or waited for one that did."""
    too_old: int
    """Those among them that found a value here of which it was not sure any more that it counts."""
    fetches: int
    """Questions to shards: one for all who miss a key at the same time."""
    invalidated: int
    """Values dropped because their keys changed, and fetches whose answer was not kept for that."""
    emptied: int
    """How often all values of one shard were dropped: its connection was lost, it was cleared, or its slots moved."""
    evicted: int
    """Values dropped for space."""

    @property
    def hit_ratio(self) -> float:
        """Hits / reads, 0 to 1; 0.0 before the first."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else 0.0
