"""What a scan is asked for, whom it asks in turn, and the form of the keys that it yields.

What lives here: what both handles share of `scan`. Pure; a walk belongs to one scan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from raycache.client.routes import NOBODY, Routes
from raycache.errors import UnsupportedTypeError
from raycache.ring.slots import SLOT_COUNT, slots_of

SCAN_BATCH: Final = 500
# A step of 10,000 keys is a shard's loop held for about a millisecond.
_LARGEST_BATCH: Final = 10_000


def check_batch(batch: int) -> None:
    """Raise ValueError unless a scan may look at `batch` keys per step."""
    if not 1 <= batch <= _LARGEST_BATCH:
        raise ValueError(f"batch must be 1 to {_LARGEST_BATCH:,} keys, not {batch!r}")


def key_form(prefix: str | bytes) -> tuple[bytes, Callable[[bytes], str] | Callable[[bytes], bytes]]:
    """Return the prefix for the wire, and what turns keys into the prefix's own type.

    Raises:
        UnsupportedTypeError: neither str nor bytes.
    """
    if isinstance(prefix, str):
        return prefix.encode("utf-8", "surrogateescape"), _as_text
    if isinstance(prefix, bytes):
        return prefix, bytes
    raise UnsupportedTypeError(f"a prefix is str or bytes, not {type(prefix).__name__}")


def _as_text(key: bytes) -> str:
    return key.decode("utf-8", "surrogateescape")


class Walk:
    """Goes from shard to shard until every slot has been seen at whoever was its primary then.

    A shard that is lost on the way has its slots seen again where they are served now.
    """

    def __init__(self) -> None:
        self._left: npt.NDArray[np.bool_] = np.ones(SLOT_COUNT, dtype=np.bool_)
        self._mine = self._left
        self._index = NOBODY

    def next_shard(self, routes: Routes) -> str | None:
        """Return the id of the shard to look through next; None: there is none left."""
        primaries = np.where(self._left, routes.primaries, NOBODY)
        self._index = int(primaries.max())
        if self._index == NOBODY:
            return None
        self._mine = primaries == self._index
        return routes.shard_ids[self._index]

    def wanted(self, keys: list[bytes], routes: Routes) -> list[bytes]:
        """Return those of a shard's keys that are not seen elsewhere."""
        if routes.copies == 1 or not keys:
            return keys
        mine = self._mine[slots_of(keys)].tolist()
        return [key for key, is_mine in zip(keys, mine, strict=True) if is_mine]

    def done_with(self, shard_id: str, routes: Routes) -> None:
        """Take in that a shard has been looked through, or has gone: nobody serves in its place, then, is waited for.

        Args:
            shard_id: which.
            routes: those that hold now. What others have taken over meanwhile is looked for there.
        """
        if routes.copies == 1:
            self._left = self._left & ~self._mine
        else:
            self._left = self._left & ~(self._mine & (routes.primaries == routes.index_of(shard_id)))
