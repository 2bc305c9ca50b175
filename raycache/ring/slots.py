"""From a key to its slot, exactly as Redis Cluster has it, so that Redis Cluster clients route by themselves.

What lives here: the slot function for one key and for a batch, and sets of slots as bytes. What does not: who owns a
slot (`raycache.ring.topology`) and how that is decided (`raycache.ring.placement`). Pure functions, any thread.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

SLOT_COUNT: Final = 16384
"""Fixed by Redis Cluster: clients compute slots themselves, so this can never change."""

BITMAP_BYTES: Final = SLOT_COUNT // 8
"""A set of slots as bytes; slot 0 is the highest bit of the first byte (`np.packbits`, "big")."""

_MASK: Final = SLOT_COUNT - 1
_BRACE: Final = 0x7B  # as a number: `b"{" in key` first fails to read b"{" as one, and takes four times as long


def hash_tag(key: bytes) -> bytes:
    """Return the part of `key` that decides its slot.

    That is what stands between the first `{` and the first `}` after it, where that is not empty; else the whole key.
    Source: Redis Cluster specification, "Hash tags".
    """
    start = key.find(b"{")
    if start < 0:
        return key
    end = key.find(b"}", start + 1)
    return key[start + 1 : end] if end > start + 1 else key


def slot_of(key: bytes) -> int:
    """Return the slot of `key`, 0 to 16,383.

    The CRC is CRC16-CCITT (XMODEM), which the standard library has in C as `crc_hqx`.
    """
    # The test for a brace stands here and not only in hash_tag: most keys have none, and this runs for every operation.
    return crc_hqx(hash_tag(key) if _BRACE in key else key, 0) & _MASK


def slots_of(keys: Iterable[bytes]) -> npt.NDArray[np.int32]:
    """Return the slots of `keys` in their order, ready to index a slot table."""
    return np.array([crc_hqx(hash_tag(key) if _BRACE in key else key, 0) & _MASK for key in keys], dtype=np.int32)


def bitmap_of(slots: Iterable[int] | npt.NDArray[Any]) -> bytes:
    """Return a set of slots as `BITMAP_BYTES` bytes.

    Raises:
        IndexError: a number is no slot.
    """
    bits = np.zeros(SLOT_COUNT, dtype=np.bool_)
    bits[np.asarray(slots if isinstance(slots, np.ndarray) else list(slots), dtype=np.int64)] = True
    return np.packbits(bits).tobytes()


def mask_of_bitmap(bitmap: bytes) -> npt.NDArray[np.bool_]:
    """Return for every slot whether it is in the set.

    Raises:
        ValueError: the bytes are too few or too many.
    """
    if len(bitmap) != BITMAP_BYTES:
        raise ValueError(f"a set of slots has {BITMAP_BYTES} bytes, not {len(bitmap)}")
    return np.unpackbits(np.frombuffer(bitmap, dtype=np.uint8)).astype(np.bool_)


def slots_of_bitmap(bitmap: bytes) -> npt.NDArray[np.int32]:
    """Return the slots in the set, ascending.

    Raises:
        ValueError: the bytes are too few or too many.
    """
    return np.flatnonzero(mask_of_bitmap(bitmap)).astype(np.int32)
