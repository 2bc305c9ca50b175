"""Values that are in Ray's object store: the entry has their descriptor, and what keeps the object alive.

What lives here: `LargeValue` and `Holding`. What does not: what a descriptor says (`raycache.descriptor`; its
bytes mean nothing here), fetching, budgets (`raycache.shard.objects`). Pure.

The object's life is the value's: when an entry is evicted, expires, is deleted, replaced or cleared, Python lets go of
its value, the value of its holding, the holding of the reference, and Ray of the object. No listener is needed, and
whoever still has the value (an outbox, a command under way) keeps the object, too.

As with `typed.TypedValue` the class is another one than `bytes`: fast ways do not know it and take the careful way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

LARGE_KIND: Final = 8
"""The kind of every such entry. Nobody outside can write one of this kind."""


class Holding:
    """One object that this shard owns, and its place in the budget until nobody has it any more."""

    __slots__ = ("__weakref__", "_on_end", "key", "name", "ref", "size_bytes", "where")

    def __init__(self, name: bytes, size_bytes: int, on_end: Callable[[bytes], None]) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self.ref: Any = None
        """What keeps the object alive (opaque here); None: not there yet, or let go of."""
        self.where = b""
        """Where it is, as descriptors say it."""
        self.key = b""
        """Under which key it was stored."""
        self._on_end = on_end

    def __del__(self) -> None:
        self._on_end(self.name)


class LargeValue(bytes):
    """A descriptor and its head, with the object that it describes if this shard owns it."""

    holding: Holding | None = None
    """None: another shard owns the object."""
    whole: bytes | None = None
    """The encoded value, while a command runs that needs it."""
