"""FIFO: the value that was written first leaves first. Reading changes nothing.

A write over an existing key counts as a new write (as in `cachetools.FIFOCache`): what is old is
the value, not the key.
"""

from __future__ import annotations

from collections.abc import Iterator

from raycache.store.policies.base import EvictionPolicy
from raycache.store.policies.chain import Chain, ChainEntry, RankedEntry, unlink
from raycache.store.weight import CHAIN_ENTRY_BYTES


class FifoEntry(RankedEntry):
    """Its count means nothing; it has the form of the others' entries, so that it can become one of theirs."""

    __slots__ = ()


class FifoPolicy(EvictionPolicy[ChainEntry]):
    """One chain in the order of writing. Also the base of LRU, which reorders on hits as well."""

    name = "fifo"
    entry_type: type[ChainEntry] = FifoEntry
    entry_bytes = CHAIN_ENTRY_BYTES

    def __init__(self) -> None:
        self._chain: Chain[ChainEntry] = Chain(ChainEntry)
        self._root = self._chain.root

    def on_insert(self, entry: ChainEntry) -> None:
        # `Chain.append` written out: this runs once per write.
        root = self._root
        youngest = root.prev
        entry.prev = youngest
        entry.next = root
        youngest.next = root.prev = entry

    def on_update(self, entry: ChainEntry) -> None:
        unlink(entry)
        self._chain.append(entry)

    def on_remove(self, entry: ChainEntry) -> None:
        before, after = entry.prev, entry.next
        before.next = after
        after.prev = before
        del entry.prev, entry.next

    def victim(self, spare: ChainEntry | None = None) -> ChainEntry:
        oldest = self._root.next
        return oldest if oldest is not spare else oldest.next

    def entries(self) -> Iterator[ChainEntry]:
        return iter(self._chain)

    def fresh(self) -> FifoPolicy:
        return type(self)()

    def close(self) -> None:
        self._chain.close()
