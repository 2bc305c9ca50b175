"""What callers pass, checked and brought into the wire's form.

What lives here: keys, values, times to live, numbers. Whatever is wrong raises here, before anything is sent. The
length of keys and values is the shard's to judge, since it is a setting there. Pure functions, any thread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple, TypeVar

from raycache.codec import encode
from raycache.errors import KeyTooLargeError, NotANumberError, UnsupportedTypeError

K = TypeVar("K", str, bytes)

TimeToLive = float | timedelta | None
"""Seconds, or a timedelta; None = never expires."""

# Far beyond any use, far below where "now + ttl" leaves 64 bits on the shard.
_MAX_TTL_MS: Final = 2**52


class Encoded(NamedTuple):
    """A value that has been encoded already; whoever takes values takes it as one."""

    kind: int
    data: bytes


def encoded(value: Any, encode: Callable[[Any], tuple[int, bytes]] = encode) -> tuple[int, bytes]:
    """Return (kind, bytes) of `value`. Errors as `raycache.codec.encode`, or as those of what stands for it."""
    return value if type(value) is Encoded else encode(value)


def encode_key(key: str | bytes) -> bytes:
    """Return `key` as it goes over the wire.

    Raises:
        UnsupportedTypeError: neither str nor bytes.
        KeyTooLargeError: empty.
        UnicodeEncodeError: text with lone surrogates that stand for no byte.
    """
    if isinstance(key, str):
        try:
            encoded = key.encode()
        except UnicodeEncodeError:  # `scan` returns keys that are no UTF-8 in this form
            encoded = key.encode("utf-8", "surrogateescape")
    elif isinstance(key, bytes):
        encoded = key
    else:
        raise UnsupportedTypeError(f"a key is str or bytes, not {type(key).__name__}: write str(key)")
    if not encoded:
        raise KeyTooLargeError("a key may not be empty")
    return encoded


def several(keys: Iterable[K]) -> list[K]:
    """Return `keys` as a list.

    Raises:
        UnsupportedTypeError: `keys` is itself one key, which would be taken for its letters.
    """
    if isinstance(keys, str | bytes):
        raise UnsupportedTypeError("one key was given where several are expected: write [key]")
    return list(keys)


def encode_keys(given: Sequence[str | bytes]) -> list[bytes]:
    """Return each of `given` as `encode_key` does, and raise what it raises."""
    try:
        encoded = list(map(str.encode, given))  # type: ignore[arg-type]
    except (TypeError, UnicodeEncodeError):  # bytes among them, say
        return [encode_key(key) for key in given]
    return encoded if b"" not in encoded else [encode_key(key) for key in given]


def ttl_ms(ttl: TimeToLive) -> int:
    """Return `ttl` in whole milliseconds, rounded up; 0 for None.

    Raises:
        ValueError: zero, negative, not a number, or more than 142,000 years.
        TypeError: neither a number nor a timedelta.
    """
    if ttl is None:
        return 0
    if isinstance(ttl, timedelta):
        seconds = ttl.total_seconds()
    elif isinstance(ttl, int | float) and not isinstance(ttl, bool):
        seconds = float(ttl)
    else:
        raise TypeError(f"ttl is a number of seconds, a timedelta or None, not {type(ttl).__name__}")
    if not seconds > 0:
        raise ValueError(f"ttl must be positive, not {ttl!r}: use delete() to remove a key, None to keep it for ever")
    if seconds * 1000 > _MAX_TTL_MS:
        raise ValueError(f"ttl of {ttl!r} is out of range: use None for a key that never expires")
    return math.ceil(seconds * 1000)


def integer(name: str, value: int, minimum: int = -(2**63)) -> int:
    """Return `value`, checked to be an int of 64 bits.

    Raises:
        NotANumberError: something else, or out of range.
    """
    if type(value) is not int or not minimum <= value < 2**63:
        raise NotANumberError(f"{name} must be an int from {minimum} to 2**63 - 1, not {value!r}")
    return value
