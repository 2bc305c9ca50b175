"""The giver's side of a transfer: a slice of the store at a time.

What lives here: reading the next entries of some slots. What does not: who asks, and when (`arrival`). A receiver may
stop and go on as it likes.

Slots leave in turns, and a store cannot tell which keys a slot has without looking at all of them. So what the first
turn sees is remembered (`KeysBySlot`), and later turns go by that.
"""

from __future__ import annotations

from binascii import crc_hqx
from dataclasses import dataclass
from itertools import islice
from typing import Final
from zlib import crc32

from raycache.replication.copies import Copies
from raycache.replication.keys_by_slot import KeysBySlot
from raycache.replication.mutation import Mutation
from raycache.ring.slots import SLOT_COUNT, hash_tag, slot_of
from raycache.store import WholeStore

CHUNK_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Slice:
    """How much one question brings, at most."""

    entries: int
    looked_at: int
    """Entries looked at, whether or not their slot is wanted."""


LARGE: Final = Slice(128, 2000)
"""Where copies are missing until all has come. It takes the giver 0.7 ms, and the receiver as long."""
SMALL: Final = Slice(48, 600)
"""Where only the place changes. Whoever asks either shard meanwhile waits that long, and where all shards share a few
cores, whoever asks any: short slices with rests are in nobody's way, though the same work takes longer by them."""
_TOMBSTONES: Final = 1 << 32
"""Cursors from here on count tombstones; a store has far fewer segments."""
_LISTED: Final = 1 << 48
"""Cursors from here on count slots, and the keys that are remembered of each."""
_SLOT: Final = 1 << 32
_MASK: Final = SLOT_COUNT - 1
_BRACE: Final = 0x7B


def checksum(mutations: list[Mutation]) -> list[int]:
    """Return count and order-free checksum of `mutations`."""
    total = 0
    for key, version, kind, expires_ms, value in mutations:
        total ^= hash((crc32(key), version, kind, expires_ms, crc32(value) if value is not None else -1))
    return [len(mutations), total]


def give(store: WholeStore, copies: Copies, slots: list[int], cursor: int, now_ms: int,
         keys: KeysBySlot | None = None, most: Slice = LARGE) -> tuple[int, list[Mutation]]:
    """Return the next cursor (0: done) and the next entries of `slots`; start with cursor 0.

    After the entries come the slots' tombstones, where entries have versions.

    Args:
        keys: what is remembered; is added to where it is not whole yet. The same until the end, None: nothing is.
        most: how much at a time.
    """
    if cursor >= _LISTED or (cursor == 0 and keys is not None and keys.is_whole):
        after, found = _listed(copies, slots, max(0, cursor - _LISTED), keys or KeysBySlot(), most)
    elif cursor >= _TOMBSTONES:
        return _tombstones(copies, slots, cursor - _TOMBSTONES)
    else:
        after, found = _looked_for(store, copies, slots, cursor, now_ms, keys, most)
    return after or (_TOMBSTONES if copies.is_versioned and copies.tombstones else 0), found


def _looked_for(store: WholeStore, copies: Copies, slots: list[int], cursor: int, now_ms: int,
                keys: KeysBySlot | None, most: Slice) -> tuple[int, list[Mutation]]:
    member = bytearray(SLOT_COUNT)
    for slot in slots:
        member[slot] = 1
    found: list[Mutation] = []
    looked_at = size = 0
    while True:
        noted = keys if keys is not None and keys.is_next(cursor) else None
        cursor, some = store.scan(cursor, 1, now_ms)
        looked_at += len(some) + 1
        for key in some:
            slot = crc_hqx(hash_tag(key) if _BRACE in key else key, 0) & _MASK
            if noted is not None:
                noted.found(slot, key)
            if member[slot]:
                mutation = copies.mutation_of(key)
                if mutation is not None:
                    found.append(mutation)
                    size += len(mutation[4] or b"")
        if noted is not None:
            noted.reached(cursor)
        if cursor == 0 or looked_at >= most.looked_at or len(found) >= most.entries or size >= CHUNK_BYTES:
            return cursor, found


def _listed(copies: Copies, slots: list[int], position: int, keys: KeysBySlot, most: Slice
            ) -> tuple[int, list[Mutation]]:
    found: list[Mutation] = []
    place, start = divmod(position, _SLOT)
    looked_at = size = 0
    for slot in slots[place:]:
        for key in islice(keys.of(slot), start, None):
            start += 1
            looked_at += 1
            mutation = copies.mutation_of(key)
            if mutation is not None and mutation[4] is not None:
                found.append(mutation)
                size += len(mutation[4])
            if looked_at >= most.looked_at or len(found) >= most.entries or size >= CHUNK_BYTES:
                return _LISTED + place * _SLOT + start, found
        place, start = place + 1, 0
    return 0, found


def _tombstones(copies: Copies, slots: list[int], start: int) -> tuple[int, list[Mutation]]:
    wanted = set(slots)
    some = list(islice(copies.tombstones.items(), start, start + LARGE.looked_at))
    found: list[Mutation] = [(key, version, 0, 0, None) for key, version in some if slot_of(key) in wanted]
    return (_TOMBSTONES + start + LARGE.looked_at if len(some) == LARGE.looked_at else 0), found
