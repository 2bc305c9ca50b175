"""The queues of one shard: which records wait for the database of which store, oldest first.

What lives here: the index over the records, kept by what happens to them, so that a copy that is promoted has it, too;
bounds; which writer is the newest. What does not: the records themselves (`raycache.store.pinned`), the commands
(`commands.queue`), writing to databases (`raycache.stores`). Pure; it belongs to the shard's loop.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from raycache.ring.records import DEAD, QUEUED, parts_of
from raycache.ring.slots import SLOT_COUNT, slot_of
from raycache.shard.records import queued_ms_of
from raycache.store import Entry

if TYPE_CHECKING:
    from raycache.shard.owned import OwnedSlots

QUEUE_SHARE: Final = 4
"""Unless told otherwise, records may take one part in so many of what a shard's entries may take."""
_STALE_FACTOR: Final = 4
"""The heap of ages is made anew once it holds so many times more than there are records."""


class StoreQueue:
    """The records of one store: `waiting` and `dead` by the record's key, in the order in which they came."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, Entry] = {}
        self.dead: dict[bytes, Entry] = {}
        self.writer = 0
        """The newest writer that has asked; an older one is not answered any more."""
        self.is_closed = False
        """Whether the writer wants no more, because it is about to end."""
        self._ages: list[tuple[int, bytes]] = []

    def oldest_ms(self) -> int | None:
        """Return since when the oldest record has been waiting, None if none is."""
        ages, waiting = self._ages, self.waiting
        while ages:
            since_ms, key = ages[0]
            entry = waiting.get(key)
            if entry is not None and queued_ms_of(entry.value) == since_ms:
                return since_ms
            heapq.heappop(ages)
        return None

    def aged(self, key: bytes, since_ms: int) -> None:
        """Take note of how old a record is."""
        if len(self._ages) > _STALE_FACTOR * len(self.waiting) + 1000:
            self._ages = [(queued_ms_of(entry.value), name) for name, entry in self.waiting.items()]
            heapq.heapify(self._ages)
        heapq.heappush(self._ages, (since_ms, key))


class WriteQueues:
    """All queues of one shard, by the name of their store.

    Args:
        limit_bytes: what the records here may take, other shards' copies included, before writes are refused.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.stores: dict[bytes, StoreQueue] = {}
        self.by_slot = np.zeros(SLOT_COUNT, dtype=np.int64)
        """How many records wait, by slot."""
        self.refused = 0
        """Writes refused because the queue was full."""

    def of(self, store: bytes) -> StoreQueue:
        """Return the queue of `store`."""
        queue = self.stores.get(store)
        if queue is None:
            queue = self.stores[store] = StoreQueue()
        return queue

    def changed(self, entry: Entry, is_there: bool) -> None:
        """Take in that a record was written, or has gone."""
        key = entry.key
        try:
            sort, store, _ = parts_of(key)
        except ValueError:  # written by a newer version; it is kept and passed on
            return
        queue = self.of(store)
        if sort == QUEUED:
            self.by_slot[slot_of(key)] += is_there - (key in queue.waiting)
            if is_there:
                queue.waiting[key] = entry
                queue.aged(key, queued_ms_of(entry.value))
            else:
                queue.waiting.pop(key, None)
        elif sort == DEAD:
            if is_there:
                queue.dead[key] = entry
            else:
                queue.dead.pop(key, None)

    def figures(self, slots: OwnedSlots, used_bytes: int, now_ms: int) -> dict[str, Any]:
        """Return what a shard tells of its queues; what it is primary of counts, so that a sum counts nothing twice."""
        if not self.stores:
            return {"queued": 0, "queued_bytes": 0, "queue_limit_bytes": self.limit_bytes, "queue_oldest_s": 0.0,
                    "queue_refused": self.refused, "dead_letters": 0}
        oldest_ms = self.oldest_ms()
        return {
            "queued": self.depth(slots.led_marks), "queued_bytes": used_bytes, "queue_limit_bytes": self.limit_bytes,
            "queue_oldest_s": max(0, now_ms - oldest_ms) / 1000 if oldest_ms is not None else 0.0,
            "queue_refused": self.refused, "dead_letters": sum(1 for _ in slots.each_led(self.dead())),
        }

    def depth(self, led: bytes | None) -> int:
        """Return how many records wait in the slots marked in `led`; None: in all."""
        if led is None:
            return int(self.by_slot.sum())
        return int(self.by_slot[np.frombuffer(led, dtype=np.uint8).astype(bool)].sum())

    def oldest_ms(self) -> int | None:
        """Return since when the oldest record of all stores has been waiting, None if none is."""
        return min((since for queue in self.stores.values() if (since := queue.oldest_ms()) is not None), default=None)

    def dead(self) -> Iterator[bytes]:
        """Yield the keys of all dead letters."""
        for queue in self.stores.values():
            yield from queue.dead
