"""Replies as raw bytes: where one ends and the next begins, in RESP2 and RESP3.

What lives here: an incremental splitter for a stream of replies, and taking one aggregate reply apart
into its elements, without decoding anything, so that what a shard said can be passed on with its
exact types. What does not: requests (`parse`), making replies (`encode`), sockets. One splitter
belongs to one connection and to the loop that reads it.

A frame is found by counting: one element is outstanding at first, an array of n adds n - 1, a map of
n adds 2n - 1. So nesting needs neither recursion nor a stack, however deep, and a scan that ran out
of bytes goes on where it stopped: the cost stays linear wherever the stream is cut.

RESP3's streamed types (`$?`, `*?`) are refused: no Redis server sends them.
"""

from __future__ import annotations

from typing import Final

from raycache.errors import ProtocolError

Frame = bytes
"""One complete reply, its attribute (`|`) included, as it was on the wire."""

_MAX_LINE_BYTES: Final = 1024 * 1024
"""A line this long without an end is no reply; Redis' own longest lines are error texts."""

_LINES: Final = frozenset(b"+-:,#(_")
_BULKS: Final = frozenset(b"$=!")
_EXTRA_ELEMENTS: Final = {0x2A: (1, -1), 0x7E: (1, -1), 0x3E: (1, -1), 0x25: (2, -1), 0x7C: (2, 0)}
"""For `*`, `~`, `>`, `%`, `|`: what the announced n adds to the outstanding elements, as (factor, plus)."""


class ReplySplitter:
    """Incremental: `feed` bytes as they come, take complete frames from `next`."""

    __slots__ = ("_at", "_buffer", "_outstanding", "_start")

    def __init__(self) -> None:
        self._buffer: bytes | bytearray = b""
        self._start = 0
        self._at = 0
        self._outstanding = 1

    @property
    def has_partial(self) -> bool:
        """Whether bytes are waiting for the rest of their frame (or to be taken by `next`)."""
        return self._start < len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take in what the socket gave."""
        start, buffer = self._start, self._buffer
        if start == len(buffer):
            self._buffer = data
        elif type(buffer) is bytearray:
            del buffer[:start]
            buffer += data
        else:
            # Growing a bytearray is linear; joining bytes would copy a large value once per chunk.
            self._buffer = bytearray(buffer[start:])
            self._buffer += data
        self._at -= start
        self._start = 0

    def next(self) -> Frame | None:
        """Return the next frame, or None when more bytes are needed.

        Raises:
            ProtocolError: the bytes are no replies; the splitter is of no use any more.
        """
        buffer = self._buffer
        at, outstanding = _skip(buffer, self._at, self._outstanding)
        self._at = at
        if outstanding:
            self._outstanding = outstanding
            return None
        frame = bytes(buffer[self._start : at])
        self._start, self._outstanding = at, 1
        return frame


def _skip(buffer: bytes | bytearray, at: int, outstanding: int) -> tuple[int, int]:
    """Step over elements until none is outstanding or bytes run out; return the place and what is left."""
    size = len(buffer)
    while outstanding:
        end = buffer.find(b"\r\n", at)
        if end < 0:
            if size - at > _MAX_LINE_BYTES:
                raise ProtocolError("a reply line has no end")
            if at < size and not _is_known(buffer[at]):
                raise ProtocolError(f"a reply cannot start with {bytes(buffer[at : at + 1])!r}")
            break
        kind = buffer[at]
        if kind in _BULKS:
            count = _count(buffer[at + 1 : end])
            if count >= 0:
                end += count + 2
                if end + 2 > size:
                    break
                if buffer[end] != 0x0D or buffer[end + 1] != 0x0A:
                    raise ProtocolError("a bulk reply is longer than it said")
            outstanding -= 1
        elif kind in _LINES:
            outstanding -= 1
        elif kind in _EXTRA_ELEMENTS:
            factor, plus = _EXTRA_ELEMENTS[kind]
            outstanding += max(_count(buffer[at + 1 : end]), 0) * factor + plus
        else:
            raise ProtocolError(f"a reply cannot start with {bytes(buffer[at : at + 1])!r}")
        at = end + 2
    return at, outstanding


def _is_known(kind: int) -> bool:
    return kind in _BULKS or kind in _LINES or kind in _EXTRA_ELEMENTS


def _count(digits: bytes | bytearray) -> int:
    """Return an announced length; -1 for RESP2's nulls."""
    if digits.isdigit():
        return int(digits)
    if digits == b"-1":
        return -1
    raise ProtocolError(f"a reply announces a length of {bytes(digits[:32])!r}")


def elements(frame: Frame) -> list[Frame]:
    """Return the direct elements of an array, set, push or map (keys and values in turn); [] for a null.

    Raises:
        ProtocolError: `frame` is no aggregate, or not complete.
    """
    at = frame.find(b"\r\n") + 2
    if at < 2 or frame[0] not in _EXTRA_ELEMENTS or frame[0] == 0x7C:
        raise ProtocolError(f"not an aggregate reply: {frame[:32]!r}")
    count = _count(frame[1 : at - 2]) * _EXTRA_ELEMENTS[frame[0]][0]
    found: list[Frame] = []
    for _ in range(count):
        end = frame.find(b"\r\n", at) + 2
        # Bulk strings are nearly everything that is ever taken apart; `_skip` knows the rest.
        if end >= 2 and frame[at] == 0x24 and (size := _count(frame[at + 1 : end - 2])) >= 0:
            end += size + 2
        else:
            end, outstanding = _skip(frame, at, 1)
            if outstanding:
                raise ProtocolError("an aggregate reply is cut short")
        found.append(frame[at:end])
        at = end
    if at != len(frame):
        raise ProtocolError(f"an aggregate reply of {len(frame)} bytes says that it has {at}")
    return found


def is_error(frame: Frame) -> bool:
    """Whether `frame` is an error: `-`, or RESP3's `!`."""
    return frame[0] == 0x2D or frame[0] == 0x21


def is_null(frame: Frame) -> bool:
    """Whether `frame` is one of the three nulls: `$-1`, `*-1`, `_`."""
    return frame in (b"$-1\r\n", b"*-1\r\n", b"_\r\n")


def integer_of(frame: Frame) -> int:
    """Return the value of an integer reply.

    Raises:
        ProtocolError: it is another type.
    """
    if frame[0] != 0x3A:
        raise ProtocolError(f"not an integer reply: {frame[:32]!r}")
    return int(frame[1:-2])


def bulk_of(frame: Frame) -> bytes:
    """Return the bytes of a bulk, verbatim (its type prefix left out) or simple string.

    Raises:
        ProtocolError: it is another type, or null.
    """
    if frame[0] == 0x2B:
        return frame[1:-2]
    if frame[0] in b"$=" and not is_null(frame):
        text = frame[frame.find(b"\r\n") + 2 : -2]
        return text[4:] if frame[0] == 0x3D else text
    raise ProtocolError(f"not a string reply: {frame[:32]!r}")
