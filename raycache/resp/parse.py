"""Requests: bytes in, commands out. `hiredis` does the parsing; this module keeps it within limits.

What lives here: framing of what clients send (arrays of bulk strings, inline commands) and the
limits on depth, arguments and sizes. What does not: replies (`encode`, `reply`), sockets, commands.
One parser belongs to one connection and to the loop that reads it.

Why the limits need care: `hiredis` allocates what an array's header announces, so `*2000000000` would
cost 16 GB before the second argument arrives, and arrays may nest without end. Such headers must be
caught before it sees them, without scanning each command in Python. Four facts make that cheap:

* only a `*` with two digits or more can announce much, and one search in C finds whether a chunk has any;
* after feeding everything before such a place and taking out what is complete, `has_data()` is
  false exactly if a header must follow there: the bytes of a bulk string stay unconsumed until the
  whole string has come. So a value that merely looks like a header is told apart for certain;
* feeding an empty array there gives an empty command at the top level, and nothing inside another
  array: so nesting, which no command has, is told apart as well. Arrays of fewer than ten are
  checked likewise once a command has grown past 64 KiB; until then they can waste 2 MiB at most;
* a bulk string's header allocates nothing, but one over the limit is refused as soon as it is seen
  to be what the rest of a chunk waits for: the chunk is looked at again, by the same rule.

A chunk that ends inside a possible header is held back from that place on, so that a header
cannot slip through cut in two.
"""

from __future__ import annotations

import itertools
import re
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import hiredis

from raycache.config import Limits
from raycache.errors import ProtocolError

_LONG_ARRAY: Final = re.compile(rb"\*[0-9][0-9]")
_HEADER: Final = re.compile(rb"\*([0-9]{1,9})\r\n")
_CUT_HEADER: Final = re.compile(rb"[*$][0-9]*\r?\Z")
_LONGEST_HEADER: Final = 24  # sign, 20 digits of the largest 64-bit number, CR, and slack
_LARGE_BYTES: Final = 64 * 1024
_has_long_array: Final = _LONG_ARRAY.search
_NEED_DATA: Final = object()
BROKEN: Final = (ProtocolError, hiredis.ProtocolError)
"""What taking a command may raise."""
_TOO_LARGE: Final = "Protocol error: invalid bulk length"
NOT_BULK: Final = "Protocol error: expected '$', a command is an array of bulk strings"
_NOT_ARRAY: Final = "Protocol error: expected '*', a command is an array of bulk strings"


