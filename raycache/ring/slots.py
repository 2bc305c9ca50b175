"""From a key to its slot, exactly as Redis Cluster has it, so that Redis Cluster clients route by themselves.

What lives here: the slot function for one key and for a batch. What does not: who owns a slot
(`raycache.ring.topology`) and how that is decided (`raycache.ring.placement`). Pure functions, any thread.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

SLOT_COUNT: Final = 16384
"""Fixed by Redis Cluster: clients compute slots themselves, so this can never change."""

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
