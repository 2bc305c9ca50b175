"""Values that know their media type: what an HTTP client wrote, with how it called it.

What lives here: `TypedValue`, and how one is told from other bytes. What does not: the description itself, which only
those who read it must know (`raycache.codec.described`). Pure.

Such a value is its body, then the description, then the description's length in 2 bytes. Copies, snapshots and handles
carry all of it. Whoever asks as a Redis client gets the body. So that this costs nobody else anything, the value's
class is another one: fast ways look for `bytes` exactly, and what they do not know takes the careful way.
"""

from __future__ import annotations

from typing import Any, Final

from raycache.store.large import LARGE_KIND, LargeValue
from raycache.store.packed import PACKED_KIND, PackedValue

TYPED_KIND: Final = 7
"""The kind of every such entry."""

_LENGTH_BYTES: Final = 2


class TypedValue(bytes):
    """A body with its description behind it."""

    __slots__ = ()

    @property
    def body(self) -> bytes:
        """What was written."""
        return self[: body_bytes(self)]


def body_bytes(value: bytes) -> int:
    """Return how long the body in `value` is; bytes that hold no description are all body."""
    end = len(value) - _LENGTH_BYTES - int.from_bytes(value[-_LENGTH_BYTES:], "big")
    return end if end >= 0 else len(value)


def held(value: Any, kind: int) -> Any:
    """Return `value` as a store keeps it under `kind`."""
    if kind < TYPED_KIND or type(value) is not bytes:
        return value
    kept = _CLASSES.get(kind)
    return value if kept is None else kept(value)


_CLASSES: Final[dict[int, type[bytes]]] = {TYPED_KIND: TypedValue, LARGE_KIND: LargeValue, PACKED_KIND: PackedValue}
