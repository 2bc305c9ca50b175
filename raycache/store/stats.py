"""What a store counts.

What lives here: the counters and exactly what each one counts. What does not: sizes, which the
store knows at any moment (`len(store)`, `used_bytes`), and times, which the shard measures.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class StoreStats:
    """Counters that only grow, from 0 at the start of the store. Only the store's own loop writes them."""

    hits: int = 0
    """Look-ups by `get` that found a live entry. `peek` counts nothing."""
    misses: int = 0
    """Look-ups by `get` that found no entry, or one that had expired."""
    inserts: int = 0
    """Writes that made a new entry, including over one that had expired."""
    updates: int = 0
    """Writes that replaced the value of a live entry."""
    evicted: int = 0
    """Live entries removed to make room."""
    expired: int = 0
    """Entries removed because their time was over, however that was noticed."""
    deleted: int = 0
    """Live entries removed on request. `clear` counts all it drops, at once."""
    rejected: int = 0
    """Writes refused for lack of room; they changed nothing."""

    def as_dict(self) -> dict[str, int]:
        """Return the counters by name."""
        return asdict(self)
