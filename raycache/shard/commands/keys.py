"""Keys: whether they are there, what they hold, what they are called.

What lives here: commands on one or several named keys. What does not: their expiry (`expiry`), and
walking over all of them (`keyspace`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from raycache.resp import encode
from raycache.resp.encode import OK, ONE, ZERO
from raycache.shard.commands.access import counting, peek, put, refuse_key, refuse_write, remove
from raycache.shard.commands.arguments import check_database
from raycache.shard.commands.command import NO_SUCH_KEY, SYNTAX_ERROR, Command, Refusal, Reply, Steps
from raycache.store import Entry, LargeValue, PackedValue, StoreFullError, TypedValue

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

TYPE_NAMES: dict[type, bytes] = {bytes: b"string", TypedValue: b"string", LargeValue: b"string",
                               PackedValue: b"string"}
"""What TYPE and SCAN call the type of a value. Later data types add themselves here."""


def exists_one(core: ShardCore, key: bytes) -> bool:
    """Return whether `key` is there."""
    return peek(core, key) is not None


def touch_one(core: ShardCore, key: bytes) -> bool:
    """Count a use of `key`; return whether it is there."""
    return core.get(key, core.now_ms) is not None


def type_(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """TYPE key."""
    entry = peek(core, argv[1])
    return encode.simple(TYPE_NAMES[type(entry.value)] if entry is not None else b"none")


def rename(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RENAME key new-key: value and expiry move; what the new name held is gone."""
    entry = _source(core, argv)
    if argv[1] != argv[2]:
        _move(core, entry, argv[2])
    return OK


def renamenx(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RENAMENX key new-key: only if the new name is free."""
    entry = _source(core, argv)
    if argv[1] == argv[2] or peek(core, argv[2]) is not None:
        return ZERO
    _move(core, entry, argv[2])
    return ONE


def _source(core: ShardCore, argv: list[bytes]) -> Entry:
    entry = peek(core, argv[1])
    if entry is None:
        raise Refusal(NO_SUCH_KEY)
    if len(argv[2]) > core.max_key_bytes:
        refuse_key(core, argv[2])
    return entry


def _move(core: ShardCore, entry: Entry, new_key: bytes) -> None:
    """Give `entry` a new key. Room is made by taking it out first, so that nothing else must be evicted for a copy."""
    old_key, value, kind, expires_ms = entry.key, entry.value, entry.kind, entry.expires_ms
    if len(new_key) > core.max_key_bytes:
        refuse_write(core, new_key, 0)
    core.store.delete(old_key, core.now_ms)
    try:
        core.store.put(new_key, value, kind, expires_ms, core.now_ms)
    except StoreFullError:  # the new key is longer than the old one, and nothing may be evicted
        core.store.put(old_key, value, kind, expires_ms, core.now_ms)
        raise
    if core.watched:
        core.watch.touch(old_key)
        core.watch.touch(new_key)


def copy(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """COPY source destination [DB 0] [REPLACE]."""
    _copy_options(argv[3:])
    if argv[1] == argv[2]:
        raise Refusal("ERR source and destination objects are the same")
    entry = peek(core, argv[1])
    if entry is not None and len(entry.value) > core.large_value_bytes:
        return core.in_steps(session, _copy_steps(core, argv, entry.value))
    return _copy(core, argv)


def _copy_steps(core: ShardCore, argv: list[bytes], value: bytes) -> Steps:
    """Make room step by step, as for any large value; the source may be what has to go."""
    while core.store.reserve(argv[2], value, core.now_ms):
        yield None
    return _copy(core, argv)


def _copy(core: ShardCore, argv: list[bytes]) -> bytes:
    replace, entry = _copy_options(argv[3:]), peek(core, argv[1])
    if entry is None or (peek(core, argv[2]) is not None and not replace):
        return ZERO
    put(core, argv[2], entry.value, entry.kind, entry.expires_ms)
    return ONE


def _copy_options(words: list[bytes]) -> bool:
    """Return whether REPLACE is among the options."""
    replace, rest = False, iter(words)
    for word in rest:
        name = word.upper()
        if name == b"REPLACE":
            replace = True
        elif name == b"DB" and (number := next(rest, None)) is not None:
            check_database(number)
        else:
            raise Refusal(SYNTAX_ERROR)
    return replace


_key = partial(Command, group="generic", first_key=1, last_key=1, key_step=1)
_many = partial(Command, group="generic", first_key=1, last_key=-1, key_step=1, arity=-2, complexity="O(N)",
                tips=("request_policy:multi_shard", "response_policy:agg_sum"))

COMMANDS = [
    _many(name="del", flags="write", handler=counting(remove), key_use=("RM delete",),
          summary="Deletes keys; returns how many were there."),
    _many(name="unlink", flags="write fast", handler=counting(remove), key_use=("RM delete",), since="4.0.0",
          summary="Deletes keys; returns how many were there."),
    _many(name="exists", flags="readonly fast", handler=counting(exists_one), key_use=("RO",),
          summary="Returns how many of the keys are there."),
    _many(name="touch", flags="readonly fast", handler=counting(touch_one), key_use=("RO",), since="3.2.1",
          summary="Counts a use of each key; returns how many are there."),
    _key(name="type", arity=2, flags="readonly fast", handler=type_, key_use=("RO",),
         summary="Returns the type of the value at a key."),
    _key(name="rename", arity=3, flags="write", handler=rename, last_key=2, key_use=("RW access delete", "OW update"),
         summary="Renames a key; what the new name held is gone."),
    _key(name="renamenx", arity=3, flags="write fast", handler=renamenx, last_key=2,
         key_use=("RW access delete", "OW insert"),
         summary="Renames a key if the new name is free."),
    _key(name="copy", arity=-3, flags="write denyoom", handler=copy, last_key=2, key_use=("RO access", "OW update"),
         since="6.2.0",
         summary="Copies the value and the expiry of a key to another key."),
]
