"""What left a store lately, and why: the answer to "why was this key missed?".

What lives here: a table of fixed size that forgets by being written over. What does not: noting what leaves, which
`Store._remove` does by itself, in two writes to two arrays: finding an entry costs nothing more for it.

A row is chosen by the key's hash and holds that whole hash, the cause and the time, never the key: 16 bytes, whatever
the keys are. A newcomer writes over what its row held. So the table is exact about what it has, and knows of everything
else since when it would have it: if a key had left after its row was written for another, the row would be its own.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Final

EXPIRED: Final = 1
EVICTED: Final = 2
DELETED: Final = 3
MOVED: Final = 4
LOST: Final = 5
CAUSES: Final = ("", "expired", "evicted", "deleted", "moved", "lost")
"""The names of the causes, by number."""

CAUSE_BITS: Final = 3
_CAUSE_MASK: Final = (1 << CAUSE_BITS) - 1
_ROW_BYTES: Final = 16
_SHARE: Final = 256
"""The table takes this part of a store's capacity at most, beside it: half a percent would be noticed, this is not."""
MIN_ROWS: Final = 1 << 10
MAX_ROWS: Final = 1 << 16
"""1 MiB. At 1,000 removals a second the last minute is nearly complete."""


@dataclass(frozen=True, slots=True)
class Departure:
    """When a key left last, as far as is known."""

    cause: str
    """One of "expired", "evicted", "deleted", "moved", "lost" (its object in Ray's store is gone); "" where the table
    has nothing of the key."""
    at_ms: int
    """When it left, to about 10 ms. Without a cause: since when it has surely not left; 0 = as long as the table is."""


class Departures:
    """Fingerprints of keys that have left, with cause and time; see the module for what it costs."""

    __slots__ = ("cleared_ms", "facts", "hashes", "mask")

    def __init__(self, capacity_bytes: int) -> None:
        """Make an empty table for a store of that capacity."""
        wanted = max(capacity_bytes // (_SHARE * _ROW_BYTES), 1)
        rows = min(max(1 << (wanted.bit_length() - 1), MIN_ROWS), MAX_ROWS)
        self.mask = rows - 1
        self.hashes = array("q", bytes(8 * rows))
        self.facts = array("q", bytes(8 * rows))
        """The time in milliseconds, shifted, and the cause below it; 0 = never written."""
        self.cleared_ms = 0
        """When the store was emptied as a whole last, 0 = never."""

    def note(self, key: bytes, cause: int, now_ms: int) -> None:
        """Remember that `key` has left. `Store._remove` does the same without the call."""
        hashed = hash(key)
        self.hashes[hashed & self.mask] = hashed
        self.facts[hashed & self.mask] = now_ms << CAUSE_BITS | cause

    def restate(self, key: bytes, cause: int) -> None:
        """Give what was just noted of `key` another cause; nothing where it was not noted."""
        hashed = hash(key)
        row = hashed & self.mask
        if self.facts[row] and self.hashes[row] == hashed:
            self.facts[row] = self.facts[row] & ~_CAUSE_MASK | cause

    def note_buried(self, key: bytes) -> None:
        """Remember that `key` went when the store was emptied, unless it, or another, has left since."""
        row = hash(key) & self.mask
        if self.facts[row] >> CAUSE_BITS <= self.cleared_ms:
            self.note(key, DELETED, self.cleared_ms)

    def of(self, key: bytes) -> Departure:
        """Return when and why `key` has left last."""
        hashed = hash(key)
        fact = self.facts[hashed & self.mask]
        at_ms = fact >> CAUSE_BITS
        if fact and self.hashes[hashed & self.mask] == hashed:
            return Departure(CAUSES[fact & _CAUSE_MASK], at_ms)
        return Departure("", at_ms)
