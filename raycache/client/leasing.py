"""The commands of loading: aged reads, leases, fills, generations; one at a time and many at once.

What lives here: their bytes and how their replies read, for both handles. What does not: what they are for
(`raycache.loading`), sending. Pure; a batch belongs to one operation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from raycache.client import frames
from raycache.client.batches import MAX_BYTES, Batch, GetMany, Part
from raycache.client.requests import Question, Request
from raycache.client.results import Row
from raycache.errors import ProtocolError
from raycache.loading.found import AGE_BYTES, NEVER
from raycache.loading.steps import Answer, Filling, WaitForLease

MAX_LEASES: Final = 512
"""What a shard takes in one command."""


def _unexpected(reply: object) -> NoReturn:
    raise ProtocolError(f"a shard answered with something unexpected: {reply!r:.100}")


def _aged(reply: Any) -> bytes | None:
    if reply is not None and (type(reply) is not bytes or len(reply) <= AGE_BYTES):
        _unexpected(reply)
    return reply


def _aged_row(row: Row) -> bytes | None:
    """RC.READ tells no lifetime: what another copy has counts as if it never expired."""
    return None if row[0] is None else NEVER + row[0]


def fetch(key: bytes) -> Request[bytes | None]:
    """Return an aged read of one key. HOT."""
    return Request(frames.get_aged(key), _aged, True, 1, None, _aged_row)


def whole_aged(key: bytes) -> Request[bytes | None]:
    """Return an aged read of one key, of a large value with its bytes."""
    return Question(frames.command(b"RC.WHOLEL", key), _aged)


class FetchMany(GetMany):
    """RC.MGETL; `values` are aged payloads, None for a miss."""

    def __init__(self, keys: list[bytes]) -> None:
        super().__init__(keys)
        self.values = [None] * len(keys)

    def frame(self, positions: list[int]) -> bytes:
        return frames.command(b"RC.MGETL", *self._keys(positions))

    def read(self, payloads: list[Any]) -> list[Any]:
        return [None if payload is None else NEVER + payload for payload in payloads]

    def accept(self, part: Part, reply: Any) -> None:
        if type(reply) is not list or len(reply) != len(part.positions):
            _unexpected(reply)
        for position, aged in zip(part.positions, reply, strict=True):
            self.values[position] = _aged(aged)


def _answers(reply: Any, count: int) -> list[Answer]:
    if type(reply) is not list or len(reply) != count or not all(
        type(each) is int or (type(each) is bytes and each[:1] in (b"h", b"f")) for each in reply
    ):
        _unexpected(reply)
    return reply


def _milliseconds(seconds: float) -> bytes:
    return b"%d" % max(1, math.ceil(seconds * 1000))


def take_lease(key: bytes, seen: bytes, lease_s: float) -> Request[list[Answer]]:
    """Return the question for one lease, without waiting."""
    frame = frames.command(b"RC.LEASE", _milliseconds(lease_s), b"0", key, seen)
    return Request(frame, lambda reply: _answers(reply, 1))


def wait_for_lease(wait: WaitForLease) -> Request[list[Answer]]:
    """Return the question for one lease, which the shard answers when somebody has something to say."""
    frame = frames.command(b"RC.LEASE", _milliseconds(wait.lease_s), _milliseconds(wait.wait_s), wait.key, wait.seen)
    return Request(frame, lambda reply: _answers(reply, 1))


class TakeMany(Batch):
    """RC.LEASE of many keys without waiting; `answers` are in their order."""

    def __init__(self, keys: list[bytes], seen: Sequence[bytes], lease_s: float) -> None:
        super().__init__(keys)
        self._seen = seen
        self._lease_ms = _milliseconds(lease_s)
        self.answers: list[Answer] = [0] * len(keys)

    def fitting(self, positions: list[int]) -> int:
        return MAX_LEASES

    def frame(self, positions: list[int]) -> bytes:
        parts = [b"RC.LEASE", self._lease_ms, b"0"]
        for position in positions:
            parts += (self.keys[position], self._seen[position])
        return frames.command(*parts)

    def accept(self, part: Part, reply: Any) -> None:
        for position, answer in zip(part.positions, _answers(reply, len(part.positions)), strict=True):
            self.answers[position] = answer


class FillMany(Batch):
    """RC.FILL; `stored` are in the order of the fillings, 0 where nothing is known."""

    def __init__(self, fillings: Sequence[Filling]) -> None:
        super().__init__([filling.key for filling in fillings])
        self._fillings = fillings
        self.stored = [0] * len(fillings)

    def fitting(self, positions: list[int]) -> int:
        size = 0
        for count, position in enumerate(positions[:MAX_LEASES]):
            size += len(self._fillings[position].data)
            if size > MAX_BYTES and count:
                return count
        return MAX_LEASES

    def frame(self, positions: list[int]) -> bytes:
        parts = [b"RC.FILL"]
        for position in positions:
            key, token, kind, data, px, _ = self._fillings[position]
            parts += (key, b"%d" % token, b"%d" % kind, data, b"%d" % px)
        return frames.command(*parts)

    def accept(self, part: Part, reply: Any) -> None:
        if type(reply) is not list or len(reply) != len(part.positions) or not all(type(each) is int for each in reply):
            _unexpected(reply)
        for position, answer in zip(part.positions, reply, strict=True):
            self.stored[position] = answer


class FreeMany(Batch):
    """RC.FREE."""

    def __init__(self, leases: Sequence[tuple[bytes, int]], text: bytes) -> None:
        super().__init__([key for key, _ in leases])
        self._leases = leases
        self._text = text

    def fitting(self, positions: list[int]) -> int:
        return MAX_LEASES

    def frame(self, positions: list[int]) -> bytes:
        parts = [b"RC.FREE"]
        for position in positions:
            key, token = self._leases[position]
            parts += (key, b"%d" % token, self._text)
        return frames.command(*parts)

    def accept(self, part: Part, reply: Any) -> None:
        if type(reply) is not int:
            _unexpected(reply)


class MakeGenerations(Batch):
    """RC.GENS; `numbers` are in the order of the keys."""

    def __init__(self, keys: list[bytes]) -> None:
        super().__init__(keys)
        self.numbers = [0] * len(keys)

    def fitting(self, positions: list[int]) -> int:
        return MAX_LEASES

    def frame(self, positions: list[int]) -> bytes:
        return frames.command(b"RC.GENS", *self._keys(positions))

    def accept(self, part: Part, reply: Any) -> None:
        if type(reply) is not list or len(reply) != len(part.positions) or not all(type(each) is int for each in reply):
            _unexpected(reply)
        for position, number in zip(part.positions, reply, strict=True):
            self.numbers[position] = number


def void(prefix: bytes) -> Request[int]:
    """Return the word to one shard that keys with a prefix are about to go."""
    return Request(frames.command(b"RC.VOID", prefix), _count)


def _count(reply: Any) -> int:
    if type(reply) is not int:
        _unexpected(reply)
    return reply


def look(key: bytes) -> Request[tuple[int, bytes] | None]:
    """Return a read of a key's version and payload."""
    return Request(frames.command(b"RC.STORED", key), _look)


def _look(reply: Any) -> tuple[int, bytes] | None:
    if reply is None:
        return None
    if type(reply) is not list or len(reply) != 3 or type(reply[0]) is not int or type(reply[2]) is not bytes:
        _unexpected(reply)
    return reply[0], reply[2]


def compare_and_set(key: bytes, version: int, kind: int, data: bytes, px: int) -> Request[bool]:
    """Return a write of an encoded value at a version."""
    frame = frames.command(b"RC.CAS", key, b"%d" % version, b"%d" % kind, data, b"%d" % px)
    return Request(frame, lambda reply: _count(reply) > 0, repeatable=False)


def generation_of(aged: bytes | None) -> int | None:
    """Return the generation in a tag's aged payload; None: there is none."""
    if aged is None:
        return None
    try:
        return int(aged[AGE_BYTES + 1 :])
    except ValueError:
        return None
