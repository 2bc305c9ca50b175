"""Auto: W-TinyLFU to begin with; then whichever of several policies does best in trial caches.

What lives here: the beginning. What does not: the trials (`raycache.store.choosing`).
"""

from __future__ import annotations

from raycache.store.policies.chain import RankedEntry
from raycache.store.policies.tinylfu import TinyLfuPolicy
from raycache.store.weight import GHOST_BYTES, RANKED_ENTRY_BYTES


class AutoEntry(RankedEntry):
    """As `TinyLfuEntry`, and a type of its own: an entry's type says whose it is while a policy is changed."""

    __slots__ = ()


class AutoPolicy(TinyLfuPolicy):
    """Entries are charged for the most that any of the policies keeps beside them."""

    name = "auto"
    chooses = True
    entry_type = AutoEntry  # type: ignore[assignment]  # of the same form
    entry_bytes = RANKED_ENTRY_BYTES + GHOST_BYTES
