"""Entries that stay until they are removed: no policy knows them, no time ends them, no clearing takes them.

What lives here: the table, and what it takes of the store's capacity. What does not: what is in them
(`raycache.shard.records`). They are found by nothing that looks for entries: `Store.get`, `scan` and the rest pass them
by, at no cost. Whoever must see both (replication, transfers, snapshots) uses `whole.WholeStore`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from raycache.store import segments as segmented
from raycache.store.entry import Entry, RemovalCause
from raycache.store.journal import Journal

if TYPE_CHECKING:
    from raycache.store.store import Store

PINNED_KIND: Final = 255
"""The kind of every pinned entry. Nobody outside can write one of this kind."""

_SEGMENTS: Final = 256
_MASK: Final = _SEGMENTS - 1


class PinnedEntries:
    """The pinned entries of one store; they are charged to it. Versions are the journal's, else 0."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._segments = segmented.new_segments(_SEGMENTS)
        self._count = 0
        self.bytes = 0
        """What they are charged, of the store's capacity."""
        self.journal: Journal | None = None
        self.on_first: Callable[[], None] | None = None
        """Called once, before the first entry comes."""
        self.listener: Callable[[Entry, bool], None] | None = None
        """Called with an entry that was written (True) or has gone (False). It must not touch this table."""

    def __len__(self) -> int:
        return self._count

    def get(self, key: bytes) -> Entry | None:
        """Return the entry of `key`."""
        return self._segments[hash(key) & _MASK].get(key)

    def charge(self, key: bytes, value: bytes) -> int:
        """Return the bytes that such an entry takes of the capacity."""
        return self._store.charge_for(key, value)

    def put(self, key: bytes, value: bytes, now_ms: int) -> Entry:
        """Store `value` under `key`. Never refused: entries make room, and where they cannot the store is over full
        until something leaves. Whoever may refuse looks at `bytes` before."""
        segment = self._segments[hash(key) & _MASK]
        entry = segment.get(key)
        growth = self.charge(key, value)
        if entry is None:
            if self.on_first is not None:
                self.on_first()
                self.on_first = None
            entry = segment[key] = Entry()
            entry.key, entry.stamp, entry.timer = key, PINNED_KIND, None
            self._count += 1
        else:
            growth -= self.charge(key, entry.value)
        entry.value = value
        self.bytes += growth
        self._store.set_aside(growth, now_ms)
        if self.journal is not None:
            self.journal.wrote(entry)
        if self.listener is not None:
            self.listener(entry, True)
        return entry

    def remove(self, key: bytes, now_ms: int) -> bool:
        """Remove `key`; return whether it was there."""
        entry = self._segments[hash(key) & _MASK].pop(key, None)
        if entry is None:
            return False
        charge = self.charge(key, entry.value)
        self._count -= 1
        self.bytes -= charge
        self._store.set_aside(-charge, now_ms)
        if self.journal is not None:
            self.journal.removed(entry, RemovalCause.DELETED)
        if self.listener is not None:
            self.listener(entry, False)
        return True

    def scan(self, cursor: int, count: int, now_ms: int) -> tuple[int, list[bytes]]:
        """Return the next cursor and some keys, with the promise of `Store.scan`."""
        return segmented.scan(self._segments, cursor, count, now_ms)
