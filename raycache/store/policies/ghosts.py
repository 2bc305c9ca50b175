"""Keys that have left, without their values: what S3-FIFO and ARC remember of evictions.

What lives here: a queue of hashes, oldest first, from which any one can be taken out. What does not: when a ghost is
made or dropped for lack of room (its policy).

A dict of ints would take 150 bytes a ghost, half of what a small entry takes, and be rebuilt in one go when it grows.
Here a ghost is a record of 16 bytes in a bucket of some dozens, searched by `bytearray.find` at the speed of memory,
and one of 8 bytes in a queue: some 30 bytes with the slack of both. Two keys whose 64-bit hashes agree are one to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from struct import Struct
from typing import Final

_RECORD: Final = Struct("<QII")  # hash, number in the queue, weight
_QUEUED: Final = Struct("<II")  # bucket, number in the queue
_HASH: Final = Struct("<Q")
_NUMBER: Final = Struct("<I")
_RECORD_BYTES: Final = _RECORD.size
_QUEUED_BYTES: Final = _QUEUED.size
_HASH_MASK: Final = 2**64 - 1
_MAX_U32: Final = 2**32 - 1
_CHUNK_BYTES: Final = 8 * 1024
_SLACK: Final = 4 * _CHUNK_BYTES // 8
"""So many records of ghosts that were taken out stay in the queue, besides one for each ghost."""
MAX_BUCKETS: Final = 1 << 20


class Ghosts:
    """A FIFO queue of hashes with weights.

    Args:
        expected: about how many there will be at most; more make each operation slower, not wrong.
    """

    __slots__ = ("_buckets", "_chunks", "_head", "_last", "_mask", "_next", "_stale", "_swept", "count", "weight")

    def __init__(self, expected: int) -> None:
        buckets = min(1 << max(expected // 24, 1).bit_length(), MAX_BUCKETS)
        self._mask = buckets - 1
        self._buckets: list[bytearray | None] = [None] * buckets
        self._chunks: deque[bytearray] = deque()
        self._last = bytearray()
        self._head = 0
        self._next = 0
        self._stale = 0
        self._swept = 0
        self.count = 0
        self.weight = 0
        """The sum over all ghosts."""

    def __len__(self) -> int:
        return self.count

    def add(self, hashed: int, weight: int) -> None:
        """Add the ghost of a key with this hash, which has none here, as the youngest."""
        hashed &= _HASH_MASK
        weight = min(weight, _MAX_U32)
        number = self._next
        self._next = number + 1 & _MAX_U32
        index = hashed & self._mask
        bucket = self._buckets[index]
        if bucket is None:
            bucket = self._buckets[index] = bytearray()
        bucket += _RECORD.pack(hashed, number, weight)
        last = self._last
        if len(last) >= _CHUNK_BYTES or not self._chunks:
            last = self._last = bytearray()
            self._chunks.append(last)
        last += _QUEUED.pack(index, number)
        self.count += 1
        self.weight += weight
        if self._stale > self.count + _SLACK:
            self._sweep()

    def take(self, hashed: int) -> int:
        """Take the ghost of this hash out and return its weight; 0: there is none."""
        hashed &= _HASH_MASK
        index = hashed & self._mask
        bucket = self._buckets[index]
        if not bucket:
            return 0
        at = _find(bucket, _HASH.pack(hashed), 0)
        if at < 0:
            return 0
        self._stale += 1
        return self._cut(index, bucket, at)

    def drop_oldest(self) -> None:
        """Forget the oldest ghost; there must be one."""
        while True:
            chunk = self._chunks[0]
            index, number = _QUEUED.unpack_from(chunk, self._head)
            self._head += _QUEUED_BYTES
            if self._head >= len(chunk) and (len(self._chunks) > 1 or len(chunk) >= _CHUNK_BYTES):
                self._chunks.popleft()
                self._head = 0
            bucket = self._buckets[index]
            at = _find(bucket, _NUMBER.pack(number), _HASH.size) if bucket else -1
            if bucket and at >= 0:
                self._cut(index, bucket, at)
                return
            self._stale -= 1

    def hashes(self) -> Iterator[int]:
        """Yield all, the oldest first. Cost: O(n); for tests."""
        head = self._head
        for chunk in self._chunks:
            for index, number in _QUEUED.iter_unpack(bytes(chunk[head:])):
                for hashed, known, _ in _RECORD.iter_unpack(bytes(self._buckets[index] or b"")):
                    if known == number:
                        yield hashed
            head = 0

    def _sweep(self) -> None:
        """Take the records of ghosts that were taken out from one more chunk, neither the oldest nor the youngest."""
        chunks = self._chunks
        self._swept = self._swept % (len(chunks) - 1) + 1 if len(chunks) > 2 else 0
        if not 0 < self._swept < len(chunks) - 1:
            return
        kept = bytearray()
        for record in _QUEUED.iter_unpack(bytes(chunks[self._swept])):
            bucket = self._buckets[record[0]]
            if bucket and _find(bucket, _NUMBER.pack(record[1]), _HASH.size) >= 0:
                kept += _QUEUED.pack(*record)
            else:
                self._stale -= 1
        if kept:
            chunks[self._swept] = kept
        else:
            del chunks[self._swept]

    def _cut(self, index: int, bucket: bytearray, at: int) -> int:
        weight: int = _RECORD.unpack_from(bucket, at)[2]
        if len(bucket) == _RECORD_BYTES:
            self._buckets[index] = None
        else:
            del bucket[at : at + _RECORD_BYTES]
        self.count -= 1
        self.weight -= weight
        return weight


def _find(bucket: bytearray, what: bytes, offset: int) -> int:
    """Return where the record with `what` at `offset` begins, -1 if there is none."""
    at = bucket.find(what, offset)
    while at >= 0:
        if at % _RECORD_BYTES == offset:
            return at - offset
        at = bucket.find(what, at + 1)
    return -1
