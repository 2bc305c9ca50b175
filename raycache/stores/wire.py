"""The commands of write-behind as requests and batches of a handle.

What lives here: RC.QUEUE and its kin: their bytes and their replies. What does not: sending (`raycache.client`). Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from raycache.client import frames
from raycache.client.arguments import TimeToLive, ttl_ms
from raycache.client.batches import MAX_BYTES, MAX_KEYS, Batch, Part
from raycache.client.requests import Question
from raycache.codec import decode_payload, encode
from raycache.errors import ProtocolError, RayCacheError
from raycache.ring.records import QUEUED, parts_of, record_key
from raycache.stores.writer import Waiting

DELETE: Final = (b"-", b"")
_MANY: Final = 4096
_PER_LEASE: Final = 512


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A write that a database has refused for good."""

    key: str
    value: Any
    """What was to be stored; None where the key was to be deleted, or where the value cannot be decoded."""
    is_deletion: bool
    reason: str
    """What the database said."""
    queued_ms: int
    """Unix milliseconds: when it was acknowledged."""
    record: bytes
    """What it goes by in the cluster."""


def _expect(is_so: bool, command: str, reply: object) -> None:
    if not is_so:
        raise ProtocolError(f"a shard answered {command} with {reply!r:.100}")


class QueueMany(Batch):
    """RC.QUEUE in RC.WRITE: writes and deletions of `keys`.

    Args:
        values: as `encoded` gives them, or `DELETE`.
        options: RC.WRITE's; None: nobody but the primary need have it.
    """

    def __init__(self, store: str, keys: list[bytes], values: Sequence[tuple[bytes, bytes]], ttl: TimeToLive,
                 options: bytes | None) -> None:
        super().__init__(keys)
        self._values = values
        self._head = (b"RC.QUEUE", store.encode(), b"%d" % ttl_ms(ttl))
        self._options = options

    def fitting(self, positions: list[int]) -> int:
        size = 0
        for count, position in enumerate(positions[:MAX_KEYS]):
            size += len(self._values[position][1])
            if size > MAX_BYTES and count:
                return count
        return MAX_KEYS

    def frame(self, positions: list[int]) -> bytes:
        parts = list(self._head)
        for position in positions:
            kind, data = self._values[position]
            parts += (kind, self.keys[position], data)
        frame = frames.command(*parts)
        return frame if self._options is None else frames.wrapped(frame, b"RC.WRITE", self._options)

    def accept(self, part: Part, reply: Any) -> None:
        answer = reply if self._options is None else frames.inner(reply)
        _expect(answer == b"OK", "RC.QUEUE", reply)


def encoded(value: object) -> tuple[bytes, bytes]:
    """Return a value as `QueueMany` takes it.

    Raises:
        UnsupportedTypeError: see `raycache.codec.encode`.
    """
    kind, data = encode(value)
    return b"%d" % kind, data


class PendingMany(Batch):
    """RC.PENDING: what waits for the database of `store`; `payloads` are in the order of `keys`, "" = a deletion."""

    def __init__(self, store: str, keys: Sequence[bytes]) -> None:
        super().__init__([record_key(QUEUED, store.encode(), key) for key in keys])
        self.payloads: list[bytes | None] = [None] * len(keys)

    def frame(self, positions: list[int]) -> bytes:
        return frames.command(b"RC.PENDING", *self._keys(positions))

    def accept(self, part: Part, reply: Any) -> None:
        _expect(type(reply) is list and len(reply) == len(part.positions), "RC.PENDING", reply)
        for position, payload in zip(part.positions, reply, strict=True):
            self.payloads[position] = payload


class DequeueMany(Batch):
    """RC.DEQUEUE of `batch`."""

    def __init__(self, store: str, writer: int, batch: Sequence[Waiting]) -> None:
        super().__init__([one.record for one in batch])
        self._batch = batch
        self._head = (b"RC.DEQUEUE", store.encode(), b"%d" % writer)

    def frame(self, positions: list[int]) -> bytes:
        parts = list(self._head)
        for position in positions:
            parts += (self.keys[position], b"%d" % self._batch[position].version)
        return frames.command(*parts)

    def accept(self, part: Part, reply: Any) -> None:
        _expect(type(reply) is int, "RC.DEQUEUE", reply)


class BuryOne(Batch):
    """RC.BURY."""

    def __init__(self, store: str, writer: int, one: Waiting, reason: str) -> None:
        super().__init__([one.record])
        self._words = (b"RC.BURY", store.encode(), b"%d" % writer, one.record, b"%d" % one.version,
                       reason.encode(errors="replace"))

    def frame(self, positions: list[int]) -> bytes:
        return frames.command(*self._words)

    def accept(self, part: Part, reply: Any) -> None:
        _expect(type(reply) is int, "RC.BURY", reply)


