"""No eviction: a full store refuses writes, as Redis does by default. Nothing is ordered, so nothing is kept."""

from __future__ import annotations

from collections.abc import Iterator

from raycache.store.entry import Entry
from raycache.store.policies.base import EvictionPolicy
from raycache.store.weight import ENTRY_BYTES


class NoEvictionPolicy(EvictionPolicy[Entry]):
    """Keeps nothing and is never asked for a victim."""

    name = "noeviction"
    entry_type = Entry
    entry_bytes = ENTRY_BYTES
    can_evict = False

    def on_insert(self, entry: Entry) -> None:
        pass

    def on_update(self, entry: Entry) -> None:
        pass

    def on_remove(self, entry: Entry) -> None:
        pass

    def victim(self, spare: Entry | None = None) -> Entry:
        raise NotImplementedError("this policy may not evict; the store asks `can_evict` first")

    def entries(self) -> Iterator[Entry]:
        return iter(())

    def fresh(self) -> NoEvictionPolicy:
        return NoEvictionPolicy()
