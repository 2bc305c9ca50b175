"""What an entry is charged: an honest upper estimate of the memory that it keeps resident.

What lives here: the constants and the one formula. What does not: the bare process, which comes
on top of a shard's budget.

Measured in fresh processes (growth of resident memory while a store of 100,000 to 1,000,000
entries fills and then evicts twice its content; keys of 13 bytes): resident over charged was 0.88
to 0.94 with values of 100 bytes, 0.89 to 0.92 with 10, 0.96 to 0.98 with 600 to 300,000, the spread
coming from how full the segments' dicts happen to be. `tests/unit/store/test_weight.py` repeats a
small one. Not charged, and within that margin: 48 bytes for each version that somebody asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Weigher = Callable[[bytes, Any], int]
"""(key, value) -> bytes charged, without the timer."""

# CPython 3.11, 64 bits. An object of n slots: 16 bytes for the collector, 16 of object header, 8 a
# slot, rounded up to 16 by pymalloc. An int that came out of an addition of large ones: 48.
ENTRY_BYTES: Final = 64  # 4 slots
CHAIN_ENTRY_BYTES: Final = 96  # 7 slots: links, and the number that lets an entry pass to other policies
RANKED_ENTRY_BYTES: Final = 96  # 7 slots: links, and a count (255 at most: no object of its own) or a group
GHOST_BYTES: Final = 32  # measured with slack and allocator: 28 to 31
SKETCH_BYTES: Final = 16  # what a sketch of use keeps for each entry that fits, as a power of two
SLOTTED_ENTRY_BYTES: Final = 80 + 32 + 9  # 5 slots: a place, that int, and the place itself in a list
HEAP_ENTRY_BYTES: Final = 96 + 32 + 9  # 7 slots: links, or a place as above
CACHETOOLS_ENTRY_BYTES: Final = 64 + 420  # 4 slots; LFUCache, the worst, has two dicts and an OrderedDict
TIMER_BYTES: Final = 64  # the number, and 3 slots

# 33 bytes of header and final zero, and what rounding up to 16 adds at most.
BYTES_OBJECT_BYTES: Final = 33 + 15
# Objects above 512 bytes come from malloc, whose holes and headers were measured at 1 to 3 %.
_MALLOC_SHIFT: Final = 5
# A slot in a dict of S places costs 18 bytes * S / used. While entries come and go, CPython makes S
# the power of two above 3 * used: from 54 bytes an entry to 108. Charged is the worst.
DICT_SLOT_BYTES: Final = 108


def weigher(entry_bytes: int) -> Weigher:
    """Return the function that weighs entries of a policy which keeps `entry_bytes` for each."""
    fixed = entry_bytes + DICT_SLOT_BYTES + 2 * BYTES_OBJECT_BYTES

    def weigh(key: bytes, value: Any) -> int:
        length = len(value)
        return fixed + len(key) + length + (length >> _MALLOC_SHIFT)

    return weigh
