"""The giver's side of a transfer: a slice of the store at a time.

What lives here: reading the next entries of some slots. What does not: who asks, and when (`arrival`). Nothing is kept
between two slices but the running checksum, so a receiver may stop and go on as it likes.
"""

from __future__ import annotations

from binascii import crc_hqx
from itertools import islice
from typing import Final
from zlib import crc32

from raycache.replication.copies import Copies
from raycache.replication.mutation import Mutation
from raycache.ring.slots import SLOT_COUNT, hash_tag, slot_of
from raycache.store import WholeStore

CHUNK_ENTRIES: Final = 128
"""Merging so many takes the receiver about half a millisecond."""
CHUNK_BYTES: Final = 256 * 1024
LOOKED_AT: Final = 2000
"""Entries looked at per slice, whether or not their slot is wanted: about 0.7 ms. In a move few are: what it costs is
looking, and what it takes is questions."""
_TOMBSTONES: Final = 1 << 32
"""Cursors from here on count tombstones; a store has far fewer segments."""
_MASK: Final = SLOT_COUNT - 1
_BRACE: Final = 0x7B


def checksum(mutations: list[Mutation]) -> list[int]:
    """Return count and order-free checksum of `mutations`."""
    total = 0
    for key, version, kind, expires_ms, value in mutations:
        total ^= hash((crc32(key), version, kind, expires_ms, crc32(value) if value is not None else -1))
    return [len(mutations), total]


def give(store: WholeStore, copies: Copies, member: bytearray, cursor: int, now_ms: int) -> tuple[int, list[Mutation]]:
    """Return the next cursor (0: done) and the next entries of the slots marked in `member`; start with cursor 0.

    After the entries come the slots' tombstones, where entries have versions.
    """
    if cursor >= _TOMBSTONES:
        return _tombstones(copies, member, cursor - _TOMBSTONES)
    found: list[Mutation] = []
    looked_at = size = 0
    while True:
        cursor, keys = store.scan(cursor, 1, now_ms)
        looked_at += len(keys) + 1
        for key in keys:
            if member[crc_hqx(hash_tag(key) if _BRACE in key else key, 0) & _MASK]:
                mutation = copies.mutation_of(key)
                if mutation is not None:
                    found.append(mutation)
                    size += len(mutation[4] or b"")
        if cursor == 0:
            return (_TOMBSTONES if copies.is_versioned and copies.tombstones else 0), found
        if looked_at >= LOOKED_AT or len(found) >= CHUNK_ENTRIES or size >= CHUNK_BYTES:
            return cursor, found


def _tombstones(copies: Copies, member: bytearray, start: int) -> tuple[int, list[Mutation]]:
    some = list(islice(copies.tombstones.items(), start, start + LOOKED_AT))
    found: list[Mutation] = [(key, version, 0, 0, None) for key, version in some if member[slot_of(key)]]
    return (_TOMBSTONES + start + LOOKED_AT if len(some) == LOOKED_AT else 0), found
