"""Databases behind the cache: read-through, write-through and write-behind.

What lives here: names only. `protocol` says what a store is, `sql` is one, `config` names one, `backed` is what a
program uses, `writer` decides and `worker` does what write-behind needs. No Ray.
"""

from raycache.stores.config import Attachment, StoreConfig
from raycache.stores.protocol import ABSENT, BackingStore, Deletion, Write
from raycache.stores.writer import WriterSettings

__all__ = ["ABSENT", "Attachment", "BackingStore", "Deletion", "StoreConfig", "Write", "WriterSettings"]
