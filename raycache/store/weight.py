"""What an entry is charged: an honest upper estimate of the memory that it keeps resident.

What lives here: the constants and the one formula. What does not: the bare process, which comes
on top of a shard's budget.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Weigher = Callable[[bytes, Any], int]
"""(key, value) -> bytes charged, without the timer."""

# An object of n slots under CPython 3.11: 16 bytes of collector header, 16 of object header, 8 a
# slot, rounded up to 16 by pymalloc.
ENTRY_BYTES: Final = 80  # 5 slots
CHAIN_ENTRY_BYTES: Final = 96  # 7 slots: two links more
RANKED_ENTRY_BYTES: Final = 96  # 8 slots: links, and a count or a group
SLOTTED_ENTRY_BYTES: Final = 80 + 32 + 9  # 6 slots: a position, that int, and its place in a list that grows by an eighth
HEAP_ENTRY_BYTES: Final = 96 + 32 + 9  # 8 slots: links, or a position as above
CACHETOOLS_ENTRY_BYTES: Final = 80 + 260  # 5 slots; and a dict, an OrderedDict and often one more dict, all per key
TIMER_BYTES: Final = 64 + 32  # 4 slots, and the expiry, an int beyond the cached ones

DICT_SLOT_BYTES: Final = 108


def weigher(entry_bytes: int) -> Weigher:
    """Return the function that weighs entries of a policy which keeps `entry_bytes` for each."""
    fixed = entry_bytes + DICT_SLOT_BYTES

    def weigh(key: bytes, value: Any) -> int:
        return fixed + (len(key) + 48 & -16) + (len(value) + 48 & -16)

    return weigh
