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
    """Never goes back, whatever the machine's clock does, and is never behind what it has seen of others'.

    Between two readings of others' it goes on as fast as theirs: where machines' clocks differ by minutes, all follow
    the one that is furthest ahead. So of two writes that are a heartbeat apart the later one has the larger version,
    also where a shard has taken over from one that it hears no more.
    """

    __slots__ = ("_ahead_ms", "_shard", "_ticks", "given")

    def __init__(self, shard_index: int) -> None:
        """Make a clock for the shard of this index.

        Raises:
            ValueError: the index does not fit a version.
        """
        if not 0 <= shard_index <= MAX_SHARD_INDEX:
            raise ValueError(f"a shard's index must be 0 to {MAX_SHARD_INDEX}, not {shard_index}")
        self._shard = shard_index
        self._ticks = 0  # milliseconds and counter, without the shard
        self._ahead_ms = 0
        self.given = 0
        """The last version that it gave out."""

    def next(self, now_ms: int) -> int:
        """Return a version above every one that this clock gave out or saw."""
        ticks = (now_ms + self._ahead_ms) << COUNTER_BITS
        if ticks <= self._ticks:
            ticks = self._ticks + 1
        self._ticks = ticks
        self.given = version = (ticks << SHARD_BITS) | self._shard
        return version

    def step(self, now_ms: int) -> None:
        """Go on to `now_ms`, by the machine's clock."""
        self._ahead_ms = max(self._ahead_ms, (self._ticks >> COUNTER_BITS) - now_ms)
        self._ticks = max(self._ticks, (now_ms + self._ahead_ms) << COUNTER_BITS)

    def observe(self, version: int) -> None:
        """Take note of another shard's version."""
        ticks = version >> SHARD_BITS
        if ticks > self._ticks:
            self._ticks = ticks

    def age_ms(self, version: int, now_ms: int) -> int:
        """Return how long ago a version was given out, by whatever clock, as far as this one knows."""
        return max(0, now_ms + self._ahead_ms - version_ms(version))

    @property
    def latest(self) -> int:
        """The largest version that this clock may have given out so far."""
        return (self._ticks << SHARD_BITS) | self._shard
