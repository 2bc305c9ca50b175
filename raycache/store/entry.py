"""The record of one key, and why a record leaves.

What lives here: `Entry`, its `Timer`, `RemovalCause`. What does not: who orders entries for
eviction (`policies/`, whose entry types add their own links), who keeps time (`wheel.py`).
Entries belong to the one loop that owns their store.

There are millions of them, so they are small: see `weight.py` for what each slot costs.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final

KIND_BITS: Final = 8
KIND_MASK: Final = (1 << KIND_BITS) - 1


class Timer(float):
    """When an entry expires, in Unix milliseconds, and its place in the timer wheel. Only entries with a TTL have one.

    The timer is the number, exact as it is below 2**53: `timer > now_ms` means alive. A slot with an int in it would
    take another 40 to 56 bytes. `prev` and `next` are intrusive links, so that a timer leaves the wheel in O(1) and an
    overwritten entry leaves nothing behind.
    """

    __slots__ = ("entry", "next", "prev")

    entry: Entry
    prev: Timer
    next: Timer

    @property
    def expires_ms(self) -> int:
        """The number as an int."""
        return int(self)


class Entry:
    """One key and what is stored under it.

    There is no `__init__` on purpose: a store makes one entry per insert, and setting the slots
    where they are known costs a third of a call to a Python constructor. Whoever makes an entry
    sets all four slots; a policy's `on_insert` sets those that its own type adds.
    """

    __slots__ = ("key", "stamp", "timer", "value")

    key: bytes
    value: Any
    """`bytes` for strings. Other types may follow; the store only ever weighs them."""
    stamp: int
    """The version, shifted, and the kind in the lowest byte. In one slot, because another one would take 16 bytes."""
    timer: Timer | None

    @property
    def kind(self) -> int:
        """How the Python handle encoded the value, 0 to 255; 0 is raw bytes."""
        return self.stamp & KIND_MASK

    @property
    def version(self) -> int:
        """Number of the last write, or 0 when nobody has asked for it since. See `Store.version_of`."""
        return self.stamp >> KIND_BITS

    @version.setter
    def version(self, version: int) -> None:
        self.stamp = version << KIND_BITS | self.stamp & KIND_MASK

    @property
    def expires_ms(self) -> int | None:
        """Unix milliseconds from which the entry is dead (live means now < expires), or None for never."""
        timer = self.timer
        return None if timer is None else timer.expires_ms

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key!r} kind={self.kind} expires_ms={self.expires_ms}>"


class RemovalCause(Enum):
    """Why a value left the store."""

    EXPIRED = "expired"
    """Its time was over, whoever noticed: a read, a step, or an eviction that found it dead."""
    EVICTED = "evicted"
    """It was live and made room for another."""
    DELETED = "deleted"
    """Somebody asked for it, by key or by clearing the store."""
    REPLACED = "replaced"
    """Its key was written again."""


RemovalListener = Callable[[Entry, RemovalCause], None]
"""Called while the entry still has its key and value, for REPLACED before the new value is set.
It must not touch the store."""
