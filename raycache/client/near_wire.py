"""What a handle with a near cache says to shards: reads that are told the end of, and the link that hears of it.

What lives here: bytes and how replies read, for both handles. What does not: what is kept (`raycache.near`), sending.
Pure, any thread; a batch belongs to one operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

from raycache.client import frames
from raycache.client.batches import GetMany, Part
from raycache.client.guarded import or_guarded
from raycache.client.requests import MISSING, Request
from raycache.client.results import Row
from raycache.errors import ProtocolError
from raycache.loading.found import AGE_BYTES, NEVER
from raycache.near import UNTRACKED, Source

_HEAD_BYTES: Final = 9
"""Whether it is tracked, and what is left of the lifetime."""
NOT_FRESH: Final = -1
"""What RC.FRESH answers where others may have taken over."""

_READS: Final = frozenset({
    b"RC.GET", b"RC.MGET", b"RC.GETL", b"RC.MGETL", b"RC.GETV", b"RC.READ", b"RC.NEAR", b"RC.MNEAR", b"RC.SCAN",
    b"RC.WHOLE", b"RC.WHOLEL", b"RC.STORED", b"RC.TOKEN", b"RC.TOP", b"RC.USED", b"RC.STATS", b"RC.TOPOLOGY",
    b"RC.EXPLAIN", b"RC.LEASE", b"RC.FREE", b"RC.HOTTEST", b"RC.DEADLETTERS", b"EXISTS", b"PTTL", b"GETRANGE",
})
"""Commands of handles that leave values as they are; every other one counts as a write."""


class Answer(NamedTuple):
    """What a near read has brought."""

    payload: bytes | None
    """None: the key is absent."""
    left_ms: int = UNTRACKED
    """What is left of its lifetime, -1 = it never expires, UNTRACKED = nobody will say when it changes."""
    age: bytes = NEVER
    """The same as loading reads it, said or not."""

    @property
    def aged(self) -> bytes | None:
        """The aged payload."""
        return None if self.payload is None else self.age + self.payload


def answer_of(reply: Any) -> Answer:
    """Return what a near payload says.

    Raises:
        ProtocolError: it is none.
    """
    if reply is None:
        return Answer(None)
    if type(reply) is not bytes or len(reply) <= _HEAD_BYTES:
        raise ProtocolError(f"a shard answered RC.NEAR with {reply!r:.100}")
    age = reply[1:_HEAD_BYTES]
    return Answer(reply[_HEAD_BYTES:], int.from_bytes(age, "big", signed=True) if reply[0] else UNTRACKED, age)


def _plain(reply: Any) -> Answer:
    if reply is None:
        return Answer(None)
    if type(reply) is not bytes or len(reply) <= AGE_BYTES:
        raise ProtocolError(f"a shard answered RC.GETL with {reply!r:.100}")
    return Answer(reply[AGE_BYTES:], age=reply[:AGE_BYTES])


def _of_row(row: Row) -> Answer:
    """What another copy has may be old, and it will not be said when it changes."""
    return Answer(row[0])


def read(key: bytes, source: Source | None) -> Request[Answer]:
    """Return a read of one key for `source`, or, where there is none, a plain one."""
    if source is None:
        return Request(frames.get_aged(key), _plain, from_row=_of_row)
    return Request(frames.command(b"RC.NEAR", key, source.token), answer_of, from_row=_of_row)


class NearMany(GetMany):
    """RC.MNEAR; `answers` are in the order of the keys, beside the values, with the sources that they were read for.

    Args:
        keys: what to read.
        source_of: the present source of the shard with this number in the routes; None: it has none.
    """

    def __init__(self, keys: list[bytes], source_of: Callable[[int], Source | None]) -> None:
        super().__init__(keys)
        self._source_of = source_of
        self.answers: list[Answer] = [Answer(None)] * len(keys)
        self.sources: list[Source | None] = [None] * len(keys)

    def _rounds(self, groups: list[tuple[int, list[int]]]) -> Iterator[list[Part]]:
        for parts in super()._rounds(groups):
            yield [Part(part.shard, part.positions, partial(self._asked, part.shard)) for part in parts]

    def _asked(self, shard: int, positions: list[int]) -> bytes:
        source = self._source_of(shard)
        for position in positions:
            self.sources[position] = source
        token = b"" if source is None else source.token
        return frames.command(b"RC.MNEAR", token, *self._keys(positions))

    @staticmethod
    def of(answer: Answer) -> Any:
        """Return what `values` have in place of an answer."""
        return MISSING if answer.payload is None else or_guarded(answer.payload)

    def accept(self, part: Part, reply: Any) -> None:
        if type(reply) is not list or len(reply) != len(part.positions):
            raise ProtocolError(f"a shard answered RC.MNEAR of {len(part.positions)} keys with {reply!r:.100}")
        answers = [answer_of(each) for each in reply]
        for position, answer, value in zip(part.positions, answers, self._values(answers), strict=True):
            self.answers[position] = answer
            self.values[position] = value

    def _values(self, answers: list[Answer]) -> list[Any]:
        return self.read([each.payload for each in answers])


class NearAgedMany(NearMany):
    """The same with aged payloads for values, which are not decoded; MISSING where a key is absent."""

    @staticmethod
    def of(answer: Answer) -> Any:
        return MISSING if answer.payload is None else answer.aged

    def read(self, payloads: list[Any]) -> list[Any]:
        """What another copy has counts as if it never expired."""
        return [MISSING if payload is None else NEVER + payload for payload in payloads]

    def _values(self, answers: list[Answer]) -> list[Any]:
        return [self.of(answer) for answer in answers]


def may_write(frame: bytes) -> bool:
    """Return whether a command of a handle may change values; `frame` begins with it."""
    start = frame.index(b"$") + 1
    end = frame.index(b"\r\n", start)
    name = frame[end + 2 : end + 2 + int(frame[start:end])]
    return name not in _READS


def greeting(token: bytes, *, whole: bool) -> bytes:
    """Return what makes a connection a link, in one frame of `GREETINGS` commands; the last one is RC.FRESH.

    Args:
        whole: large values themselves are wanted, and not where they are.
    """
    return (frames.command(b"HELLO", b"3") + frames.command(b"CLIENT", b"TRACKING", b"ON", b"OPTIN")
            + frames.command(b"RC.LINK", token, *([b"WHOLE"] if whole else [])) + FRESH)


GREETINGS: Final = 4
FRESH: Final = frames.command(b"RC.FRESH")


def announced(message: list[Any]) -> list[bytes] | None:
    """Return the keys that a push says have changed; None: everything may have.

    Raises:
        ProtocolError: it says something else.
    """
    if len(message) == 2 and message[0] == b"invalidate" and (message[1] is None or type(message[1]) is list):
        keys: list[bytes] | None = message[1]
        return keys
    raise ProtocolError(f"a shard said unasked: {message!r:.100}")
