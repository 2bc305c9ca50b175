"""A body with what HTTP says of it: its media type, how it is encoded, and when it was written.

What lives here: the bytes of the description (kind `DESCRIBED`), written behind the body so that the body can be told
from it by the last two bytes alone (`raycache.store.typed`). Pure functions; any thread.

The description: when it was written (unix milliseconds, 8 bytes), then media type and content coding, separated by a
line break; then its own length, 2 bytes. Numbers are big-endian.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_WORD_BYTES: Final = 255
"""Of a media type or a coding: RFC 6838 allows 127 for each half of a type's name."""

_TIME_BYTES: Final = 8
_LENGTH_BYTES: Final = 2


class Described(NamedTuple):
    """A body and its description."""

    body: bytes | memoryview
    """Of the type that it was taken out of."""
    media_type: str
    coding: str
    """Content-Encoding; "" where there is none."""
    written_ms: int
    """Unix milliseconds, by the clock of the HTTP door that took it."""


def describe(body: bytes, media_type: str, coding: str, written_ms: int) -> bytes:
    """Return `body` with its description.

    Raises:
        ValueError: a word is too long, or has characters that no header may have.
    """
    return body + description(media_type, coding, written_ms)


def description(media_type: str, coding: str, written_ms: int) -> bytes:
    """Return what stands behind a body.

    Raises:
        ValueError: as `describe`.
    """
    words = [word.encode("latin-1", "replace") for word in (media_type, coding)]
    if any(len(word) > MAX_WORD_BYTES or b"\n" in word or b"\r" in word for word in words):
        raise ValueError(f"a media type or coding is one line of at most {MAX_WORD_BYTES} bytes")
    packed = written_ms.to_bytes(_TIME_BYTES, "big") + b"\n".join(words)
    return packed + len(packed).to_bytes(_LENGTH_BYTES, "big")


def described(data: bytes | memoryview, begin: int = 0) -> Described:
    """Return what `describe` wrote, which stands in `data` from `begin` on.

    Raises:
        ValueError: it did not write this.
    """
    end = len(data) - _LENGTH_BYTES
    length = (data[end] << 8) + data[end + 1] if end >= begin else 0
    start = end - length
    if length < _TIME_BYTES + 1 or start < begin:
        raise ValueError("there is no description behind the body")
    media_type, separator, coding = str(data[start + _TIME_BYTES : end], "latin-1").partition("\n")
    if not separator:
        raise ValueError("the description is cut off")
    written_ms = int.from_bytes(data[start : start + _TIME_BYTES], "big")
    return Described(data[begin:start], media_type, coding, written_ms)
