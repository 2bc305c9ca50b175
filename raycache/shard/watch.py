"""WATCH: who must hear of a write to which key.

What lives here: the registry and its one question at EXEC. What does not: the commands
(`commands/transactions`). Belongs to the shard's loop.

Writers pay one truth test while nobody watches. Removal by age or for space is not announced: EXEC
looks instead whether each key that was there is there still, and a key that came back since was
written by somebody, which was announced.
"""

from __future__ import annotations

from raycache.shard.session import Session
from raycache.store import Store


class WatchedKeys:
    """The keys that sessions watch."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sessions_by_key: dict[bytes, set[Session]] = {}

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
            if not watchers:
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

    def touch_all(self, now_ms: int) -> None:
        """Say that every key is about to go."""
        for key, sessions in self.sessions_by_key.items():
            if self._store.peek(key, now_ms) is not None:
                for session in sessions:
                    session.dirty = True

    def is_intact(self, session: Session, now_ms: int) -> bool:
        """Return whether nothing that `session` watches has changed."""
        if session.dirty:
            return False
        return not any(was_there and self._store.peek(key, now_ms) is None for key,
                       was_there in session.watched.items())
