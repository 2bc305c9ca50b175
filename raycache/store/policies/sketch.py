"""How often keys were used that are not in the store: a sketch that forgets by halves.

What lives here: counts up to 15 by hash, too high at times and never too low by more than fading explains. What does
not: counts of entries, which the entries carry themselves.

A count-min sketch (Cormode, Muthukrishnan, J. Algorithms 2005) of one row whose cells are addressed four times, as in
Einziger, Friedman, Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", ACM ToS 2017. Halving all counts in one
go would stop the loop, so every cell has its epoch beside its count and is halved when it is next looked at.
"""

from __future__ import annotations

from typing import Final

MOST: Final = 15
_EPOCHS: Final = 16
_ROWS: Final = 4
MAX_CELLS: Final = 1 << 28


class UseSketch:
    """A cell is a byte: four bits of epoch, four of count.

    Args:
        expected: how many entries the store may have; a cell for each, eight times, as a power of two.
    """

    __slots__ = ("_cells", "_epoch", "_mask")

    def __init__(self, expected: int) -> None:
        size = min(1 << (8 * max(expected, 8) - 1).bit_length(), MAX_CELLS)
        self._cells = bytearray(size)  # zeros from the system: what is not touched takes no memory
        self._mask = size - 1
        self._epoch = 0

    def fade(self) -> None:
        """Halve every count."""
        self._epoch = (self._epoch + 1) % _EPOCHS

    def count(self, hashed: int) -> int:
        """Return how often the key with this hash was used, 0 to 15."""
        cells, mask, epoch, least = self._cells, self._mask, self._epoch, MOST
        for _ in range(_ROWS):
            cell = cells[hashed & mask]
            seen = (cell & MOST) >> (epoch - (cell >> 4)) % _EPOCHS
            if seen < least:
                if not seen:
                    return 0
                least = seen
            hashed = (hashed >> 15) * 0x9E3779B1 + hashed & 0xFFFFFFFFFFFFFFF
        return least

    def keep(self, hashed: int, count: int) -> None:
        """Remember that the key with this hash was used `count` times, 0 to 15."""
        cells, mask, epoch = self._cells, self._mask, self._epoch
        for _ in range(_ROWS):
            place = hashed & mask
            cell = cells[place]
            if count > (cell & MOST) >> (epoch - (cell >> 4)) % _EPOCHS:
                cells[place] = epoch << 4 | count
            hashed = (hashed >> 15) * 0x9E3779B1 + hashed & 0xFFFFFFFFFFFFFFF
