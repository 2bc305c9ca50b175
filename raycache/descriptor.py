"""What an entry holds whose value is in Ray's object store: which object, what it is, who keeps it.

What lives here: the bytes of a descriptor (kind `OBJECT`). What does not: objects themselves. Pure; any thread.

All descriptors have one length, so that a shard can put another one in an entry's place without weighing it anew: a
format byte, the length of what follows, that as msgpack, zeros. Behind it an entry may have a *head*: of a value that
was loaded, what loading keeps beside it (`raycache.codec.loaded`), so that a reader knows that before it fetches
anything.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

import msgpack

DESCRIPTOR_BYTES: Final = 512
"""Some 250 are used: an owner's address is 80 to 130, an object's state 40."""
NAME_BYTES: Final = 16
FORMAT: Final = 1
_START: Final = struct.Struct(">BH")
_MOST: Final = DESCRIPTOR_BYTES - _START.size


class Descriptor(NamedTuple):
    """One object."""

    name: bytes
    """A random one that the writer chose; all copies of the entry have it."""
    kind: int
    """How the value is encoded: what its entry's kind would be otherwise."""
    size_bytes: int
    """Of the encoded value."""
    holder: str
    """Id of the shard that owns the object."""
    where: bytes = b""
    """For Ray: the object's id, its owner's address, its state. Empty: the holder has to be asked."""

    def pack(self) -> bytes:
        """Return its bytes, `DESCRIPTOR_BYTES` of them. What does not fit of `where` is left out as a whole."""
        packed = msgpack.packb(list(self))
        if len(packed) > _MOST:
            packed = msgpack.packb(list(self._replace(where=b"")))
        data: bytes = _START.pack(FORMAT, len(packed)) + packed
        return data.ljust(DESCRIPTOR_BYTES, b"\0")


def descriptor_of(data: bytes | memoryview) -> Descriptor:
    """Return what `pack` wrote; a head may follow.

    Raises:
        ValueError: it did not write this.
    """
    if len(data) < DESCRIPTOR_BYTES:
        raise ValueError(f"a descriptor has {DESCRIPTOR_BYTES} bytes, not {len(data)}")
    form, length = _START.unpack_from(data)
    if form != FORMAT or length > _MOST:
        raise ValueError("the descriptor is of another version")
    try:
        fields: Any = msgpack.unpackb(data[_START.size : _START.size + length])
        found = Descriptor(*fields)
    except Exception as error:  # msgpack raises half a dozen kinds; here they all mean one thing
        raise ValueError(f"no descriptor: {error}") from error
    if [type(field) for field in found] != [bytes, int, int, str, bytes]:
        raise ValueError("a descriptor's fields are of other types")
    return found
