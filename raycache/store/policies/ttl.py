"""TTL: what expires soonest leaves first; entries without an expiry last, oldest first among them.

So what has expired always leaves before anything that is alive. The order is exact, hence a heap
and not the store's timer wheel, whose order is coarse. `heapq` cannot take an entry out of the
middle: overwritten ones would have to stay until they surface, and sorting them out stops the
loop. This heap knows each entry's place, so everything is O(log n), 20 levels for a million.
"""

from __future__ import annotations

from collections.abc import Iterator

from raycache.store.policies.base import EvictionPolicy
from raycache.store.policies.chain import Chain, ChainEntry, unlink
from raycache.store.weight import HEAP_ENTRY_BYTES

_IN_CHAIN = -1


class TtlEntry(ChainEntry):
    """An entry with its place in the heap, or -1 and links when it never expires."""

    __slots__ = ("place",)

    place: int


def _expiry(entry: TtlEntry) -> float:
    timer = entry.timer
    assert timer is not None  # only entries with a timer are in the heap
    return timer


class TtlPolicy(EvictionPolicy[TtlEntry]):
    """A binary heap of the entries that expire and a chain of those that do not."""

    name = "ttl"
    entry_type = TtlEntry
    entry_bytes = HEAP_ENTRY_BYTES

    def __init__(self) -> None:
        self._heap: list[TtlEntry] = []
        self._chain: Chain[TtlEntry] = Chain(TtlEntry)

    def on_insert(self, entry: TtlEntry) -> None:
        if entry.timer is None:
            entry.place = _IN_CHAIN
            self._chain.append(entry)
        else:
            self._heap.append(entry)
            self._settle(entry, len(self._heap) - 1)

    def on_update(self, entry: TtlEntry) -> None:
        self.on_remove(entry)
        self.on_insert(entry)

    def on_expiry_change(self, entry: TtlEntry) -> None:
        if (entry.place == _IN_CHAIN) != (entry.timer is None):
            self.on_update(entry)
        elif entry.timer is not None:
            self._settle(entry, entry.place)

    def on_remove(self, entry: TtlEntry) -> None:
        if entry.place == _IN_CHAIN:
            unlink(entry)
            return
        last = self._heap.pop()
        if last is not entry:
            self._settle(last, entry.place)

    def victim(self, spare: TtlEntry | None = None) -> TtlEntry:
        heap = self._heap
        if not heap:
            return self._chain.oldest(spare)
        if heap[0] is not spare:
            return heap[0]
        if len(heap) == 1:
            return self._chain.oldest()
        return min(heap[1:3], key=_expiry)

    def entries(self) -> Iterator[TtlEntry]:
        yield from sorted(self._heap, key=_expiry)
        yield from self._chain

    def fresh(self) -> TtlPolicy:
        return TtlPolicy()

    def close(self) -> None:
        self._chain.close()

    def _settle(self, entry: TtlEntry, place: int) -> None:
        """Let `entry`, which replaces what is at `place`, rise or sink to where it belongs."""
        heap = self._heap
        expires_ms = _expiry(entry)
        while place and _expiry(parent := heap[(place - 1) // 2]) > expires_ms:
            heap[place] = parent
            parent.place, place = place, (place - 1) // 2
        while (child := self._sooner_child(place)) is not None and _expiry(child) < expires_ms:
            heap[place] = child
            child.place, place = place, child.place
        heap[place] = entry
        entry.place = place

    def _sooner_child(self, place: int) -> TtlEntry | None:
        """Return the child of `place` that expires first, or None."""
        heap = self._heap
        left = 2 * place + 1
        if left >= len(heap):
            return None
        child = heap[left]
        if left + 1 < len(heap) and _expiry(heap[left + 1]) < _expiry(child):
            return heap[left + 1]
        return child
