"""Compressed values: what a handle stores when that was asked for and pays.

What lives here: the bytes of a compressed value (kind 9): one byte of kind and a zstandard frame. What does not: what
is inside, and who asks for it (`raycache.client.large`). Thread-safe: an idle compressor is taken and put back.
"""

from __future__ import annotations

from typing import Final

import zstandard

PACKED_KIND: Final = 9
"""The kind of every compressed value; `raycache.codec.kinds` knows the number, too."""
LEVEL: Final = 1
"""zstandard's fastest: some 400 MB/s, and on arrays and JSON within a tenth of what level 3 saves at half the speed."""
MOST_OF: Final = 0.9
"""It pays if this part of the bytes is left, at most: less is not worth the time of every reader."""
MOST_BYTES: Final = 4 * 1024**3
"""Larger values are not unpacked: a few bytes could claim to be any number of them."""
_SAMPLE_BYTES: Final = 64 * 1024

_packers: list[zstandard.ZstdCompressor] = []
_unpackers: list[zstandard.ZstdDecompressor] = []


def pack(kind: int, data: bytes, at_least: int) -> tuple[int, bytes]:
    """Return an encoded value compressed, as (kind, data), or as it is if it is smaller than `at_least` bytes or that
    does not pay. Of a long one a piece from its middle is tried first, so that noise costs little."""
    if len(data) < at_least:
        return kind, data
    try:
        packer = _packers.pop()
    except IndexError:
        packer = zstandard.ZstdCompressor(level=LEVEL)
    try:
        if len(data) > 4 * _SAMPLE_BYTES:
            middle = len(data) // 2
            sample = memoryview(data)[middle : middle + _SAMPLE_BYTES]
            if len(packer.compress(sample)) > MOST_OF * _SAMPLE_BYTES:
                return kind, data
        packed = packer.compress(data)
    finally:
        _packers.append(packer)
    return (PACKED_KIND, bytes([kind]) + packed) if len(packed) + 1 <= MOST_OF * len(data) else (kind, data)


def unpack(packed: bytes | memoryview) -> tuple[int, bytes]:
    """Return the (kind, data) that `pack` was given.

    Raises:
        ValueError: it is nothing that `pack` returned.
    """
    if len(packed) < 2 or packed[0] >= PACKED_KIND:
        raise ValueError("no compressed value")
    frame = memoryview(packed)[1:]
    try:
        if not 0 <= zstandard.frame_content_size(frame) <= MOST_BYTES:
            raise ValueError("a compressed value says that it is too large")
        try:
            unpacker = _unpackers.pop()
        except IndexError:
            unpacker = zstandard.ZstdDecompressor()
        try:
            return packed[0], unpacker.decompress(frame)
        finally:
            _unpackers.append(unpacker)
    except (zstandard.ZstdError, MemoryError) as error:
        raise ValueError(f"a compressed value cannot be unpacked: {error}") from error
