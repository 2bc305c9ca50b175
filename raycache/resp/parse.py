"""Requests: bytes in, commands out. `hiredis` does the parsing; this module keeps it within limits.

What lives here: framing of what clients send (arrays of bulk strings, inline commands) and the
limits on depth, arguments and sizes. What does not: replies (`encode`, `reply`), sockets, commands.
One parser belongs to one connection and to the loop that reads it.

Why the limits need care: `hiredis` allocates what an array's header announces, so `*2000000000` would
cost 16 GB before the second argument arrives, and arrays may nest without end. Such headers must be
caught before it sees them. There are two ways:

* the usual one, for whole commands in one chunk, at the speed of C: only a `*` with two digits or more can
  announce much, and one search tells whether there is any. (Arrays of fewer than ten, nested, waste 2 MiB in
  such a chunk at most, and longer ones that have no more arguments together than one command may have, 0.5 MiB.)
  What such a chunk ends with, if it is not a whole command, is found out afterwards;
* the careful one, for everything else: the framing is followed from header to header, which for small commands
  takes half a microsecond each, and for the bytes of a large value nothing. A chunk is followed a piece at a time,
  so that no turn of the loop is spent on it.

What hiredis calls an error may be an inline command behind a frame, which it does not know: then the chunk
is followed as far as there, and goes on from there.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

import hiredis

from raycache.config import Limits
from raycache.errors import ProtocolError
from raycache.resp.runs import NO_MORE as NO_MORE
from raycache.resp.runs import NO_SHAPE, RUN_BYTES, Run, run_of, shape_of

_LONG_ARRAY: Final = re.compile(rb"\*([0-9]{2,9})")
_LONGEST_HEADER: Final = 24  # sign, 20 digits of the largest 64-bit number, CR, LF, and slack
_PLAIN_BYTES: Final = 64 * 1024
"""A longer chunk goes the careful way: finding out afterwards how it ended takes up to 2 ms for so much."""
_PIECE_BYTES: Final = 16 * 1024
"""What is followed in one go: 0.5 ms, if it is nothing but PINGs."""
_PIECE_LINES: Final = 128
"""How many inline commands are: about 0.4 ms."""
LARGE_BYTES: Final = 64 * 1024
"""A command with more bytes is large: hiredis starts anew after it, and who has not shown the secret may send none."""
_KNOWN_ARGUMENTS: Final = {b"$%d\r\n" % size: len(b"$%d\r\n" % size) + size + 2 for size in range(100)}
"""Headers of short arguments, and the bytes that these take: looking one up is three times as fast as reading it."""
_STAR: Final = 0x2A
_DOLLAR: Final = 0x24
_has_long_array: Final = _LONG_ARRAY.search
TAKEN_AT_ONCE: Final = frozenset({b"GET", b"get", b"SET", b"set"})
"""Of runs of these, `take` is the run itself, for a turn that knows how to take it as a whole."""
BROKEN: Final = (ProtocolError, hiredis.ProtocolError)
"""What taking a command may raise."""
_TOO_MANY: Final = "Protocol error: invalid multibulk length"
_TOO_LARGE: Final = "Protocol error: invalid bulk length"
_COMMAND_TOO_LARGE: Final = "Protocol error: command larger than the limit"
_LINE_TOO_LONG: Final = "Protocol error: too big inline request"
FROM_STRANGER: Final = ProtocolError("Protocol error: unauthenticated command too large")
"""What a command deserves that is over `LARGE_BYTES` before its sender has shown the secret."""
NOT_BULK: Final = "Protocol error: expected '$', a command is an array of bulk strings"
_NOT_ARRAY: Final = "Protocol error: expected '*', a command is an array of bulk strings"


class RequestParser:
    """Incremental parser of one connection's requests.

    `feed` takes bytes in; `start` or `commands` give complete commands out, oldest first, each a non-empty list of
    `bytes`; or `drain` lays them into `ready`, some at a time. After malformed input `error` is set, by either,
    when the commands before it are out; further input is ignored.
    """

    __slots__ = ("_chunk", "_command_bytes", "_failure", "_gets", "_give", "_has_data", "_held", "_is_begun",
                 "_is_large", "_is_unusual", "_known_arguments", "_large_bytes", "_later", "_left", "_limits",
                 "_max_command_bytes", "_pending", "_shape", "_skip", "error", "is_notable", "is_waiting", "ready",
                 "take")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        # One command may carry several values, but never more unread bytes than Redis' own
        # client-query-buffer-limit (1 GiB) keeps, scaled to the value limit.
        self._max_command_bytes = 2 * limits.max_value_bytes + limits.max_inline_bytes
        self._known_arguments = _KNOWN_ARGUMENTS if limits.max_value_bytes > 99 else {}
        self._large_bytes = min(LARGE_BYTES, self._max_command_bytes)
        self._chunk = b""
        """What hiredis got last, if that was not followed; it began with a command."""
        self._is_begun = False
        """Whether a command of it has been taken, and more are left."""
        self._later: deque[bytes] = deque()
        """What has come and hiredis has not got yet."""
        self._held = b""
        """A header or a line that is cut; the rest is still to come."""
        self._pending = 0
        """Bytes of which not all has been taken; 0: a command ends where they do, as far as is known."""
        self._is_unusual = False
        """Whether the careful way must be gone until a command ends where a piece does."""
        self.is_waiting = False
        """Whether hiredis has nothing to give, and more has come or must come."""
        # Where the bytes that were followed end: how many arguments are missing, how many bytes of the present one
        # (its line break included), and how many of this command have come.
        self._left = self._skip = self._command_bytes = 0
        self._is_large = False
        self._shape = NO_SHAPE
        """Of the last run: a connection that sends one as a rule sends more of its kind."""
        self.ready: deque[list[bytes]] = deque()
        """Complete commands that `drain` has found."""
        self._failure: ProtocolError | None = None
        self.error: ProtocolError | None = None
        self.is_notable = False
        """Whether there is an `error`, or part of a command that has grown large; what was complete has been taken."""
        self._start_anew()

    def _start_anew(self) -> None:
        reader = hiredis.Reader(notEnoughData=NO_MORE)
        self._give, self._gets, self._has_data = reader.feed, reader.gets, reader.has_data
        self.take: Callable[[], Any] = self._gets

    @property
    def has_partial(self) -> bool:
        """Whether part of a command has come and the rest has not (or complete ones have not been taken)."""
        return self._pending > 0

    @property
    def pending_bytes(self) -> int:
        """Bytes received that are not yet taken: of complete commands, and of one that has come in part."""
        return self._pending

    def feed(self, data: bytes) -> None:
        """Take in what the socket gave, at least one byte; then ask `commands`."""
        # The usual case, without the detours: whole frames from their beginning, and none of them long. All of a run is
        # known, so only of what goes to hiredis the headers are looked for.
        if not self._pending and data[0] == _STAR and data[-1] == 0x0A and len(data) <= _PLAIN_BYTES:
            if len(data) >= RUN_BYTES and self._is_run(data):
                self._pending = len(data)
                self._is_begun = False
                return
            if _has_long_array(data) is None or self._announces_little(data):
                self._pending = len(data)
                self._chunk = data
                self._is_begun = False
                self._give(data)
                return
        if self._failure is None:
            if not self._pending:
                self.is_waiting = True
            self._pending += len(data)
            self._later.append(data)

    def _is_run(self, data: bytes) -> bool:
        """Return whether `data` is one command over and over, of which `take` then gives one after the other."""
        if not data.startswith(self._shape.prefix):
            self._shape = shape_of(data)
            if self._shape is NO_SHAPE:
                return False
        run = run_of(self._shape, data)
        if run is None:
            return False
        self._chunk = b""
        self.take = run if run.name in TAKEN_AT_ONCE else run.take()
        return True

    def _announces_little(self, data: bytes) -> bool:
        """Return whether all that looks like a long array in `data` has no more arguments than one command may have."""
        return sum(map(int, _LONG_ARRAY.findall(data))) <= self._limits.max_arguments

    def start(self) -> Callable[[], Any]:
        """Return what gives complete commands, oldest first, then `NO_MORE`: the hot path's way, hiredis' own function.

        So nothing is checked: the caller sees to it that each `is_command`, hands what goes wrong to `fail`, and calls
        `finish` afterwards. It may stop early, and start again.
        """
        if self.is_waiting and self._later:
            self._feed_next()
        return self.take

    def commands(self) -> Iterator[Any]:
        """Return an iterator over what is complete; otherwise as `start`."""
        take = self.start()
        return iter(take.take() if type(take) is Run else take, NO_MORE)

    def finish(self, has_taken: bool, has_all: bool) -> bool:
        """Take note of what `commands` gave; look at what is left, if that is all.

        Args:
            has_taken: whether there was a command at all.
            has_all: whether all were taken; what is left then is part of a command, or the reason why there is none,
                or bytes that have not been looked at.
        Returns:
            whether to ask `commands` again, now.
        """
        if not has_all:
            self._is_begun = True
            return True
        if (has_taken or self._is_begun) and not self._is_unusual and not self._has_data():
            self._pending = 0
            self.take = self._gets
            if not self._later:
                return False
            data = b"".join(self._later)
            self._later.clear()
            self.feed(data)
            return True
        return self._feed_next()

    def drain(self) -> bool:
        """Lay complete commands into `ready` if it is empty, at most a piece of them; return whether there are any."""
        while not self.ready and self.has_partial:
            try:
                self.ready.extend(argv for argv in self.commands() if is_command(argv))
                has_all = True
            except BROKEN as error:
                has_all = not self.fail(error)
            if not self.finish(bool(self.ready), has_all):
                break
        return bool(self.ready)

    def fail(self, error: Exception) -> bool:
        """Judge an error among `BROKEN`; return whether to ask `commands` again.

        It may come from an inline command behind a frame. Then that is what comes next; else the framing is broken.
        """
        chunk, self._chunk = self._chunk, b""
        self._is_unusual = True
        at, _ = self._follow(chunk)
        if at < len(chunk) and not self._left and chunk[at] != _DOLLAR and self._failure is None:
            self._start_anew()  # the frames before it have been taken, or there would be no error yet
            self._later.appendleft(chunk[at:])
            return True
        if self._failure is None:
            self._fail(str(error) if isinstance(error, ProtocolError) else f"Protocol error: {error}")
        return False

    def _fail(self, text: str) -> None:
        self._failure = ProtocolError(text)
        self._later.clear()
        self._pending = max(self._pending, 1)  # never the usual case again

    # The careful way

    def _feed_next(self) -> bool:
        """Give hiredis more, now that nothing is left to take; return whether there is something now."""
        if self._chunk:
            chunk, self._chunk = self._chunk, b""
            self._follow(chunk)
        while self._later and self._failure is None:
            if self._feed_piece(self._next_piece()):
                self.is_waiting, self._is_unusual = False, True
                return True
        if self._failure is not None:
            self.error = self._failure
            self.is_notable = True
            return False
        self._pending = self._command_bytes + len(self._held)
        self._is_unusual = self.is_waiting = self._pending > 0
        self.is_notable = self._pending > LARGE_BYTES
        if self._is_large and not self.is_waiting:
            self._is_large = False
            self._start_anew()  # hiredis would keep as much memory as the command took
        return False

    def _next_piece(self) -> bytes:
        data = self._later.popleft()
        size = max(_PIECE_BYTES, self._skip)
        if len(data) > size:
            self._later.appendleft(data[size:])
            data = data[:size]
        return data

    def _feed_piece(self, data: bytes) -> bool:
        """Give hiredis what the limits allow of `data`; return whether some command (or blank line) ends there."""
        if self._held:
            data, self._held = self._held + data, b""
        at, ended = self._follow(data)
        if at == len(data):
            self._give(data)
        else:
            self._give(data[:at])
            if self._failure is not None:
                pass
            elif self._left or data[at] == _STAR:
                self._held = data[at:]
            elif data[at] == _DOLLAR:
                self._fail(_NOT_ARRAY)
            else:
                ended += self._feed_lines(data[at:])
        return ended > 0

    def _follow(self, data: bytes) -> tuple[int, int]:
        """Follow the framing of `data`, which comes after all that was followed before.

        Returns:
            how far it goes: to the end, to a header that is cut, to what is no frame, or to the failure that is noted
            now; and how many commands end before that.
        """
        size, at, left, ended = len(data), self._skip, self._left, 0
        begin, known = -self._command_bytes, self._known_arguments.get
        if at and at <= size and not left:
            ended, begin = 1, at
        while at < size:
            if left:
                step = known(data[at : at + 4]) or known(data[at : at + 5]) or self._argument_bytes(data, at)
                if not step or (at + step - begin > self._large_bytes and self._is_too_large(at + step - begin)):
                    break
                at += step
                left -= 1
                if not left and at <= size:
                    ended += 1
            elif data[at] == _STAR and (header := self._header(data, at, _TOO_MANY)) is not None:
                left = int(header) if header.isdigit() else 0
                if left > self._limits.max_arguments or (not left and header not in (b"0", b"-1")):
                    self._fail(_TOO_MANY)
                    break
                begin, at = at, at + len(header) + 3
                ended += not left
            else:
                break
        self._left, self._skip = left, max(at - size, 0)
        at = min(at, size)
        self._command_bytes = at - begin if left or self._skip else 0
        return at, ended

    def _header(self, data: bytes, at: int, refusal: str) -> bytes | None:
        """Return what stands between the first byte of a header and its line break; None if that is still to come."""
        newline = data.find(b"\r\n", at, at + _LONGEST_HEADER)
        if newline < 0 and len(data) - at >= _LONGEST_HEADER:
            self._fail(refusal)
        return data[at + 1 : newline] if newline >= 0 else None

    def _argument_bytes(self, data: bytes, at: int) -> int:
        """Return how many bytes the argument at `at` takes, header and line breaks included; 0: cut, or not allowed."""
        header = self._header(data, at, _TOO_LARGE)
        if header is None:
            return 0
        if data[at] != _DOLLAR:
            self._fail(f"Protocol error: expected '$', got {chr(data[at])!r}")
        elif not header.isdigit() or int(header) > self._limits.max_value_bytes:
            self._fail(_TOO_LARGE)
        else:
            return len(header) + 5 + int(header)
        return 0

    def _is_too_large(self, command_bytes: int) -> bool:
        self._is_large = True
        if command_bytes > self._max_command_bytes:
            self._fail(_COMMAND_TOO_LARGE)
        return self._failure is not None

    def _feed_lines(self, data: bytes) -> int:
        """Give hiredis the inline commands at the start of `data` as frames; return how many lines that were."""
        at = lines = 0
        while at < len(data) and data[at] not in b"*$" and lines < _PIECE_LINES:
            newline = data.find(b"\n", at)
            if (newline if newline >= 0 else len(data)) - at > self._limits.max_inline_bytes:
                self._fail(_LINE_TOO_LONG)
                return lines
            if newline < 0:
                self._held = data[at:]  # its length is checked again with every byte that comes
                return lines
            try:
                arguments = split_inline(data[at:newline].rstrip(b"\r"))
            except ProtocolError as error:
                self._fail(str(error))
                return lines
            if arguments:
                frame = b"".join(b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments)
                self._give(b"*%d\r\n%b" % (len(arguments), frame))
            lines += 1
            at = newline + 1
        if at < len(data):
            self._later.appendleft(data[at:])
        return lines


def giving(commands: Iterable[Any]) -> Callable[[], Any]:
    """Return what gives `commands`, then `NO_MORE`, as `RequestParser.start` does: for those who have no bytes."""
    return partial(next, iter(commands), NO_MORE)


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
# In runs, because byte by byte a line of 64 KiB takes 10 ms.
_PLAIN: Final = re.compile(rb"[^\s\"']+")
_QUOTED: Final = {0x22: re.compile(rb'[^"\\]+'), 0x27: re.compile(rb"[^'\\]+")}
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
        if plain := _PLAIN.match(line, at):
            out += plain[0]
            at = plain.end()
            continue
        quote = line[at]
        at += 1
        while at < len(line) and line[at] != quote:
            if plain := _QUOTED[quote].match(line, at):
                out += plain[0]
                at = plain.end()
            else:
                at = _inline_quoted(line, at, quote, out)
        if at >= len(line) or (at + 1 < len(line) and not line[at + 1 : at + 2].isspace()):
            raise ProtocolError("Protocol error: unbalanced quotes in request")
        at += 1
    return bytes(out), at


def _inline_quoted(line: bytes, at: int, quote: int, out: bytearray) -> int:
    """Append what the backslash at `at`, inside quotes, means to `out`; return the place after it."""
    if at + 1 >= len(line):
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
