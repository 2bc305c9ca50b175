"""Versions: one number that orders all writes of a cluster, whoever made them.

What lives here: the hybrid logical clock (Kulkarni, Demirbas et al., "Logical Physical Clocks", OPODIS 2014) and the
layout of its readings. What does not: what versions decide (`raycache.replication.replicator`). One clock belongs to
one shard's loop.

A version is one int below 2**63, so that it fits RESP's integers: 42 bits of unix milliseconds, 11 bits that count
within one, 10 bits of shard index. Larger wins; of two equal readings the higher shard index wins. The counter may run
over into the milliseconds (2,048 writes within one): the clock is then ahead of the time, and that is harmless.
"""

from __future__ import annotations

from typing import Final

SHARD_BITS: Final = 10
COUNTER_BITS: Final = 11
MAX_SHARD_INDEX: Final = (1 << SHARD_BITS) - 1
_MS_SHIFT: Final = SHARD_BITS + COUNTER_BITS
VERSION_BYTES: Final = 48
"""What an entry's version costs in memory: the int that it is."""


def version_ms(version: int) -> int:
    """Return the unix milliseconds of a version: when it was written, by the clock of the shard that wrote it."""
    return version >> _MS_SHIFT


def version_shard(version: int) -> int:
    """Return the index of the shard that made a version."""
    return version & MAX_SHARD_INDEX


def first_version(ms: int) -> int:
    """Return a number that every version made at `ms` or later reaches."""
    return ms << _MS_SHIFT


class HybridClock:
    """Never goes back, whatever the machine's clock does, and is never behind what it has seen of others'."""

    __slots__ = ("_shard", "_ticks")

    def __init__(self, shard_index: int) -> None:
        """Make a clock for the shard of this index.

        Raises:
            ValueError: the index does not fit a version.
        """
        if not 0 <= shard_index <= MAX_SHARD_INDEX:
            raise ValueError(f"a shard's index must be 0 to {MAX_SHARD_INDEX}, not {shard_index}")
        self._shard = shard_index
        self._ticks = 0  # milliseconds and counter, without the shard

    def next(self, now_ms: int) -> int:
        """Return a version above every one that this clock gave out or saw."""
        ticks = now_ms << COUNTER_BITS
        if ticks <= self._ticks:
            ticks = self._ticks + 1
        self._ticks = ticks
        return (ticks << SHARD_BITS) | self._shard

    def observe(self, version: int) -> None:
        """Take note of another shard's version."""
        ticks = version >> SHARD_BITS
        if ticks > self._ticks:
            self._ticks = ticks

    @property
    def latest(self) -> int:
        """The largest version that this clock may have given out so far."""
        return (self._ticks << SHARD_BITS) | self._shard
