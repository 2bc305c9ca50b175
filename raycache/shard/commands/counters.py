"""Counters: strings that are numbers.

What lives here: INCR and its family. A counter the Python handle made (kind 2) stays one through
every integer command; a decimal fraction makes it a plain string.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from raycache.resp import encode
from raycache.shard.commands.access import KIND_INT, KIND_RAW, check_size, peek, put, rewrite, string_at
from raycache.shard.commands.arguments import INT64_MAX, INT64_MIN, int64, integer
from raycache.shard.commands.command import NOT_A_FLOAT, NOT_AN_INTEGER, Command, Refusal

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

_LONGEST_FLOAT: Final = 5 * 1024 - 1
"""What Redis reads of a float (MAX_LONG_DOUBLE_CHARS)."""


def add(core: ShardCore, key: bytes, delta: int, *, kind: int = KIND_RAW, expires_ms: int | None = None) -> int:
    """Add `delta` to the integer at `key` and return the sum.

    Args:
        kind: of the value, if it must be made.
        expires_ms: of the entry, if it must be made; an entry that is there keeps its own.
    Raises:
        Refusal: the value is no 64-bit integer, or the sum would not be.
    """
    entry = peek(core, key)
    if entry is None:
        put(core, key, b"%d" % delta, kind, expires_ms)
        return delta
    number = int64(string_at(entry)) if entry.kind in (KIND_RAW, KIND_INT) else None
    if number is None:
        raise Refusal(NOT_AN_INTEGER)
    total = number + delta
    if not INT64_MIN <= total <= INT64_MAX:
        raise Refusal("ERR increment or decrement would overflow")
    rewrite(core, entry, b"%d" % total, entry.kind)
    return total


def incr(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """INCR key."""
    return encode.integer(add(core, argv[1], 1))


def decr(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """DECR key."""
    return encode.integer(add(core, argv[1], -1))


def incrby(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """INCRBY key increment."""
    return encode.integer(add(core, argv[1], integer(argv[2])))


def decrby(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """DECRBY key decrement."""
    delta = integer(argv[2])
    if delta == INT64_MIN:  # it has no positive counterpart
        raise Refusal("ERR decrement would overflow")
    return encode.integer(add(core, argv[1], -delta))


def incrbyfloat(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """INCRBYFLOAT key increment: in the platform's long double, as Redis does it."""
    key = argv[1]
    entry = peek(core, key)
    before = long_double(string_at(entry)) if entry is not None else np.longdouble(0)
    with np.errstate(all="ignore"):
        total = before + long_double(argv[2])
    if not np.isfinite(total):
        raise Refusal("ERR increment would produce NaN or Infinity")
    text = long_double_text(total)
    check_size(core, key, len(text))
    if entry is None:
        put(core, key, text, KIND_RAW, None)
    else:
        rewrite(core, entry, text, KIND_RAW)
    return encode.bulk(text)


def long_double(text: bytes) -> np.longdouble:
    """Return the number that C's strtold reads from the whole of `text`.

    Raises:
        Refusal: it is none, or out of range, or not a number.
    """
    if not text or len(text) > _LONGEST_FLOAT or text[:1].isspace() or text[-1:].isspace() or b"_" in text:
        raise Refusal(NOT_A_FLOAT)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # numpy warns of numbers out of range
            number = np.longdouble(text.decode("ascii"))
    except ValueError:
        raise Refusal(NOT_A_FLOAT) from None
    out_of_range = np.isinf(number) and b"inf" not in text.lower()
    if np.isnan(number) or out_of_range:
        raise Refusal(NOT_A_FLOAT)
    return number


def long_double_text(number: np.longdouble) -> bytes:
    """Return `number` with at most 17 decimals and no trailing zeros, never in exponent form."""
    text = np.format_float_positional(number, precision=17, unique=False, trim="-").encode()
    return b"0" if text == b"-0" else text


_counter = partial(Command, group="string", first_key=1, last_key=1, key_step=1, flags="write denyoom fast",
                   key_use=("RW access update",))

COMMANDS = [
    _counter(name="incr", arity=2, handler=incr,
             summary="Adds one to the integer at a key; an absent key counts as 0."),
    _counter(name="decr", arity=2, handler=decr,
             summary="Takes one from the integer at a key; an absent key counts as 0."),
    _counter(name="incrby", arity=3, handler=incrby, summary="Adds an integer to the integer at a key."),
    _counter(name="decrby", arity=3, handler=decrby, summary="Takes an integer from the integer at a key."),
    _counter(name="incrbyfloat", arity=3, handler=incrbyfloat, since="2.6.0",
             summary="Adds a decimal number to the one at a key."),
]
