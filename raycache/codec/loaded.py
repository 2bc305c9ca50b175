"""What loading keeps beside a value: how long the load took, how long the value may outlive its lifetime, its tags.

What lives here: the frame around an encoded value (kind `LOADED`), written and read by hand because every hit of a
cached function reads one. What does not: what follows from it (`raycache.loading`). Pure functions; any thread.

The frame: a header of 22 bytes (format, the inner kind, length of the tags, a random number, how long the load took in
microseconds, grace in milliseconds), the tags (for each the length of its name, its generation, its name), the value as
`encode` wrote it. All numbers are big-endian. There is no point in time in it: the shard says what is left of the
entry's lifetime, of which the last `grace` is beyond the value's own.
"""

from __future__ import annotations

import math
import struct
from typing import Final, NamedTuple

from raycache.codec.kinds import LOADED

FORMAT: Final = 1
_HEADER: Final = struct.Struct(">BBIIIQ")
_TAG: Final = struct.Struct(">HQ")
HEADER_BYTES: Final = _HEADER.size
unpack_header: Final = _HEADER.unpack_from
"""From bytes and a position to (format, inner kind, bytes of tags, number, microseconds, grace)."""
_MOST: Final = 2**32 - 1

Tags = tuple[tuple[bytes, int], ...]
"""Names and generations."""


class Header(NamedTuple):
    """A frame's header, and where its value begins."""

    kind: int
    """How the value is encoded."""
    start: int
    """Where it begins."""
    load_s: float
    """How long the load took, in seconds."""
    grace_ms: int
    """How long before the end of the entry's lifetime the value's own ends."""
    tags: Tags
    mark: bytes
    """How the frame begins, up to the tags: no other frame begins like this."""


def frame(kind: int, data: bytes, *, number: int, load_s: float, grace_ms: int, tags: Tags = ()) -> bytes:
    """Return the frame of a value that `encode` wrote as (kind, data).

    Args:
        number: a random one of 32 bits, to tell this frame from an earlier one.

    Raises:
        ValueError: a tag's name is longer than 65,535 bytes.
    """
    if any(len(name) > 0xFFFF for name, _ in tags):
        raise ValueError("a tag is at most 65,535 bytes long")
    packed = b"".join([_TAG.pack(len(name), generation) + name for name, generation in tags])
    microseconds = min(math.ceil(load_s * 1e6), _MOST)  # no load takes nothing: a 0 would never be refreshed early
    return b"".join((_HEADER.pack(FORMAT, kind, len(packed), number, microseconds, grace_ms), packed, data))


def header_of(payload: bytes | memoryview, at: int = 0) -> Header:
    """Return the header of the frame that begins at `at`.

    Raises:
        ValueError, struct.error: there is none, or a newer version wrote it.
    """
    form, kind, tag_bytes, _, microseconds, grace_ms = _HEADER.unpack_from(payload, at)
    if form != FORMAT or kind == LOADED:
        raise ValueError("the frame is of another version")
    start = at + HEADER_BYTES
    tags = _tags(payload, start, start + tag_bytes) if tag_bytes else ()
    return Header(kind, start + tag_bytes, microseconds / 1e6, grace_ms, tags, bytes(payload[at:start]))


def _tags(payload: bytes | memoryview, at: int, end: int) -> Tags:
    if end > len(payload):
        raise ValueError("the frame is cut off")
    tags = []
    while at < end:
        length, generation = _TAG.unpack_from(payload, at)
        at += _TAG.size + length
        if at > end:
            raise ValueError("the frame's tags are cut off")
        tags.append((bytes(payload[at - length : at]), generation))
    return tuple(tags)
