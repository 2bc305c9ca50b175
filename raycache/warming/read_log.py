"""Recorded reads as lines of text, and access traces as others write them.

What lives here: the format, both ways, and putting the shards' events in order. What does not: files, recording
(`recording`), replaying (`replaying`). Pure.

A recording is gzip text. Its first line is `# raycache reads 1 sample=0.1 cluster=features`. Every other line has five
words: milliseconds since the start, what happened, the bytes of the value, its milliseconds to live, and the key:

    1042 r 512 0 user:17        a read that found 512 bytes, without expiry
    1043 m 0 0 user:18          a read that found nothing
    1045 w 80 60000 user:18     what a write has left: 80 bytes, for a minute
    1050 d 0 0 user:17          after a write (a delete, say) there is nothing

The key is percent-encoded as in URLs, so that it is one word; or it is 16 hexadecimal digits of its hash. Lines are in
the order of the shards' clocks. A file that was cut off in the middle is good up to there.

A trace is text or gzip text, a request a line: the key's number and, perhaps, its size in bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

HEADER: Final = "# raycache reads 1"
TRACE_SIZE: Final = 100
"""Bytes of a value where a trace says nothing."""
READS: Final = frozenset("rm")
_OPERATIONS: Final = frozenset("rmwd")


class Access(NamedTuple):
    """One thing that happened to a key."""

    at_ms: int
    """Since the start; 0 throughout in a trace."""
    op: str
    """"r" a hit, "m" a miss, "w" written, "d" deleted."""
    size: int
    """Bytes of the value, 0 if there is none."""
    left_ms: int
    """Its milliseconds to live; 0: for ever, or there is none."""
    key: bytes


def header(cluster: str, sample: float) -> str:
    """Return the first line of a recording."""
    return f"{HEADER} sample={sample:g} cluster={cluster}\n"


def line_of(access: Access) -> str:
    """Return a line of a recording."""
    return f"{access.at_ms} {access.op} {access.size} {access.left_ms} {quote_from_bytes(access.key, safe=_PLAIN)}\n"


_PLAIN: Final = "/:{}@!$&'()*+,;=~|?[]^`<>\\\""


def hashed(key: bytes) -> bytes:
    """Return what stands for a key that must not be known."""
    return hashlib.blake2b(key, digest_size=8).hexdigest().encode()


def accesses(lines: Iterable[str], name: str = "the file") -> Iterator[Access]:
    """Yield what a recording or a trace says; the first line tells which it is.

    Raises:
        ValueError: a line is neither; the text says which line. Nothing at all is an error, too.
    """
    number, is_recording = 0, False
    for number, line in enumerate(lines, 1):
        if number == 1 and line.startswith("#"):
            if not line.startswith(HEADER + " "):
                raise ValueError(f"{name} is a recording of another version: {line.strip()[:60]}")
            is_recording = True
            continue
        if is_recording and not line.endswith("\n"):
            return  # cut off
        try:
            yield _recorded(line) if is_recording else _request(line)
        except (ValueError, IndexError):
            what = "five words of a recording" if is_recording else "a key's number and, perhaps, a size"
            raise ValueError(f"{name}, line {number}: expected {what}, not {line.strip()[:60]!r}") from None
    if not number:
        raise ValueError(f"{name} is empty")


def _recorded(line: str) -> Access:
    at, op, size, left, key = line.split()
    access = Access(int(at), op, int(size), int(left), unquote_to_bytes(key))
    if op not in _OPERATIONS or min(access.at_ms, access.size, access.left_ms) < 0:
        raise ValueError(line)
    return access


def _request(line: str) -> Access:
    number, size = request_of(line)
    return Access(0, "r", TRACE_SIZE if size is None else size, 0, b"%d" % number)


def request_of(line: str) -> tuple[int, int | None]:
    """Return the key's number and the size that a line of a trace gives; None: it gives none.

    Raises:
        ValueError, IndexError: it does not begin with a number.
    """
    words = line.split(None, 2)
    return int(words[0]), int(words[1]) if len(words) > 1 and words[1].isdigit() else None


class InOrder:
    """Brings events of several shards into one order: keeps each until nothing older can come any more."""

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._held: list[Access] = []

    def add(self, events: Iterable[tuple[int, str, int, int, bytes]]) -> None:
        """Take in what a shard has recorded; times are unix milliseconds. What is before the start counts as at it."""
        self._held += [Access(max(0, at - self._start_ms), *rest) for at, *rest in events]  # type: ignore[arg-type]

    def until(self, unix_ms: int | None) -> list[Access]:
        """Return, in order, what happened before that time (None: everything), and forget it."""
        self._held.sort(key=lambda access: access.at_ms)  # stable: one shard's events stay as they were
        if unix_ms is None:
            ready, self._held = self._held, []
            return ready
        limit_ms = unix_ms - self._start_ms
        count = next((at for at, access in enumerate(self._held) if access.at_ms >= limit_ms), len(self._held))
        ready, self._held = self._held[:count], self._held[count:]
        return ready
