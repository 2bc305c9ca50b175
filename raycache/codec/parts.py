"""A large value as a few buffers: what `encode` joins into one string of bytes stays apart here.

What lives here: which values are split, and putting them together again without a copy where their type allows it. What
does not: where the buffers are kept (Ray's object store). The buffers of a value, joined, are what `encode` could
have returned for it: whoever knows bytes alone can be served from them. Pure functions; any thread.

A value that was loaded has the header of loading (`loaded.py`) as its first buffer, and then those of its own kind.

A numpy array comes back as a read-only view of its buffer, as does an Arrow table. Types that own their memory (bytes,
str, containers) are copied out of theirs, once. A value of another kind, such as a pickle where that is allowed, is one
buffer: whoever adds a kind that can be split adds it to `split` and `restore`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from raycache.codec import foreign
from raycache.codec.arrays import can_be_split, split_array, view_array
from raycache.codec.kinds import ARRAY, LOADED, MSGPACK, RAW, TEXT
from raycache.codec.loaded import header_of
from raycache.codec.refusal import corrupt
from raycache.codec.values import decode, encode

Buffer = bytes | memoryview | npt.NDArray[np.uint8]

_LARGE_BY_CONTENT: Final = frozenset({list, dict, tuple, set, frozenset, bytearray})
"""Types of which nobody knows how large they are before they are encoded."""


class Parts(NamedTuple):
    """One value."""

    kind: int
    buffers: tuple[Buffer, ...]

    @property
    def size_bytes(self) -> int:
        """Of all buffers together."""
        return sum(map(len, self.buffers))

    @property
    def data(self) -> bytes:
        """What `encode` returns beside the kind. Costs a copy of everything."""
        return _joined(self.buffers)


def split(value: Any, at_least: int) -> Parts | None:
    """Return the parts of a value whose own size says that it has `at_least` bytes, and of every container.

    None: it is smaller, or of a type that is never large. Nothing but a container is encoded for that answer.

    Raises:
        UnsupportedTypeError: see `encode`.
    """
    kind = type(value)
    if kind is np.ndarray:
        if value.nbytes < at_least:
            return None
        return Parts(ARRAY, split_array(value)) if can_be_split(value) else Parts(*_whole(value))
    if kind is bytes:
        return Parts(RAW, (value,)) if len(value) >= at_least else None
    if kind is str:
        return Parts(*_whole(value)) if len(value) >= at_least else None
    if kind in _LARGE_BY_CONTENT:
        return Parts(*_whole(value))
    if foreign.is_foreign(value) and foreign.size_bytes(value) >= at_least:
        return Parts(MSGPACK, foreign.split(value))
    return None


def _whole(value: Any) -> tuple[int, tuple[Buffer, ...]]:
    kind, data = encode(value)
    return kind, (data,)


def restore(kind: int, buffers: tuple[Buffer, ...]) -> Any:
    """Return the value of which `split` made these parts. Arrays and Arrow tables share memory with the last buffer.

    Raises:
        InternalError: they are no parts of a value.
    """
    try:
        if kind == LOADED and len(buffers) > 1:
            return restore(header_of(bytes(buffers[0])).kind, buffers[1:])
        if kind == ARRAY and len(buffers) == 2:
            return view_array(bytes(buffers[0]), buffers[1])
        if kind == MSGPACK and len(buffers) == 2:
            return foreign.view(bytes(buffers[0]), buffers[1])
    except Exception as error:
        raise corrupt(kind, error) from error
    data = memoryview(buffers[0]) if len(buffers) == 1 else _joined(buffers)  # type: ignore[arg-type]
    return decode(kind, bytes(data) if kind == TEXT else data)


def _joined(buffers: tuple[Any, ...]) -> bytes:
    return b"".join(buffers)
