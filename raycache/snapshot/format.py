"""The bytes of a snapshot file: written so that a file that was torn or changed anywhere is known for what it is.

What lives here: packing and checking, on parts of a file that others read and write. What does not: files (`files`),
which entries (`gathering`), when (`keeper`). Pure; any thread.

    magic (8 bytes, the last is the format's number)
    head:    length, msgpack map, CRC of all so far
    blocks:  "BLCK", entries, length, CRC of these and of the payload; payload = records
    trailer: "DONE", blocks, entries, CRC of these and of every block's CRC; and nothing after it

A record is its header (`_RECORD`), the key and the value; a deleted key has no value and says so. The file counts only
whole: it has no trailer until everything else is written, and every byte stands under a checksum (CRC-32).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import BinaryIO, Final
from zlib import crc32

import msgpack

from raycache.replication.mutation import Mutation

MAGIC: Final = b"RCSNAP\x00\x01"
BLOCK_BYTES: Final = 256 * 1024
"""About how much goes into a block; a value that is larger has one of its own."""
MOST_HEAD_BYTES: Final = 64 * 1024

_LENGTH: Final = struct.Struct("<I")
_BLOCK: Final = struct.Struct("<4sII")
_TRAILER: Final = struct.Struct("<4sIQ")
_RECORD: Final = struct.Struct("<IIqqB")
_BLOCK_TAG: Final = b"BLCK"
_DONE_TAG: Final = b"DONE"
_DELETED: Final = 0xFFFFFFFF
"""As a value's length: the key was deleted. A value is at most 512 MiB."""


class SnapshotError(ValueError):
    """The file is no whole snapshot of this shard; the text says in what."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a snapshot says of itself."""

    cluster: str
    shard_id: str
    incarnation: int
    """Of the process that wrote it."""
    epoch: int
    """Of the topology that it held when it began."""
    began_ms: int
    """Unix time at which it began: every entry is as it was then, or newer."""
    is_versioned: bool
    """Whether entries carry versions by which they can be merged (copies > 1)."""
    life: str = ""
    """Which start of the cluster this was (`ClusterConfig.life`)."""


class Sums:
    """What the trailer must say: counted and summed while the blocks go by."""

    __slots__ = ("blocks", "crc", "entries")

    def __init__(self) -> None:
        self.blocks = self.entries = self.crc = 0

    def add(self, entries: int, crc: int) -> None:
        """Take note of one block."""
        self.blocks += 1
        self.entries += entries
        self.crc = crc32(_LENGTH.pack(crc), self.crc)

    def trailer(self) -> bytes:
        """Return the end of the file."""
        fixed = _TRAILER.pack(_DONE_TAG, self.blocks, self.entries)
        return fixed + _LENGTH.pack(crc32(fixed, self.crc))


def pack_head(head: Head) -> bytes:
    """Return the beginning of the file."""
    packed: bytes = msgpack.packb(asdict(head))
    start = MAGIC + _LENGTH.pack(len(packed)) + packed
    return start + _LENGTH.pack(crc32(start))


def pack_records(mutations: Iterable[Mutation]) -> list[bytes]:
    """Return the records of `mutations` as parts to be written one after the other; large values are not copied."""
    parts: list[bytes] = []
    for key, version, kind, expires_ms, value in mutations:
        size = _DELETED if value is None else len(value)
        parts += (_RECORD.pack(len(key), size, version, expires_ms, kind), key)
        if value:
            parts.append(value)
    return parts


def seal_block(entries: int, parts: list[bytes], sums: Sums) -> bytes:
    """Return the header of a block whose payload is `parts`, and add it to `sums`."""
    fixed = _BLOCK.pack(_BLOCK_TAG, entries, sum(map(len, parts)))
    crc = crc32(fixed)
    for part in parts:
        crc = crc32(part, crc)
    sums.add(entries, crc)
    return fixed + _LENGTH.pack(crc)


def read_head(file: BinaryIO) -> Head:
    """Read and check the beginning of a file.

    Raises:
        SnapshotError: it is none.
    """
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        what = "of another format" if magic[:6] == MAGIC[:6] else "no snapshot, or its beginning is damaged"
        raise SnapshotError(f"the file is {what}")
    length = _take(file, _LENGTH.size, "head")
    size = _LENGTH.unpack(length)[0]
    if size > MOST_HEAD_BYTES:
        raise SnapshotError("the head's length is damaged")
    packed = _take(file, size, "head")
    if _LENGTH.unpack(_take(file, _LENGTH.size, "head"))[0] != crc32(magic + length + packed):
        raise SnapshotError("the head is damaged")
    try:
        return Head(**msgpack.unpackb(packed))
    except Exception as error:  # msgpack raises half a dozen kinds; the checksum was right, so another version wrote it
        raise SnapshotError(f"the head is not understood: {error}") from error


def read_blocks(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Read and check what follows the head: yield each block's number of entries and its payload.

    Raises:
        SnapshotError: something is damaged, or missing, or too much. Only a file that is read to its end is whole.
    """
    sums = Sums()
    while True:
        tag = _take(file, 4, "trailer")
        if tag == _DONE_TAG:
            break
        if tag != _BLOCK_TAG:
            raise SnapshotError(f"block {sums.blocks} is damaged")
        fixed = tag + _take(file, _BLOCK.size - 4, f"block {sums.blocks}")
        _, entries, size = _BLOCK.unpack(fixed)
        (crc,) = _LENGTH.unpack(_take(file, _LENGTH.size, f"block {sums.blocks}"))
        payload = _take(file, size, f"block {sums.blocks}")
        if crc32(payload, crc32(fixed)) != crc:
            raise SnapshotError(f"block {sums.blocks} is damaged")
        sums.add(entries, crc)
        yield entries, payload
    rest = tag + _take(file, _TRAILER.size - 4 + _LENGTH.size, "trailer")
    if rest != sums.trailer():
        raise SnapshotError("the trailer does not match the blocks")
    if file.read(1):
        raise SnapshotError("there is something after the trailer")


def unpack_records(entries: int, payload: bytes) -> list[Mutation]:
    """Return the mutations in a block's payload.

    Raises:
        SnapshotError: they are not what the block's header says.
    """
    found: list[Mutation] = []
    at, header = 0, _RECORD.size
    try:
        while at < len(payload):
            key_size, value_size, version, expires_ms, kind = _RECORD.unpack_from(payload, at)
            at += header
            key = payload[at : at + key_size]
            at += key_size
            value = None
            if value_size != _DELETED:
                value = payload[at : at + value_size]
                at += value_size
            found.append((key, version, kind, expires_ms, value))
    except struct.error as error:
        raise SnapshotError(f"a record is damaged: {error}") from error
    if at != len(payload) or len(found) != entries:
        raise SnapshotError("a block does not hold what it says")
    return found


def _take(file: BinaryIO, size: int, what: str) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise SnapshotError(f"the file ends in its {what}: it was torn")
    return data
