"""Who must hear of a write to which key: sessions that WATCH it, the lease on it, and those that track keys.

What lives here: the registry and its one question at EXEC. What does not: the commands
(`commands/transactions`), leases (`raycache.leases`), who tracks what (`tracking`). Belongs to the shard's loop.

Writers pay one truth test while nobody watches, loads or tracks keys. Removal by age or for space is not announced
here: EXEC looks instead whether each key that was there is there still, and a key that came back since was
written by somebody, which was announced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

from raycache.leases import LeaseTable
from raycache.shard.session import Session
from raycache.shard.tracking import Tracking
from raycache.store import Store

_TRACKED: Final = cast(bytes, object())
"""Stands among the keys while anybody tracks any: which ones, `Tracking` knows."""


class WatchedKeys:
    """The keys that sessions watch, or that have a lease."""

    def __init__(self, store: Store, new_token: Callable[[], int]) -> None:
        self._store = store
        self.sessions_by_key: dict[bytes, set[Session]] = {}
        """A key with a lease is here as well, with or without sessions, and something if anybody tracks keys: one test
        tells whether anybody listens."""
        self.leases = LeaseTable(new_token, self._lease_changed)
        self.tracking: Tracking | None = None
        """Who tracks keys; set by the core."""

    def listen(self, is_tracked: bool) -> None:
        """Have writers say what they write, or not, for those who track keys."""
        if is_tracked:
            self.sessions_by_key[_TRACKED] = set()
        else:
            self.sessions_by_key.pop(_TRACKED, None)

    def watch(self, session: Session, key: bytes, now_ms: int) -> None:
        """Mark `session` dirty from now on when `key` changes."""
        if key not in session.watched:
            session.watched[key] = self._store.peek(key, now_ms) is not None
            self.sessions_by_key.setdefault(key, set()).add(session)

    def forget(self, session: Session) -> None:
        """Let `session` watch nothing, and be clean."""
        for key in session.watched:
            watchers = self.sessions_by_key[key]
            watchers.discard(session)
            if not watchers and key not in self.leases:
                del self.sessions_by_key[key]
        session.watched.clear()
        session.dirty = False

    def count(self) -> int:
        """Return how many sessions watch something."""
        return len(set().union(*self.sessions_by_key.values()))

    def touch(self, key: bytes) -> None:
        """Say that `key` was written."""
        for session in self.sessions_by_key.get(key, ()):
            session.dirty = True
        self.leases.void(key)
        if self.tracking is not None:
            self.tracking.changed(key)

    def touch_absent(self, key: bytes) -> None:
        """Say that `key` was deleted although it was not there: nothing to those who watch it, but whoever loads it
        has read what it loads before this."""
        self.leases.void(key)

    def touch_all(self, now_ms: int) -> None:
        """Say that every key is about to go."""
        for key, sessions in self.sessions_by_key.items():
            if self._store.peek(key, now_ms) is not None:
                for session in sessions:
                    session.dirty = True
        self.leases.void_prefix(b"")
        if self.tracking is not None:
            self.tracking.all_changed()

    def is_intact(self, session: Session, now_ms: int) -> bool:
        """Return whether nothing that `session` watches has changed."""
        if session.dirty:
            return False
        return not any(was_there and self._store.peek(key, now_ms) is None for key,
                       was_there in session.watched.items())

    def _lease_changed(self, key: bytes, is_leased: bool) -> None:
        if is_leased:
            self.sessions_by_key.setdefault(key, set())
        elif not self.sessions_by_key.get(key, True):
            del self.sessions_by_key[key]