class RequestParser:
    """Incremental parser of one connection's requests.

    `feed` takes bytes in; `commands` gives complete commands out, oldest first, each a non-empty list of
    `bytes`; or `drain` lays them all into `ready`. After malformed input `error` is set, by either, when
    the commands before it are out; further input is ignored.
    """

    __slots__ = ("_chunk", "_failure", "_give", "_has_data", "_held", "_large_sizes", "_limits", "_max_command_bytes",
                 "_pending", "_reader", "_suspects", "_suspects_when_large", "_take", "error", "ready")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._reader = hiredis.Reader(notEnoughData=_NEED_DATA)
        self._give, self._take, self._has_data = self._reader.feed, self._reader.gets, self._reader.has_data
        size_digits = len(str(limits.max_value_bytes))
        self._large_sizes = re.compile(rb"\$[0-9]{%d,}" % size_digits)
        self._suspects = re.compile(rb"\*[0-9]{2,}|\$[0-9]{%d,}" % size_digits)
        self._suspects_when_large = re.compile(rb"\*[0-9]+|\$[0-9]{%d,}" % size_digits)
        self._chunk = b""
        """What was fed last without a look at its sizes; it began with a command."""
        # One command may carry several values, but never more unread bytes than Redis' own
        # client-query-buffer-limit (1 GiB) keeps, scaled to the value limit.
        self._max_command_bytes = 2 * limits.max_value_bytes + limits.max_inline_bytes
        self._held = b""
        self._pending = 0
        self.ready: deque[list[bytes]] = deque()
        """Complete commands that `drain`, or a check in `feed`, has found."""
        self._failure: ProtocolError | None = None
        self.error: ProtocolError | None = None

    @property
    def has_partial(self) -> bool:
        """Whether part of a command has come and the rest has not."""
        return bool(self._pending or self._held or self._reader.has_data())

    @property
    def pending_bytes(self) -> int:
        """Bytes received since the last complete command."""
        return self._pending

    def feed(self, data: bytes) -> None:
        """Take in what the socket gave, at least one byte; then ask `commands`."""
        # The usual case, without the detours: whole frames from their beginning, and none of them long.
        if not self._pending and not self._held and data[0] == 0x2A and data[-1] == 0x0A:
            long_array = _has_long_array(data)
            if long_array is None or (long_array.start() == 0 and self._is_one_long_command(data)):
                self._pending = len(data)
                self._chunk = data
                self._give(data)
                return
        if self._failure is None:
            self._feed_carefully(data)

    def _is_one_long_command(self, data: bytes) -> bool:
        """Return whether `data`, the beginning of a command, announces no array too long, and no second long one."""
        header = _HEADER.match(data)
        return (header is not None and int(header[1]) <= self._limits.max_arguments
                and _has_long_array(data, header.end()) is None)

    def commands(self) -> Iterator[Any]:
        """Return what is complete, oldest first: the hot path's way, at the speed of C and so unchecked.

        The caller sees to it that each `is_command`, hands what goes wrong to `fail`, and calls `finish` afterwards.
        It may stop early, and ask again.
        """
        if self.ready:
            return itertools.chain(iter(self._take_ready, None), iter(self._take, _NEED_DATA))
        return iter(self._take, _NEED_DATA)

    def _take_ready(self) -> list[bytes] | None:
        return self.ready.popleft() if self.ready else None

    def finish(self, has_taken: bool, has_all: bool) -> None:
        """Take note of what `commands` gave; look at what is left, if that is all.

        Args:
            has_taken: whether there was a command at all.
            has_all: whether all were taken; what is left then is part of a command, or the reason why there is none.
        """
        if self._failure is not None:
            self.error = self._failure if has_all else None
            return
        if has_taken:
            self._pending = 0
        if has_all and self._has_data():
            self._look_at_rest()

    def drain(self) -> None:
        """Lay all complete commands into `ready`."""
        if self._failure is None:
            try:
                self._drain()
                if self._has_data():
                    self._look_at_rest()
            except BROKEN as error:
                self.fail(error)
        self.error = self._failure

    def _look_at_rest(self) -> None:
        """Remember that a command is half there; refuse it if what it waits for is over the limit."""
        self._pending = self._pending or 1
        chunk, self._chunk = self._chunk, b""
        again, start = hiredis.Reader(notEnoughData=_NEED_DATA), 0
        for match in self._large_sizes.finditer(chunk):
            again.feed(chunk[start : match.start()])
            start = match.start()
            while again.gets() is not _NEED_DATA:
                pass
            if not again.has_data() and int(match[0][1:]) > self._limits.max_value_bytes:
                self.fail(ProtocolError(_TOO_LARGE))
                self.error = self._failure

    def _feed_carefully(self, data: bytes) -> None:
        self._pending += len(data)
        self._chunk = b""
        if self._held:
            data, self._held = self._held + data, b""
        try:
            if data and data[0] != 0x2A and not self._reader.has_data():
                data = self._take_inline(data)
            if data:
                self._take_frames(data)
            if self._pending > self._max_command_bytes:
                raise ProtocolError("Protocol error: command larger than the limit")
        except BROKEN as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Take note that the framing is broken, for whatever reason among `BROKEN`."""
        is_ours = isinstance(error, ProtocolError)
        self._failure = error if is_ours else ProtocolError(f"Protocol error: {error}")  # type: ignore[assignment]
        self._pending = max(self._pending, 1)  # never the usual case again

    def _take_frames(self, data: bytes) -> None:
        if not data.endswith(b"\n"):
            cut = _CUT_HEADER.search(data, max(0, len(data) - _LONGEST_HEADER))
            if cut is not None:
                data, self._held = data[: cut.start()], data[cut.start() :]
        is_large = self._pending - len(data) > _LARGE_BYTES
        data = self._check_suspects(self._suspects_when_large if is_large else self._suspects, data)
        self._reader.feed(data)
        self._drain()

    def _check_suspects(self, suspects: re.Pattern[bytes], data: bytes) -> bytes:
        """Check each possible header in `data` that could announce too much; return what has not been fed."""
        start = 0
        for match in suspects.finditer(data):
            self._reader.feed(data[start : match.start()])
            self._drain()
            start = match.start()
            if self._reader.has_data():
                continue
            announced = int(match[0][1:])
            if match[0][0] == 0x24:
                if announced > self._limits.max_value_bytes:
                    raise ProtocolError(_TOO_LARGE)
                continue
            if announced > self._limits.max_arguments:
                raise ProtocolError("Protocol error: invalid multibulk length")
            self._reader.feed(b"*0\r\n")
            if self._reader.gets() != []:
                raise ProtocolError("Protocol error: expected '$', got '*'")
        return data[start:]

    def _drain(self) -> None:
        """Take complete commands out of hiredis, so that `has_data` tells what follows them."""
        while (argv := self._take()) is not _NEED_DATA:
            self._pending = 0
            if is_command(argv):
                self.ready.append(argv)

    def _take_inline(self, data: bytes) -> bytes:
        """Turn inline commands at the start of `data` into frames; return what follows them.

        They go through hiredis as frames, so that a line in the middle of an array is the error it is.
        """
        while data and data[0] not in b"*$":
            line, newline, rest = data.partition(b"\n")
            if len(line) > self._limits.max_inline_bytes:
                raise ProtocolError("Protocol error: too big inline request")
            if not newline:
                self._held = data  # its length is checked again with every byte that comes
                return b""
            arguments = split_inline(line.rstrip(b"\r"))
            if not arguments:
                self._pending = 0
            else:
                frame = b"".join(b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments)
                self._reader.feed(b"*%d\r\n%b" % (len(arguments), frame))
                self._drain()
            data = rest
        return data


def is_command(argv: Any) -> bool:
    """Return whether what hiredis gave is a command; false for null and empty arrays, which are nothing at all.

    Raises:
        ProtocolError: it is no array of bulk strings.
    """
    if type(argv) is not list:
        if argv is None:
            return False
        raise ProtocolError(_NOT_ARRAY)
    for argument in argv:
        if type(argument) is not bytes:
            raise ProtocolError(NOT_BULK)
    return bool(argv)


_ESCAPES: Final = {0x6E: 0x0A, 0x72: 0x0D, 0x74: 0x09, 0x62: 0x08, 0x61: 0x07}  # \n \r \t \b \a
_HEX: Final = re.compile(rb"[0-9a-fA-F]{2}")


def split_inline(line: bytes) -> list[bytes]:
    r"""Split one inline command as Redis does: blanks, "double" quotes with escapes, 'single' quotes with \'.

    Raises:
        ProtocolError: a quote is not closed, or no blank follows a closing one.
    """
    if b'"' not in line and b"'" not in line:
        return line.split()
    arguments: list[bytes] = []
    at, end = 0, len(line)
    while at < end:
        if line[at : at + 1].isspace():
            at += 1
            continue
        argument, at = _inline_argument(line, at)
        arguments.append(argument)
    return arguments


def _inline_argument(line: bytes, at: int) -> tuple[bytes, int]:
    """Return the argument that starts at `at`, and the place after it."""
    out = bytearray()
    while at < len(line) and not line[at : at + 1].isspace():
        quote = line[at]
        if quote not in b"\"'":
            out.append(quote)
            at += 1
            continue
        at += 1
        while at < len(line) and line[at] != quote:
            at = _inline_quoted(line, at, quote, out)
        if at >= len(line) or (at + 1 < len(line) and not line[at + 1 : at + 2].isspace()):
            raise ProtocolError("Protocol error: unbalanced quotes in request")
        at += 1
    return bytes(out), at


def _inline_quoted(line: bytes, at: int, quote: int, out: bytearray) -> int:
    """Append the character at `at`, inside quotes, to `out`; return the place after it."""
    if line[at] != 0x5C or at + 1 >= len(line):
        out.append(line[at])
        return at + 1
    following = line[at + 1]
    if quote == 0x27:  # single quotes know only \'
        if following == 0x27:
            out.append(following)
            return at + 2
        out.append(0x5C)
        return at + 1
    if following == 0x78 and (match := _HEX.match(line, at + 2)):
        out.append(int(match[0], 16))
        return at + 4
    out.append(_ESCAPES.get(following, following))
    return at + 2
