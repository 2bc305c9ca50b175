"""One command per call: its bytes, whether it may be repeated, and how its reply reads.

What lives here: single-key operations and those that ask one shard, for both handles. What does not: several keys at
once (`batches.py`), routing (`routes.py`), sending. Pure, any thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, NoReturn, TypeVar

import msgpack

from raycache.client import frames
from raycache.client.arguments import TimeToLive, encoded, integer, ttl_ms
from raycache.client.curve import ShardCurve
from raycache.client.guarded import Guarded, opened
from raycache.client.info import Address, Versioned
from raycache.client.results import Result, Row, presence_of, result_of, rows_of, versioned_of
from raycache.client.stats import ShardStats
from raycache.client.top import ShardUse
from raycache.client.wishes import PLAIN, write_options
from raycache.codec import PICKLE, RAW, decode_payload, encode
from raycache.errors import ProtocolError
from raycache.usage.rows import FunctionUse

T = TypeVar("T")

Encode = Callable[[Any], tuple[int, bytes]]
"""What a handle makes (kind, bytes) of a value with: `raycache.codec.encode`, or that of a `Pickles`."""

MISSING: Final = object()
"""What a read answers for an absent key: a stored None is not a miss."""


JOINED_KEY_BYTES: Final = 1024
"""A longer key gains nothing in a larger read, and one that the shard refuses must not fail other tasks' reads."""
MOST_SILENT: Final = 8
"""So many shards are told of in one question: who is cut off from more has other worries."""


class Request(Generic[T]):
    """One command, or a few in one frame. `decode` gets the reply, or the list of replies where there are several.

    `read_key` is the key of a plain read, which the async handle makes part of a larger one; else None.
    `from_row` makes the same answer of a row of RC.READ, so that any copy can give it; None: only the primary can.
    """

    __slots__ = ("decode", "frame", "from_row", "read_key", "repeatable", "replies")

    is_question: ClassVar[bool] = False
    """Whether it surely writes nothing although only one shard can answer it."""
    tail: Sequence[bytes | bytearray] = ()
    """What follows `frame`, and is sent from where it stands: a value too large to be copied. Only async handles do."""

    def __init__(
        self,
        frame: bytes,
        decode: Callable[[Any], T],
        repeatable: bool = True,
        replies: int = 1,
        read_key: bytes | None = None,
        from_row: Callable[[Row], T] | None = None,
    ) -> None:
        self.read_key = read_key
        self.from_row = from_row
        self.frame = frame
        self.decode = decode
        self.repeatable = repeatable
        self.replies = replies


class Bulky(Request[T]):
    """A request whose value stays where it is until it has left."""

    __slots__ = ("tail",)

    def __init__(self, frame: bytes, tail: Sequence[bytes | bytearray], decode: Callable[[Any], T],
                 repeatable: bool = True) -> None:
        super().__init__(frame, decode, repeatable)
        self.tail = tail


class Question(Request[T]):
    """A request that only one shard can answer and that writes nothing."""

    __slots__ = ()

    is_question = True


def _unexpected(reply: object) -> NoReturn:
    raise ProtocolError(f"a shard answered with something unexpected: {reply!r:.100}")


def payload(reply: Any) -> Any:
    """Return the value in the reply to RC.GET, MISSING for an absent key."""
    if type(reply) is bytes and reply:
        kind = reply[0]
        if kind == RAW:
            return reply[1:]
        return decode_payload(reply) if kind < PICKLE else opened(reply)
    if reply is not None:
        _unexpected(reply)
    return MISSING


def _bytes(reply: Any) -> bytes | None:
    if reply is not None and not (type(reply) is bytes and reply):
        _unexpected(reply)
    return reply


def _value(row: Row) -> Any:
    return payload(row[0])


def _count(reply: Any) -> int:
    if type(reply) is not int:
        _unexpected(reply)
    return reply


def _flag(reply: Any) -> bool:
    return _count(reply) > 0


def _stored(reply: Any) -> bool:
    """+OK, or null where a condition did not hold."""
    if reply is not None and reply != b"OK":
        _unexpected(reply)
    return reply is not None


def _done(reply: Any) -> None:
    if reply != b"OK":
        _unexpected(reply)


