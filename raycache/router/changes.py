"""A change of the cluster, from the wish to the last slot, and what it cost.

What lives here: the record. What does not: what an operator may wish (`raycache.router.wishes`), and moving slots
(`raycache.router.transferring`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Change:
    """Something under way that moves slots; several transfers belong to it."""

    text: str
    """Such as "scale from 3 to 4 shards"."""
    since_s: float
    """Monotonic."""
    is_wish: bool = False
    """Whether an operator asked for it; else it is a repair."""
    shards_before: int = 0
    draining_before: tuple[str, ...] = ()
    linger_s: float = 0.0
    """How long a shard that owns nothing any more lives on, to send those elsewhere who have not heard of it."""
    ended_s: float | None = None
    transfers: int = 0
    """Transfers that have ended."""
    slots: int = 0
    entries: int = 0
    bytes: int = 0
    misses: int = 0
    """Commands that missed on a slot under way, because its giver was gone."""
    mismatches: int = 0

    def add(self, slots: int, arrival: dict[str, Any]) -> None:
        """Count a transfer that has ended, by the last that its receiver told of it."""
        self.transfers += 1
        self.slots += slots
        for name in ("entries", "bytes", "misses", "mismatches"):
            value = arrival.get(name, 0)
            if isinstance(value, int):
                setattr(self, name, getattr(self, name) + value)

    def describe(self, now_s: float) -> dict[str, Any]:
        """Return what an operator is told of it."""
        return {
            "text": self.text, "is_wish": self.is_wish, "is_done": self.ended_s is not None,
            "seconds": (now_s if self.ended_s is None else self.ended_s) - self.since_s, "transfers": self.transfers,
            "slots": self.slots, "entries": self.entries, "bytes": self.bytes, "misses": self.misses,
            "mismatches": self.mismatches,
        }
