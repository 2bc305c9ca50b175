"""All that a store keeps, as those see it who copy it elsewhere: entries and pinned entries in one.

What lives here: telling the two apart by key and kind. What does not: either table. Commands of clients never come
here, so a pinned entry is out of their reach whatever key they name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from raycache.store.entry import Entry
from raycache.store.journal import Journal
from raycache.store.large import LARGE_KIND
from raycache.store.pinned import PINNED_KIND, PinnedEntries
from raycache.store.store import Store
from raycache.store.typed import held

PINNED_CURSOR: Final = 1 << 31
"""Cursors from here on walk over the pinned entries; a store has far fewer segments."""


class WholeStore:
    """A store with its pinned entries; the methods are those of `Store`, for both.

    Args:
        prefix: how the keys of pinned entries begin. An entry that somebody writes under such a key is an entry still:
            what is pinned goes by its kind.
    """

    def __init__(self, entries: Store, prefix: bytes) -> None:
        self.entries = entries
        self.pinned = PinnedEntries(entries)
        self._prefix = prefix
        self.peek: Callable[[bytes, int], Entry | None] = entries.peek
        """(key, now_ms) -> the live entry or None; nobody will know. The store's own until something is pinned: most
        clusters have no database, and replication looks at every key."""
        self.on_large: Callable[[Entry], None] | None = None
        """Called with an entry that came from another shard and whose value is in Ray's store."""
        self.is_copying: Callable[[], bool] = bool
        """Whether objects of such entries are being copied, so that the other shard must keep them."""
        self.pinned.on_first = self._look_at_both

    def __len__(self) -> int:
        return len(self.entries) + len(self.pinned)

    def _look_at_both(self) -> None:
        self.peek = self._peek

    def _peek(self, key: bytes, now_ms: int) -> Entry | None:
        if key.startswith(self._prefix) and (entry := self.pinned.get(key)) is not None:
            return entry
        return self.entries.peek(key, now_ms)

    def put(self, key: bytes, value: Any, kind: int, expires_ms: int | None, now_ms: int) -> Entry:
        """Store `value` under `key`.

        Raises:
            StoreFullError: an entry does not fit. What is pinned always does.
        """
        if kind == PINNED_KIND and key.startswith(self._prefix):
            return self.pinned.put(key, value, now_ms)
        entry = self.entries.put(key, held(value, kind), kind, expires_ms, now_ms)
        if kind == LARGE_KIND and self.on_large is not None:
            self.on_large(entry)
        return entry

    def rewrite(self, entry: Entry, value: Any, kind: int, now_ms: int) -> None:
        """Give an entry another value; its expiry stays."""
        if entry.kind == PINNED_KIND:
            self.pinned.put(entry.key, value, now_ms)
        else:
            self.entries.rewrite(entry, value, kind, now_ms)

    def delete(self, key: bytes, now_ms: int) -> bool:
        """Remove `key`; return whether it was there."""
        if key.startswith(self._prefix) and self.pinned.remove(key, now_ms):
            return True
        return self.entries.delete(key, now_ms)

    def evict(self, entry: Entry) -> None:
        """Remove an entry as if room had been needed; what is pinned stays."""
        if entry.kind != PINNED_KIND:
            self.entries.evict(entry)

    def scan(self, cursor: int, count: int, now_ms: int) -> tuple[int, list[bytes]]:
        """Return the next cursor and some keys, entries first, with the promise of `Store.scan`."""
        if cursor < PINNED_CURSOR:
            cursor, keys = self.entries.scan(cursor, count, now_ms)
            return (cursor or (PINNED_CURSOR if len(self.pinned) else 0)), keys
        cursor, keys = self.pinned.scan(cursor - PINNED_CURSOR, count, now_ms)
        return (cursor and cursor + PINNED_CURSOR), keys

    def set_journal(self, journal: Journal | None) -> None:
        """Tell `journal` of every write and removal from now on."""
        self.entries.set_journal(journal)
        self.pinned.journal = journal