def _versioned(reply: Any) -> Versioned | None:
    if reply is None:
        return None
    if type(reply) is not list or len(reply) != 2:
        _unexpected(reply)
    try:
        return Versioned(payload(reply[1]), _count(reply[0]))
    except Guarded as guarded:
        raise guarded.around(Versioned(guarded.result, _count(reply[0]))) from None


def _seconds_left(reply: Any) -> float | None:
    left_ms = _count(reply)
    return None if left_ms == -2 else math.inf if left_ms == -1 else left_ms / 1000


def _reading(reply: Any) -> tuple[int, int]:
    if type(reply) is not list or len(reply) != 2:
        _unexpected(reply)
    return _count(reply[0]), _count(reply[1])


def _scanned(reply: Any) -> tuple[int, list[bytes]]:
    try:
        cursor, keys = reply
        return int(cursor), list(keys)
    except (TypeError, ValueError):
        _unexpected(reply)


def get(key: bytes) -> Request[Any]:
    """Return a read; it answers MISSING for an absent key."""
    return Request(frames.get(key), payload, True, 1, key if len(key) <= JOINED_KEY_BYTES else None, _value)


def whole(key: bytes) -> Request[bytes | None]:
    """Return a read of the payload itself, wherever the value is; None for an absent key."""
    return Question(frames.command(b"RC.WHOLE", key), _bytes)


def get_with_version(key: bytes) -> Request[Versioned | None]:
    """Return a read with the key's version."""
    return Request(frames.command(b"RC.GETV", key), _versioned, from_row=versioned_of)


def get_result(key: bytes, timeout_s: float) -> Request[Result | None]:
    """Return a read with all that is known of the value."""
    return read(key, result_of, PLAIN.packed(is_primary=True, token=PLAIN.token, timeout_s=timeout_s), hedged=True)


def read(key: bytes, from_row: Callable[[Row], T], options: bytes, *, hedged: bool = False) -> Request[T]:
    """Return a read with wishes, as `ReadWishes.packed` writes them.

    Args:
        hedged: whether it may be asked elsewhere, as a plain read may.
    """
    return Request(frames.command(b"RC.READ", options, key), lambda reply: from_row(rows_of(reply, 1)[0]),
                   from_row=from_row if hedged else None)


def store(key: bytes, value: object, ttl: TimeToLive, encode: Encode = encode) -> Request[None]:
    """Return an unconditional write.

    Args:
        encode: from a value to (kind, bytes); that of a handle which allows pickle is another one.
    Raises:
        UnsupportedTypeError, ValueError: see `raycache.codec.encode` and `ttl_ms`.
    """
    kind, data = encoded(value, encode)
    return Request(frames.command(b"RC.SET", key, b"%d" % kind, data, b"%d" % ttl_ms(ttl)), _done)


def store_if(condition: bytes, key: bytes, value: object, ttl: TimeToLive, encode: Encode = encode) -> Request[bool]:
    """Return a write under the condition NX (absent) or XX (present); errors as `store`."""
    kind, data = encoded(value, encode)
    frame = frames.command(b"RC.SET", key, b"%d" % kind, data, b"%d" % ttl_ms(ttl), condition)
    return Request(frame, _stored, repeatable=condition == b"XX")


def compare_and_set(key: bytes, value: object, version: int, ttl: TimeToLive,
                    encode: Encode = encode) -> Request[bool]:
    """Return a write that happens only at `version`, 0 = absent; errors as `store`, and NotANumberError."""
    kind, data = encoded(value, encode)
    integer("version", version, minimum=0)
    frame = frames.command(b"RC.CAS", key, b"%d" % version, b"%d" % kind, data, b"%d" % ttl_ms(ttl))
    return Request(frame, _flag, repeatable=False)


def increment(key: bytes, delta: int, ttl: TimeToLive) -> Request[int]:
    """Return an addition; `ttl` counts where it creates the key.

    Raises:
        NotANumberError: `delta` is no 64-bit int.
    """
    frame = frames.command(b"RC.INCRBY", key, b"%d" % integer("delta", delta), b"%d" % ttl_ms(ttl))
    return Request(frame, _count, repeatable=False)


