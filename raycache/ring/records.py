"""Keys of records: what a shard keeps beside its entries, in the slot of the key that it is about.

What lives here: how such a key is made and taken apart. What does not: what a record says (`raycache.shard.records`)
and where it is kept (`raycache.store.pinned`). Pure, any thread.

A record is replicated, moved and promoted with its slot, so its key must hash to the same one. Its hash tag is two
bytes that do: CRC16 of two bytes takes every value once, so each slot has four such pairs.
"""

from __future__ import annotations

from binascii import crc_hqx
from functools import cache
from typing import Final

from raycache.ring.slots import SLOT_COUNT, slot_of

RECORD_PREFIX: Final = b"\0rc:"
"""No entry has a key that begins like this: `raycache.store.whole` keeps the two apart."""
QUEUED: Final = b"q"
"""A write that waits for the database of its store."""
DEAD: Final = b"d"
"""One that the database has refused for good."""

_MASK: Final = SLOT_COUNT - 1
_TAG_AT: Final = len(RECORD_PREFIX) + 2
_STORE_AT: Final = _TAG_AT + 3
_CLOSING: Final = 0x7D


@cache
def _tags() -> list[bytes]:
    """Return two bytes for each slot."""
    tags = [b""] * SLOT_COUNT
    for number in range(1 << 16):
        tag = number.to_bytes(2, "big")
        if _CLOSING not in tag:
            tags[crc_hqx(tag, 0) & _MASK] = tag
    return tags


def record_key(sort: bytes, store: bytes, key: bytes) -> bytes:
    """Return the key of the record of `sort` (`QUEUED`, `DEAD`) that `store` has of `key`, in the slot of `key`.

    Args:
        store: a name without a zero byte.
    """
    return b"%b%b{%b}%b\0%b" % (RECORD_PREFIX, sort, _tags()[slot_of(key)], store, key)


def parts_of(record: bytes) -> tuple[bytes, bytes, bytes]:
    """Return sort, store and key of a record's key.

    Raises:
        ValueError: it is none.
    """
    store, zero, key = record[_STORE_AT:].partition(b"\0")
    if not record.startswith(RECORD_PREFIX) or not zero or record_key(record[4:5], store, key) != record:
        raise ValueError(f"{record[:100]!r} is no key of a record")
    return record[4:5], store, key
