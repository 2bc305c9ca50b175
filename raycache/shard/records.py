"""What a record of a write says: the bytes that a shard keeps for a database, and what they mean.

What lives here: the form of one record. What does not: its key (`raycache.ring.records`), the queue (`queues`).
Pure, any thread.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

_HEAD: Final = struct.Struct(">BQQH")
_STORE: Final = 1
MAX_REASON_BYTES: Final = 1000
"""A database's message may quote the value."""


@dataclass(frozen=True, slots=True)
class Record:
    """One write that the database of a store is to have."""

    version: int
    """Of two writes of a key the larger is the later."""
    queued_ms: int
    """Unix milliseconds: since when this key has been waiting for the database."""
    payload: bytes | None
    """A kind byte and the value; None: the key is to be deleted."""
    reason: bytes = b""
    """Of a dead letter: what the database said."""

    def pack(self) -> bytes:
        """Return it as bytes."""
        reason = self.reason[:MAX_REASON_BYTES]
        head = _HEAD.pack(_STORE if self.payload is not None else 0, self.version, self.queued_ms, len(reason))
        return b"".join((head, reason, self.payload or b""))


def unpack(data: bytes) -> Record:
    """Return the record in `data`.

    Raises:
        ValueError: the bytes are something else.
    """
    if len(data) < _HEAD.size:
        raise ValueError(f"a record has at least {_HEAD.size} bytes, not {len(data)}")
    flags, version, queued_ms, length = _HEAD.unpack_from(data)
    rest = data[_HEAD.size :]
    return Record(version, queued_ms, rest[length:] if flags & _STORE else None, rest[:length])


def version_of(data: bytes) -> int:
    """Return the version of the record in `data`."""
    version: int = _HEAD.unpack_from(data)[1]
    return version


def queued_ms_of(data: bytes) -> int:
    """Return since when the record in `data` has been waiting."""
    queued_ms: int = _HEAD.unpack_from(data)[2]
    return queued_ms