def decrement(key: bytes, delta: int, ttl: TimeToLive) -> Request[int]:
    """Return a subtraction; otherwise as `increment`."""
    # -(-2**63) would leave 64 bits, so the smallest delta is one larger here.
    return increment(key, -integer("delta", delta, minimum=-(2**63) + 1), ttl)


def delete(key: bytes) -> Request[bool]:
    """Return a removal."""
    return Request(frames.command(b"DEL", key), _flag)


def exists(key: bytes) -> Request[bool]:
    """Return a test for presence; it does not count as a use."""
    return Request(frames.command(b"EXISTS", key), _flag, from_row=presence_of)


def touch(key: bytes, ttl: TimeToLive) -> Request[bool]:
    """Return a change of the time to live; it answers whether the key was there."""
    if ttl is None:
        # PERSIST alone answers 0 for a key that never expired anyway.
        frame = frames.command(b"PERSIST", key) + frames.command(b"EXISTS", key)
        return Request(frame, lambda replies: _flag(replies[1]), replies=2)
    return Request(frames.command(b"PEXPIRE", key, b"%d" % ttl_ms(ttl)), _flag)


def acknowledged(request: Request[T], acks: int, w: int, timeout_s: float) -> Request[T]:
    """Return a write that counts only when so many copies have it; with neither, `request` itself.

    Raises:
        ValueError: see `write_options`.
    """
    if acks == 0 and w == 0:
        return request
    decode = request.decode
    take = (lambda reply: decode(frames.inner(reply))) if request.replies == 1 else (
        lambda replies: decode([frames.inner(replies[0]), *replies[1:]]))
    frame = frames.wrapped(request.frame, b"RC.WRITE", write_options(acks, w, timeout_s))
    return Request(frame, take, repeatable=request.repeatable, replies=request.replies)


def clock() -> Request[tuple[int, int]]:
    """Return a question for a shard's number and how far its clock has come."""
    return Question(frames.command(b"RC.TOKEN"), _reading)


def time_left(key: bytes) -> Request[float | None]:
    """Return a question for the time to live."""
    return Question(frames.command(b"PTTL", key), _seconds_left)


def scan(cursor: int, prefix: bytes, count: int) -> Request[tuple[int, list[bytes]]]:
    """Return one step over one shard's keys."""
    return Question(frames.command(b"RC.SCAN", b"%d" % cursor, prefix, b"%d" % count), _scanned)


def clear() -> Request[int]:
    """Return the removal of all keys of one shard, with their number."""
    return Request(frames.command(b"RC.CLEAR"), _count)


def stats() -> Request[ShardStats]:
    """Return a question for one shard's counters."""
    return Question(frames.command(b"RC.STATS"), ShardStats.from_bytes)


def top(count: int) -> Request[ShardUse]:
    """Return a question for one shard's `count` hottest keys, and for what decorated functions have told it."""
    return Question(frames.command(b"RC.TOP", b"%d" % count), ShardUse.from_bytes)


def curve() -> Request[ShardCurve]:
    """Return a question for one shard's miss-ratio curve."""
    return Question(frames.command(b"RC.CURVE"), ShardCurve.from_bytes)


def policy(name: str) -> Request[None]:
    """Return the order to one shard to serve under the policy `name`."""
    return Request(frames.command(b"RC.POLICY", name.encode()), _done)


def used(uses: Mapping[str, FunctionUse]) -> Request[None]:
    """Return the news of what functions have counted. Never twice: it would count twice."""
    packed = msgpack.packb({name: use.as_row() for name, use in uses.items()})
    return Request(frames.command(b"RC.USED", packed), _done, repeatable=False)


def topology(known_epoch: int, silent: Iterable[Address] = ()) -> Request[bytes | None]:
    """Return a question for a topology newer than `known_epoch`; it tells of shards that do not answer the caller."""
    words = [b"%s:%d" % (host.encode(), port) for host, port in silent]
    report = (b"SILENT", *words[:MOST_SILENT]) if words else ()
    return Question(frames.command(b"RC.TOPOLOGY", b"%d" % known_epoch, *report), lambda reply: reply)


def authenticate(secret: str, user: str | None = None) -> Request[None]:
    """Return AUTH."""
    words = [secret.encode()] if user is None else [user.encode(), secret.encode()]
    return Request(frames.command(b"AUTH", *words), _done)
