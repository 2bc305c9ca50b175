"""Values as they are stored: for doors that carry bytes and headers, not Python values.

What lives here: the commands, and how their replies read. What does not: sending (`aio_stored.py`), HTTP. Pure, any
thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from raycache.client import frames
from raycache.client.arguments import TimeToLive, integer, ttl_ms
from raycache.client.requests import Bulky, Request
from raycache.client.results import Row
from raycache.errors import ProtocolError

BULKY_BYTES: Final = 64 * 1024
"""Values of so many bytes are not copied on their way out."""

Condition = Literal["ANY", "NX", "XX"] | int
"""Whatever is there; only if the key is absent; only if it is present; only at that version."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One entry."""

    version: int
    payload: bytes | None
    """One byte of kind and the value as `raycache.codec` wrote it; None: it is at the version that was asked for."""
    left_ms: int | None
    """What is left of its lifetime; None: it never expires, or (`is_whole`) that is not known."""
    is_whole: bool = True
    """False: another copy answered for the primary, which alone would have told the lifetime."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did."""

    created: bool
    """Whether the key was absent before."""
    version: int


def _unexpected(command: str, reply: object) -> ProtocolError:
    return ProtocolError(f"a shard answered {command} with {reply!r:.100}")


def _stored(reply: Any) -> Stored | None:
    if reply is None:
        return None
    try:
        version, left_ms, payload = reply
    except (TypeError, ValueError):
        raise _unexpected("RC.STORED", reply) from None
    if type(version) is not int or type(left_ms) is not int or not (payload is None or type(payload) is bytes):
        raise _unexpected("RC.STORED", reply)
    return Stored(version, payload, left_ms if left_ms >= 0 else None)


def _from_row(row: Row) -> Stored | None:
    return None if row[0] is None else Stored(row[1], row[0], None, is_whole=False)


def _written(reply: Any) -> Written | None:
    if reply is None:
        return None
    if type(reply) is not list or len(reply) != 2 or not all(type(each) is int for each in reply):
        raise _unexpected("RC.PUT", reply)
    return Written(reply[0] == 1, reply[1])


def _deleted(reply: Any) -> bool:
    if type(reply) is not int:
        raise _unexpected("RC.CAD", reply)
    return reply > 0


def stored(key: bytes, version: int = 0) -> Request[Stored | None]:
    """Return a read; without the payload if the entry is at `version`."""
    frame = frames.command(b"RC.STORED", key, b"%d" % version) if version else frames.get_stored(key)
    return Request(frame, _stored, from_row=_from_row)


def put(key: bytes, kind: int, data: bytes | bytearray, ttl: TimeToLive, condition: Condition
        ) -> Request[Written | None]:
    """Return a write under a condition; it answers None where the condition does not hold.

    Large `data` is sent from where it is, and must not change until the request is over.

    Raises:
        ValueError, TypeError: see `ttl_ms`. NotANumberError: the condition is no version.
    """
    word = b"%d" % integer("version", condition, minimum=1) if isinstance(condition, int) else condition.encode()
    before, after, repeatable = (b"RC.PUT", key, b"%d" % kind), (b"%d" % ttl_ms(ttl), word), condition in ("ANY", "XX")
    if len(data) < BULKY_BYTES:
        return Request(frames.command(*before, bytes(data), *after), _written, repeatable)
    head = b"*6" + frames.bulks(before) + b"\r\n$%d\r\n" % len(data)
    return Bulky(head, (data, frames.bulks(after) + b"\r\n"), _written, repeatable)


def compare_and_delete(key: bytes, version: int) -> Request[bool]:
    """Return a deletion that happens only at `version`."""
    frame = frames.command(b"RC.CAD", key, b"%d" % integer("version", version, minimum=1))
    return Request(frame, _deleted, repeatable=False)
