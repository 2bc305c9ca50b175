"""A store that is opened when it is first needed, once for a process.

What lives here: `Opened`. Any thread.
"""

from __future__ import annotations

import threading

from raycache.stores.config import Attachment
from raycache.stores.protocol import BackingStore


class Opened:
    """A store that is opened when it is first needed, once."""

    def __init__(self, attachment: Attachment, store: BackingStore | None) -> None:
        self._attachment = attachment
        self._opening = threading.Lock()
        self._is_mine = store is None
        self._store = store

    def __call__(self) -> BackingStore:
        """Return the store. Raises ValueError where its settings make no sense."""
        with self._opening:
            if self._store is None:
                self._store = self._attachment.open()
            return self._store

    def close(self) -> None:
        """Close it, if it was opened here."""
        if self._is_mine and self._store is not None and hasattr(self._store, "close"):
            self._store.close()
