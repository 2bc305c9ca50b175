"""Parts of strings: APPEND, STRLEN, GETRANGE, SETRANGE.

What lives here: commands that read or change a piece of a value. The result is a plain string, even
where the Python handle had stored something else.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from raycache.resp import encode
from raycache.resp.encode import EMPTY_BULK, ZERO
from raycache.shard.commands.access import (
    KIND_RAW,
    after_room,
    check_size,
    peek,
    put,
    refuse_key,
    rewrite,
    string_at,
    with_room,
)
from raycache.shard.commands.arguments import integer
from raycache.shard.commands.command import Command, Refusal, Reply

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session


def append(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """APPEND key value: the new length."""
    key, more = argv[1], argv[2]
    entry = peek(core, key)
    if entry is None:
        put(core, key, more, KIND_RAW, None)
        return encode.integer(len(more))
    value = string_at(entry)
    check_size(core, key, len(value) + len(more))
    rewrite(core, entry, value + more, KIND_RAW)
    return encode.integer(len(value) + len(more))


def strlen(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """STRLEN key."""
    value = _read(core, argv[1])
    return encode.integer(len(value)) if value is not None else ZERO


def getrange(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """GETRANGE key start end: both included; negative ones count from the end."""
    start, end = integer(argv[2]), integer(argv[3])
    value = _read(core, argv[1])
    if not value or (start < 0 and end < 0 and start > end):
        return EMPTY_BULK
    size = len(value)
    start = max(0, start + size if start < 0 else start)
    end = min(size - 1, max(0, end + size if end < 0 else end))
    return encode.bulk(value[start : end + 1])


def setrange(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """SETRANGE key offset value: the new length; a gap is filled with zero bytes."""
    offset = integer(argv[2])
    if argv[3] and offset >= 0 and offset + len(argv[3]) > core.large_value_bytes:
        # Before anything is built: an offset of half a gigabyte is a few bytes to send.
        check_size(core, argv[1], offset + len(argv[3]))
        return core.in_steps(session, after_room(core, session, argv, bytes(offset + len(argv[3])), _setrange))
    return _setrange(core, session, argv)


def _setrange(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    key, offset, part = argv[1], integer(argv[2]), argv[3]
    if offset < 0:
        raise Refusal("ERR offset is out of range")
    entry = peek(core, key)
    value = string_at(entry) if entry is not None else b""
    if not part:
        return encode.integer(len(value))
    size = max(len(value), offset + len(part))
    check_size(core, key, size)
    changed = value[:offset].ljust(offset, b"\0") + part + value[offset + len(part) :]
    if entry is None:
        put(core, key, changed, KIND_RAW, None)
    else:
        rewrite(core, entry, changed, KIND_RAW)
    return encode.integer(size)


def _read(core: ShardCore, key: bytes) -> bytes | None:
    """Return the string at `key`, counted as a look-up."""
    entry = core.get(key, core.now_ms)
    if entry is None:
        if len(key) > core.max_key_bytes:
            refuse_key(core, key)
        return None
    return string_at(entry)


_key = partial(Command, group="string", first_key=1, last_key=1, key_step=1)

COMMANDS = [
    _key(name="append", arity=3, flags="write denyoom fast", handler=with_room(append, 2), key_use=("RW insert",),
         since="2.0.0",
         summary="Adds bytes to the end of a value; an absent key counts as empty."),
    _key(name="strlen", arity=2, flags="readonly fast", handler=strlen, key_use=("RO",), since="2.2.0",
         summary="Returns the length of a value in bytes."),
    _key(name="getrange", arity=4, flags="readonly", handler=getrange, key_use=("RO access",), since="2.4.0",
         complexity="O(N)",
         summary="Returns a part of a value."),
    _key(name="substr", arity=4, flags="readonly", handler=getrange, key_use=("RO access",), complexity="O(N)",
         summary="Returns a part of a value; the old name of GETRANGE."),
    _key(name="setrange", arity=4, flags="write denyoom", handler=setrange, key_use=("RW update",), since="2.2.0",
         summary="Overwrites a part of a value, from an offset on."),
]