class LetterMany(Batch):
    """RC.REVIVE or RC.DISCARD of dead letters; `count` is of how many."""

    def __init__(self, command: bytes, letters: Sequence[bytes]) -> None:
        super().__init__(list(letters))
        self._command = command
        self.count = 0

    def frame(self, positions: list[int]) -> bytes:
        return frames.command(self._command, *self._keys(positions))

    def accept(self, part: Part, reply: Any) -> None:
        _expect(type(reply) is int, self._command.decode(), reply)
        self.count += reply


def queued(store: str, writer: int, count: int, *, is_closing: bool) -> Question[list[Waiting]]:
    """Return a question for a shard's oldest records."""
    words = [b"RC.QUEUED", store.encode(), b"%d" % writer, b"%d" % count]
    return Question(frames.command(*words, *([b"CLOSE"] if is_closing else [])), _waiting)


def _waiting(reply: Any) -> list[Waiting]:
    try:
        return [Waiting(record, parts_of(record)[2], version, since, payload)
                for record, version, since, payload in reply]
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"a shard answered RC.QUEUED with {reply!r:.100}") from error


def dead_letters(store: str) -> Question[list[DeadLetter]]:
    """Return a question for a shard's dead letters, its first 4,096."""
    return Question(frames.command(b"RC.DEADLETTERS", store.encode(), b"%d" % _MANY), _letters)


def _letters(reply: Any) -> list[DeadLetter]:
    try:
        return [_letter(*row) for row in reply]
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"a shard answered RC.DEADLETTERS with {reply!r:.100}") from error


def _letter(record: bytes, _version: int, queued_ms: int, payload: bytes | None, reason: bytes) -> DeadLetter:
    key = parts_of(record)[2].decode(errors="surrogateescape")
    value = None
    if payload is not None:
        try:
            value = decode_payload(payload)
        except RayCacheError:
            value = None
    return DeadLetter(key, value, payload is None, reason.decode(errors="replace"), queued_ms, record)


class LeaseMany(Batch):
    """RC.LEASE: the right to fill `keys`; `tokens` are in their order, 0 where somebody else is at it, -1 where there
    is a value, None where nobody may store what he loads."""

    def __init__(self, keys: list[bytes], lease_s: float) -> None:
        super().__init__(keys)
        self._head = (b"RC.LEASE", b"%d" % int(lease_s * 1000), b"0")
        self.tokens: list[int | None] = [0] * len(keys)

    def fitting(self, positions: list[int]) -> int:
        return _PER_LEASE

    def frame(self, positions: list[int]) -> bytes:
        return frames.command(*self._head, *(word for key in self._keys(positions) for word in (key, b"")))

    def accept(self, part: Part, reply: Any) -> None:
        _expect(type(reply) is list and len(reply) == len(part.positions), "RC.LEASE", reply)
        for position, answer in zip(part.positions, reply, strict=True):
            self.tokens[position] = (None if answer == -1 else answer) if type(answer) is int else -1


class FillMany(Batch):
    """RC.FILL: values under leases; `void` are the positions whose lease was over."""

    def __init__(self, keys: list[bytes], tokens: Sequence[int], values: Sequence[tuple[bytes, bytes]],
                 ttl: TimeToLive) -> None:
        super().__init__(keys)
        self._tokens, self._values, self._px = tokens, values, b"%d" % ttl_ms(ttl)
        self.void: list[int] = []

    def fitting(self, positions: list[int]) -> int:
        size = 0
        for count, position in enumerate(positions[:_PER_LEASE]):
            size += len(self._values[position][1])
            if size > MAX_BYTES and count:
                return count
        return _PER_LEASE

    def frame(self, positions: list[int]) -> bytes:
        parts = [b"RC.FILL"]
        for position in positions:
            kind, data = self._values[position]
            parts += (self.keys[position], b"%d" % self._tokens[position], kind, data, self._px)
        return frames.command(*parts)

    def accept(self, part: Part, reply: Any) -> None:
        _expect(type(reply) is list and len(reply) == len(part.positions), "RC.FILL", reply)
        self.void += [position for position, answer in zip(part.positions, reply, strict=True) if answer == 0]


class FreeMany(Batch):
    """RC.FREE: leases given up."""

    def __init__(self, keys: list[bytes], tokens: Sequence[int]) -> None:
        super().__init__(keys)
        self._tokens = tokens

    def frame(self, positions: list[int]) -> bytes:
        return frames.command(b"RC.FREE", *(word for position in positions for word in (
            self.keys[position], b"%d" % self._tokens[position], b"")))

    def accept(self, part: Part, reply: Any) -> None:
        _expect(type(reply) is int, "RC.FREE", reply)
