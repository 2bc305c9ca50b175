"""Runs: pipelines of one command on arguments of one length each, taken apart at once.

What lives here: recognising such a chunk, and its commands. What does not: everything else that clients send (`parse`),
and running them (`raycache.shard`). No I/O; one run belongs to one parser.

Load tools, and programs that ask for a page of ids, send the same command over and over, with keys of one length. Then
everything stands at known places, and two calls into C take it out, at half of what reading frame by frame takes. It is
exact: put together again it must give the very bytes that came, and what differs in anything goes the usual way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Any, Final, NamedTuple

NO_MORE: Final = object()
"""What gives commands gives this when no command is complete."""
RUN_BYTES: Final = 200
"""A shorter chunk has few commands, so that to recognise them takes longer than to read them."""
MOST: Final = 512
"""Commands of a longer run go the usual way: what takes a run apart is kept for the next one, and grows with it."""

_FIRST: Final = re.compile(rb"\*([23])\r\n\$([1-9][0-9]?)\r\n([^\r\n]+)\r\n\$([1-9][0-9]{0,3})\r\n")
_NEXT: Final = re.compile(rb"\r\n\$(0|[1-9][0-9]{0,4})\r\n")


class Shape(NamedTuple):
    """What all commands of a run have in common."""

    prefix: bytes
    """From the beginning of a command to its key."""
    between: bytes
    """From the end of what a command says last to the next one's key."""
    name: bytes
    key_size: int
    middle: bytes
    """From the end of the key to the value; empty where there is none."""
    piece_size: int
    """Bytes from the beginning of the key to the end of the command's last argument."""


NO_SHAPE: Final = Shape(b"\0", b"\0", b"", 0, b"", 0)
"""Of no run."""


class Run:
    """One command on many keys: all at once for whoever looks at it, or one by one when it is called."""

    __slots__ = ("_take", "at", "key_size", "keys", "name", "value_size", "values")

    def __init__(self, shape: Shape, keys: tuple[bytes, ...], values: tuple[bytes, ...] | None) -> None:
        self.name = shape.name
        self.keys = keys
        self.values = values
        """As many as there are keys; None: the command has none."""
        self.key_size = shape.key_size
        self.value_size = shape.piece_size - shape.key_size - len(shape.middle)
        self.at = 0
        """How many have been taken all at once."""
        self._take: Callable[[], Any] | None = None

    def __call__(self) -> Any:
        """Return the next command, or `NO_MORE`."""
        return self.take()()

    def take(self) -> Callable[[], Any]:
        """Return what gives the rest one by one; from now on all of them must come from there."""
        if self._take is None:
            name, values = self.name, self.values
            keys = self.keys[self.at :] if self.at else self.keys
            commands: list[Any] = [[name, key] for key in keys] if values is None else [
                [name, key, value] for key, value in zip(keys, values[self.at :], strict=True)]
            commands.append(NO_MORE)
            self._take = iter(commands).__next__
        return self._take

    @property
    def is_whole(self) -> bool:
        """Whether nothing has been taken one by one, so that the rest may still be taken at once."""
        return self._take is None


def shape_of(data: bytes) -> Shape:
    """Return the shape that the first command of `data` has, `NO_SHAPE` where it cannot be one of a run."""
    first = _FIRST.match(data)
    if first is None or int(first[2]) != len(first[3]):
        return NO_SHAPE
    prefix, key_size = first[0], int(first[4])
    if first[1] == b"2":
        return Shape(prefix, b"\r\n" + prefix, first[3], key_size, b"", key_size)
    middle = _NEXT.match(data, len(prefix) + key_size)
    if middle is None:
        return NO_SHAPE
    piece_size = key_size + len(middle[0]) + int(middle[1])
    return Shape(prefix, b"\r\n" + prefix, first[3], key_size, middle[0], piece_size)


def run_of(shape: Shape, data: bytes) -> Run | None:
    """Return the run in `data`, which begins with the prefix of `shape`; None where it is no such run."""
    prefix, between, _, key_size, middle, piece_size = shape
    count, rest = divmod(len(data), len(between) + piece_size)
    if not key_size or rest or count > MOST or data[-2] != 0x0D:
        return None
    # Taken out by their places, and put together again to see that everything between them is what it must be.
    if not middle:
        keys = _places(len(prefix), key_size, 0, 0, count)(data)
        return Run(shape, keys, None) if between.join(keys) == data[len(prefix) : -2] else None
    found = _places(len(prefix), key_size, len(middle), piece_size - key_size - len(middle), count)(data)
    keys, values = found[::2], found[1::2]
    parts = [between, b"", middle, b""] * count
    parts[0], parts[1::4], parts[3::4] = prefix, keys, values
    return Run(shape, keys, values) if b"".join(parts) == data[:-2] else None


@lru_cache(64)
def _places(prefix: int, key: int, middle: int, value: int, count: int) -> Callable[[bytes], tuple[bytes, ...]]:
    """Return what takes the arguments out of `count` commands with parts of these sizes."""
    one = f"{prefix}x{key}s{middle}x{value}s2x" if middle else f"{prefix}x{key}s2x"
    return Struct(one * count).unpack
