"""Digests: one number per slot that says which (key, version) pairs a shard holds there.

What lives here: the table and how a pair enters it. Order-free and its own inverse (XOR), so a write costs O(1) and two
shards compare 16,384 numbers instead of a million keys.

A pair is hashed as a tuple of two ints: CPython's tuple hash (xxHash-like) mixes well, which a bare CRC does not (it is
linear: four keys can cancel out), takes 60 ns, and is the same in every process, because only hashing text and bytes is
seeded.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from zlib import crc32

from raycache.ring.slots import SLOT_COUNT


def pair_hash(key: bytes, version: int) -> int:
    """Return the 64-bit hash of one (key, version) pair."""
    return hash((crc32(key), version))


class SlotDigests:
    """The digests of one shard."""

    __slots__ = ("of",)

    def __init__(self) -> None:
        self.of = [0] * SLOT_COUNT
        """By slot. The hot path works on it directly."""

    def pack(self, slots: Iterable[int]) -> bytes:
        """Return the digests of `slots`, in their order, eight bytes each."""
        of = self.of
        return array("q", [of[slot] for slot in slots]).tobytes()

    def differing(self, slots: list[int], packed: bytes) -> list[int]:
        """Return those of `slots` whose digest is not what `pack` gave elsewhere.

        Raises:
            ValueError: `packed` is not as long as `slots`.
        """
        theirs = array("q")
        theirs.frombytes(packed)
        of = self.of
        return [slot for slot, digest in zip(slots, theirs, strict=True) if of[slot] != digest]
