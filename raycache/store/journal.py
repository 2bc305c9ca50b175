"""Who hears of every write: the interface between a store and what copies its entries elsewhere.

What does not live here: the one implementation (`raycache.replication.copies`). A listener (`entry.RemovalListener`)
hears why values leave; a journal hears of writes, too, and owns the entries' versions.
"""

from __future__ import annotations

from typing import Protocol

from raycache.store.entry import Entry, RemovalCause


class Journal(Protocol):
    """Must not touch the store."""

    def wrote(self, entry: Entry) -> None:
        """The value or expiry of `entry` is new; `entry.version` is still that of the write before, 0 for a new entry.
        Sets it."""

    def removed(self, entry: Entry, cause: RemovalCause) -> None:
        """`entry` has left the store."""
