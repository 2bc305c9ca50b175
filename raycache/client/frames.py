"""Commands as bytes: arrays of bulk strings, built by hand.

What lives here: the outermost form of what a handle sends. Which command for which call is in `requests.py` and
`batches.py`. Pure functions, any thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from raycache.errors import ProtocolError

# Bulk headers of usual lengths, ready: indexing costs a third of formatting, and a batch has one for each key.
_READY_BYTES: Final = 1024
_HEADERS: Final = tuple(b"\r\n$%d\r\n" % length for length in range(_READY_BYTES))
_READS: Final = tuple(b"*2\r\n$6\r\nRC.GET" + header for header in _HEADERS)
_AGED_READS: Final = tuple(b"*2\r\n$7\r\nRC.GETL" + header for header in _HEADERS)
_STORED_READS: Final = tuple(b"*2\r\n$9\r\nRC.STORED" + header for header in _HEADERS)


def command(*parts: bytes) -> bytes:
    """Return one command."""
    return b"*%d" % len(parts) + bulks(parts) + b"\r\n"


def bulks(parts: Sequence[bytes]) -> bytes:
    """Return `parts` as bulk strings, each *led* by its line end, so that pieces join.

    Cost: about 0.06 us a part, and half of that where all have one length, as keys made of ids often do.
    """
    lengths = set(map(len, parts))
    if len(lengths) == 1:
        header = b"\r\n$%d\r\n" % lengths.pop()
        return header + header.join(parts)
    try:
        return b"".join([_HEADERS[len(part)] + part for part in parts])
    except IndexError:
        return b"".join([b"\r\n$%d\r\n%b" % (len(part), part) for part in parts])


def get(key: bytes) -> bytes:
    """Return RC.GET: the one frame that is built for nearly every operation."""
    length = len(key)
    start = _READS[length] if length < _READY_BYTES else b"*2\r\n$6\r\nRC.GET\r\n$%d\r\n" % length
    return start + key + b"\r\n"


def get_aged(key: bytes) -> bytes:
    """Return RC.GETL: what every call of `get_or_load` sends."""
    length = len(key)
    start = _AGED_READS[length] if length < _READY_BYTES else b"*2\r\n$7\r\nRC.GETL\r\n$%d\r\n" % length
    return start + key + b"\r\n"


def get_stored(key: bytes) -> bytes:
    """Return RC.STORED without a version: what nearly every GET over HTTP sends."""
    length = len(key)
    start = _STORED_READS[length] if length < _READY_BYTES else b"*2\r\n$9\r\nRC.STORED\r\n$%d\r\n" % length
    return start + key + b"\r\n"


def get_many(keys: Sequence[bytes]) -> bytes:
    """Return RC.MGET of at least one key."""
    return b"*%d\r\n$7\r\nRC.MGET%b\r\n" % (len(keys) + 1, bulks(keys))


def wrapped(frame: bytes, *outer: bytes) -> bytes:
    """Return the commands in `frame`, the first one as the arguments after `outer`."""
    end = frame.index(b"\r\n")
    return b"*%d" % (int(frame[1:end]) + len(outer)) + bulks(outer) + frame[end:]


def inner(reply: Any) -> Any:
    """Return the reply of the command that RC.WRITE ran.

    Raises:
        ProtocolError: it is no reply of RC.WRITE.
    """
    if type(reply) is not list or len(reply) != 2 or type(reply[1]) is not int:
        raise ProtocolError(f"a shard answered RC.WRITE with {reply!r:.100}")
    return reply[0]


def get_wished(options: bytes, keys: Sequence[bytes]) -> bytes:
    """Return RC.READ of at least one key."""
    return b"*%d\r\n$7\r\nRC.READ%b\r\n" % (len(keys) + 2, bulks([options, *keys]))
