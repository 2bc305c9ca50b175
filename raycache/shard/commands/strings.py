"""Strings: GET and SET in all their forms.

What lives here: commands that read or replace whole strings. What does not: counting
(`counters`), parts of strings (`ranges`). GET and plain SET are the hot path of the whole cache.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from raycache.resp import encode
from raycache.resp.encode import CRLF, HEADERS, NULLS, OK, ONE, ZERO
from raycache.shard.commands.access import (
    LONG_KEYS,
    in_chunks,
    peek,
    put,
    refuse_key,
    refuse_write,
    remove,
    string_at,
    string_of,
    with_room,
)
from raycache.shard.commands.arguments import expiry_ms, getex_options, set_options
from raycache.shard.commands.command import Command, Refusal, Reply, Steps
from raycache.shard.commands.whole import with_whole

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

_HEADER_COUNT = len(HEADERS)


def get(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """GET key."""
    entry = core.get(argv[1], core.now_ms)
    if entry is None:
        if len(argv[1]) > core.max_key_bytes:
            refuse_key(core, argv[1])
        return NULLS[session.protocol]
    value = entry.value
    if type(value) is not bytes:
        value = string_of(value)
    size = len(value)
    if size < _HEADER_COUNT:
        return b"".join((HEADERS[size], value, CRLF))
    return b"$%d\r\n%b\r\n" % (size, value)


def set_(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """SET key value [NX | XX] [GET] [EX s | PX ms | EXAT unix-s | PXAT unix-ms | KEEPTTL]."""
    key, value = argv[1], argv[2]
    if len(argv) != 3 or len(key) > core.max_key_bytes or len(value) > core.large_value_bytes:
        return _set_unusual(core, session, argv)
    core.put(key, value, 0, None, core.now_ms)
    if core.watched:
        core.watch.touch(key)
    return OK


def _set_with_options(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    key = argv[1]
    options = set_options(argv[3:])
    expires_ms = options.expires_ms(core.now_ms, "set")
    # As in Redis only GET demands that the old value be a string, and only GET counts as a look-up.
    entry = core.get(key, core.now_ms) if options.get else core.store.peek(key, core.now_ms)
    if options.get:
        reply = encode.bulk(string_at(entry) if entry is not None else None, session.protocol)
    else:
        reply = OK
    if (options.nx and entry is not None) or (options.xx and entry is None):
        return reply if options.get else NULLS[session.protocol]
    if options.keep_ttl and entry is not None:
        expires_ms = entry.expires_ms
    put(core, key, argv[2], 0, expires_ms)
    return reply


_set_unusual = with_room(_set_with_options, 2)


def setnx(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """SETNX key value."""
    if peek(core, argv[1]) is not None:
        return ZERO
    put(core, argv[1], argv[2], 0, None)
    return ONE


def setex(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """SETEX key seconds value."""
    put(core, argv[1], argv[3], 0, expiry_ms(argv[2], 1000, core.now_ms, "setex"))
    return OK


def psetex(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """PSETEX key milliseconds value."""
    put(core, argv[1], argv[3], 0, expiry_ms(argv[2], 1, core.now_ms, "psetex"))
    return OK


def getset(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """GETSET key value: the old value; the expiry goes."""
    reply = get(core, session, argv)
    put(core, argv[1], argv[2], 0, None)
    return reply


def getdel(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """GETDEL key."""
    reply = get(core, session, argv)
    remove(core, argv[1])
    return reply


def getex(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """GETEX key [EX s | PX ms | EXAT unix-s | PXAT unix-ms | PERSIST]."""
    options = getex_options(argv[2:])
    reply = get(core, session, argv)
    entry = peek(core, argv[1])
    if entry is None:
        return reply
    expires_ms = options.expires_ms(core.now_ms, "getex")
    if expires_ms is not None and expires_ms <= core.now_ms:
        remove(core, argv[1])
    elif expires_ms is not None or (options.persist and entry.expires_ms is not None):
        core.store.set_expiry(entry, expires_ms)
        if core.watched:
            core.watch.touch(argv[1])
    return reply


def mget(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """MGET key [key ...]."""
    header = b"*%d\r\n" % (len(argv) - 1)
    if len(argv) > LONG_KEYS + 1:
        return core.in_steps(session, _mget_steps(core, session, argv[1:], header))
    return header + _mget_values(core, session, argv[1:])


def _mget_steps(core: ShardCore, session: Session, keys: list[bytes], header: bytes) -> Steps:
    parts = [header]
    for chunk in in_chunks(keys):
        parts.append((yield from with_whole(core, chunk, partial(_mget_values, core, session, chunk))))
        yield None
    return b"".join(parts)


def _mget_values(core: ShardCore, session: Session, keys: list[bytes]) -> bytes:
    lookup, now_ms, null, bulk = core.get, core.now_ms, NULLS[session.protocol], encode.bulk
    return b"".join([
        bulk(string_of(entry.value)) if (entry := lookup(key, now_ms)) is not None and isinstance(entry.value, bytes)
        else null
        for key in keys
    ])


def mset(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """MSET key value [key value ...]."""
    _check_pairs(core, argv, "mset")
    if len(argv) > 2 * LONG_KEYS + 1 or sum(map(len, argv)) > core.large_value_bytes:
        return core.in_steps(session, _mset_steps(core, argv))
    for at in range(1, len(argv), 2):
        put(core, argv[at], argv[at + 1], 0, None)
    return OK


def _mset_steps(core: ShardCore, argv: list[bytes]) -> Steps:
    waiting_bytes = 0
    for at in range(1, len(argv), 2):
        key, value = argv[at], argv[at + 1]
        if len(value) > core.large_value_bytes:
            while core.store.reserve(key, value, core.now_ms):
                yield None
        put(core, key, value, 0, None)
        waiting_bytes += len(value)
        if at % (2 * LONG_KEYS) == 1 or waiting_bytes > core.large_value_bytes:
            waiting_bytes = 0
            yield None
    return OK


def msetnx(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """MSETNX key value [key value ...]: all or nothing, so it runs whole however many keys there are."""
    _check_pairs(core, argv, "msetnx")
    if any(peek(core, key) is not None for key in argv[1::2]):
        return ZERO
    for at in range(1, len(argv), 2):
        put(core, argv[at], argv[at + 1], 0, None)
    return ONE


def _check_pairs(core: ShardCore, argv: list[bytes], name: str) -> None:
    """Refuse a key without a value, and anything over the limits, before the first write."""
    if len(argv) % 2 == 0:
        raise Refusal(f"ERR wrong number of arguments for '{name}' command")
    limit = min(core.max_value_bytes, core.store.capacity_bytes)
    for at in range(1, len(argv), 2):
        if len(argv[at]) > core.max_key_bytes or len(argv[at + 1]) > limit:
            refuse_write(core, argv[at], len(argv[at + 1]))


_key = partial(Command, group="string", first_key=1, last_key=1, key_step=1)
_FAST_WRITE = "write denyoom fast"
_EACH_ALL = ("request_policy:multi_shard", "response_policy:all_succeeded")

COMMANDS = [
    _key(name="get", arity=2, flags="readonly fast", handler=get, key_use=("RO access",),
         summary="Returns the value of a key."),
    _key(name="set", arity=-3, flags="write denyoom", handler=set_, key_use=("RW access update variable_flags",),
         summary="Stores a value under a key, with conditions and an expiry if wanted."),
    _key(name="setnx", arity=3, flags=_FAST_WRITE, handler=with_room(setnx, 2), key_use=("OW insert",),
         summary="Stores a value if the key is absent."),
    _key(name="setex", arity=4, flags="write denyoom", handler=with_room(setex, 3), key_use=("OW update",),
         since="2.0.0",
         summary="Stores a value that expires after so many seconds."),
    _key(name="psetex", arity=4, flags="write denyoom", handler=with_room(psetex, 3), key_use=("OW update",),
         since="2.6.0",
         summary="Stores a value that expires after so many milliseconds."),
    _key(name="getset", arity=3, flags=_FAST_WRITE, handler=with_room(getset, 2), key_use=("RW access update",),
         summary="Stores a value and returns the one before it."),
    _key(name="getdel", arity=2, flags="write fast", handler=getdel, key_use=("RW access delete",), since="6.2.0",
         summary="Returns the value of a key and deletes the key."),
    _key(name="getex", arity=-2, flags="write fast", handler=getex, key_use=("RW access update",), since="6.2.0",
         summary="Returns the value of a key and changes when it expires."),
    _key(name="mget", arity=-2, flags="readonly fast", handler=mget, last_key=-1, key_use=("RO access",),
         complexity="O(N)",
         tips=("request_policy:multi_shard",), summary="Returns the values of several keys."),
    _key(name="mset", arity=-3, flags="write denyoom", handler=mset, last_key=-1, key_step=2, key_use=("OW update",),
         since="1.0.1", complexity="O(N)", tips=_EACH_ALL, summary="Stores several values under their keys."),
    _key(name="msetnx", arity=-3, flags="write denyoom", handler=msetnx, last_key=-1, key_step=2,
         key_use=("OW insert",),
         since="1.0.1", complexity="O(N)", tips=("request_policy:multi_shard", "response_policy:agg_min"),
         summary="Stores several values if every key is absent."),
]
