"""The commands of the Python handle: values with their kind, versions, and what the cluster knows.

What lives here: RC.*. A payload is one byte of kind and then the value, in one bulk string, so that
the handle decodes it without asking. Nobody else needs these; they are no part of Redis.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgpack

from raycache.resp import encode
from raycache.resp.encode import CRLF, HEADERS, NULLS, OK, ONE, ZERO
from raycache.shard.commands.access import (
    KIND_INT,
    LONG_KEYS,
    check_size,
    fetched_of,
    in_chunks,
    peek,
    put,
    refuse_key,
    sent,
    use,
    with_room,
)
from raycache.shard.commands.arguments import integer
from raycache.shard.commands.command import SYNTAX_ERROR, WRONG_TYPE, Command, Refusal, Reply, Steps
from raycache.shard.commands.counters import add
from raycache.shard.commands.keyspace import MAX_SCAN_COUNT, scan_cursor
from raycache.shard.commands.kinds import KINDS, kind_of
from raycache.store import KIND_MASK, LARGE_KIND

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session
    from raycache.store import Entry

KIND_BYTES: Final = tuple(bytes([kind]) for kind in range(256))
_SHORT: Final = len(HEADERS)
KEEP_EXPIRY: Final = -1


def lifetime_of(text: bytes) -> int:
    """Return a time to live in milliseconds; 0: none, -1: keep the entry's own."""
    px = integer(text)
    if px < KEEP_EXPIRY:
        raise Refusal("ERR px must be positive, 0 for no expiry or -1 to keep it")
    return px


def expires_ms_of(core: ShardCore, key: bytes, px: int) -> int | None:
    """Return when `key` expires that is written with a lifetime of `px`, unix milliseconds."""
    if px == KEEP_EXPIRY:
        entry = core.store.peek(key, core.now_ms)
        return entry.expires_ms if entry is not None else None
    return core.now_ms + px if px else None


def _payload(kind: int, value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise Refusal(WRONG_TYPE)
    return b"$%d\r\n%b%b\r\n" % (len(value) + 1, KIND_BYTES[kind], value)


def get(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.GET key -> payload, or null."""
    entry = core.get(argv[1], core.now_ms)
    if entry is None:
        if len(argv[1]) > core.max_key_bytes:
            refuse_key(core, argv[1])
        return NULLS[session.protocol]
    value = entry.value
    if not isinstance(value, bytes):
        raise Refusal(WRONG_TYPE)
    kind = entry.stamp & KIND_MASK
    if kind == LARGE_KIND:
        use(core, entry)
    return b"$%d\r\n%b%b\r\n" % (len(value) + 1, KIND_BYTES[kind], value)


def whole(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.WHOLE key -> payload, or null; of a large value the bytes themselves, for who cannot reach its object."""
    entry = core.get(argv[1], core.now_ms)
    if entry is None:
        if len(argv[1]) > core.max_key_bytes:
            refuse_key(core, argv[1])
        return NULLS[session.protocol]
    kind, value = fetched_of(entry)
    return b"$%d\r\n%b%b\r\n" % (len(value) + 1, KIND_BYTES[kind], value)


def mget(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.MGET key [key ...] -> payloads, null for each key that is absent or no string."""
    header = b"*%d\r\n" % (len(argv) - 1)
    if len(argv) > LONG_KEYS + 1:
        return core.in_steps(session, _mget_steps(core, session, argv[1:], header))
    return header + _payloads(core, session, argv[1:])


def _mget_steps(core: ShardCore, session: Session, keys: list[bytes], header: bytes) -> Steps:
    parts = [header]
    for chunk in in_chunks(keys):
        parts.append(_payloads(core, session, chunk))
        yield None
    return b"".join(parts)


def _payloads(core: ShardCore, session: Session, keys: list[bytes]) -> bytes:
    """Return the payloads of `keys`, joined. `Store.get` written out: calling it takes as long as all the rest."""
    store, now_ms, null, kinds = core.store, core.now_ms, NULLS[session.protocol], KIND_BYTES
    _, mask, on_hits, _, _, _, lookups = store.hot
    found: list[Entry] = []
    parts: list[bytes] = []
    for key in keys:
        entry = lookups[hash(key) & mask].get(key)
        if entry is None or ((timer := entry.timer) is not None and timer <= now_ms):
            store.peek(key, now_ms)  # removes what has expired
            store.stats.misses += 1
            parts.append(null)
            continue
        found.append(entry)
        value = entry.value
        kind = entry.stamp & KIND_MASK
        if type(value) is not bytes:
            if not isinstance(value, bytes):
                parts.append(null)
                continue
            if kind == LARGE_KIND:
                use(core, entry)
        size = len(value) + 1
        parts += (HEADERS[size] if size < _SHORT else b"$%d\r\n" % size, kinds[kind], value, CRLF)
    store.stats.hits += len(found)
    on_hits(found)
    return b"".join(parts)


def getv(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.GETV key -> [version, payload], or null. A version is made for who asks, and dies with the next write."""
    entry = core.get(argv[1], core.now_ms)
    if entry is None:
        return NULLS[session.protocol]
    payload = _payload(entry.kind, entry.value)
    if entry.kind == LARGE_KIND:
        use(core, entry)
    return encode.array([encode.integer(core.store.version_of(entry)), payload])


def _set(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.SET key kind value px [NX | XX] -> OK, or null if the condition does not hold."""
    key, kind, px = argv[1], kind_of(core, argv[2], argv[3]), lifetime_of(argv[4])
    value = sent(core, key, argv[3], kind)
    if len(argv) > 5:
        condition = argv[5].upper()
        if len(argv) > 6 or condition not in (b"NX", b"XX"):
            raise Refusal(SYNTAX_ERROR)
        check_size(core, key, len(argv[3]))
        if (peek(core, key) is not None) == (condition == b"NX"):
            return NULLS[session.protocol]
    put(core, key, value, kind, expires_ms_of(core, key, px))
    return OK


def mset(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.MSET px kind key value [kind key value ...] -> OK."""
    if len(argv) % 3 != 2:
        raise Refusal("ERR wrong number of arguments for 'rc.mset' command")
    px = lifetime_of(argv[1])
    for at in range(2, len(argv), 3):
        kind_of(core, argv[at], argv[at + 2])
        check_size(core, argv[at + 1], len(argv[at + 2]))
    steps = _mset_steps(core, argv, px)
    if len(argv) > 3 * LONG_KEYS or sum(map(len, argv)) > core.large_value_bytes:
        return core.in_steps(session, steps)
    for at in range(2, len(argv), 3):
        key, kind = argv[at + 1], KINDS[argv[at]]
        put(core, key, sent(core, key, argv[at + 2], kind), kind, expires_ms_of(core, key, px))
    return OK


def _mset_steps(core: ShardCore, argv: list[bytes], px: int) -> Steps:
    written_bytes = count = 0
    for at in range(2, len(argv), 3):
        key, value = argv[at + 1], argv[at + 2]
        if len(value) > core.large_value_bytes:
            while core.store.reserve(key, value, core.now_ms):
                yield None
        kind = KINDS[argv[at]]
        put(core, key, sent(core, key, value, kind), kind, expires_ms_of(core, key, px))
        written_bytes, count = written_bytes + len(value), count + 1
        if count == LONG_KEYS or written_bytes > core.large_value_bytes:
            written_bytes = count = 0
            yield None
    return OK


def _cas(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.CAS key version kind value px -> 1 if it was written, else 0. Version 0: the key must be absent."""
    key, version, kind, px = argv[1], integer(argv[2]), kind_of(core, argv[3], argv[4]), lifetime_of(argv[5])
    check_size(core, key, len(argv[4]))
    value = sent(core, key, argv[4], kind)
    entry = peek(core, key)
    # An entry that nobody asked for since its last write has version 0: no token can be valid for it.
    if version != (entry.version if entry is not None else 0) or (entry is not None and version == 0):
        return ZERO
    put(core, key, value, kind, expires_ms_of(core, key, px))
    return ONE


def incrby(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.INCRBY key delta px -> the sum. `px` counts only if the key is made by this."""
    px = lifetime_of(argv[3])
    expires_ms = core.now_ms + px if px > 0 else None
    return encode.integer(add(core, argv[1], integer(argv[2]), kind=KIND_INT, expires_ms=expires_ms))


def scan(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.SCAN cursor prefix count -> [cursor, keys]."""
    cursor, prefix, count = scan_cursor(argv[1]), argv[2], integer(argv[3])
    if count < 1:
        raise Refusal(SYNTAX_ERROR)
    cursor, keys = core.store.scan(cursor, min(count, MAX_SCAN_COUNT), core.now_ms)
    found = [key for key in core.slots.led(keys) if key.startswith(prefix)]
    return encode.array([encode.bulk(b"%d" % cursor), encode.bulks(found)])


def topology(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.TOPOLOGY [known-epoch [SILENT host:port...]] -> the topology's bytes, or null if there is none or none newer.

    Those that are named have not answered the caller, which the router may want to know.
    """
    if len(argv) > 2 and argv[2].upper() != b"SILENT":
        raise Refusal(SYNTAX_ERROR)
    known = integer(argv[1]) if len(argv) > 1 else -1
    core.complain(argv[3:])
    current = core.topology
    if current is None or current.epoch <= known:
        return NULLS[session.protocol]
    kept = core.replies_by_topology.get("bytes")
    if kept is None:
        kept = core.replies_by_topology["bytes"] = encode.bulk(current.to_bytes())
    return kept


def stats(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.STATS -> the shard's statistics in msgpack."""
    return encode.bulk(msgpack.packb(core.stats()))


_rc = partial(Command, group="raycache", since="0.1.0")
_key = partial(_rc, first_key=1, last_key=1, key_step=1)
_WRITE = "write denyoom"

COMMANDS = [
    _key(name="rc.get", arity=2, flags="readonly fast", handler=get, key_use=("RO access",),
         summary="Returns kind and value of a key."),
    _key(name="rc.mget", arity=-2, flags="readonly fast", handler=mget, last_key=-1, key_use=("RO access",),
         complexity="O(N)",
         summary="Returns kinds and values of several keys."),
    _key(name="rc.whole", arity=2, flags="readonly", handler=whole, key_use=("RO access",),
         summary="Returns kind and value of a key, wherever the value is."),
    _key(name="rc.getv", arity=2, flags="readonly fast", handler=getv, key_use=("RO access",),
         summary="Returns version, kind and value of a key."),
    _key(name="rc.set", arity=-5, flags=_WRITE, handler=with_room(_set, 3), key_use=("OW update",),
         summary="Stores a value and its kind."),
    _rc(name="rc.mset", arity=-5, flags=_WRITE, handler=mset, first_key=3, last_key=-1, key_step=3,
        key_use=("OW update",),
        complexity="O(N)", summary="Stores several values and their kinds."),
    _key(name="rc.cas", arity=6, flags=_WRITE, handler=with_room(_cas, 4), key_use=("RW update",),
         summary="Stores a value if the key was not written since its version was read."),
    _key(name="rc.incrby", arity=4, flags=_WRITE + " fast", handler=incrby, key_use=("RW access update",),
         summary="Adds to an integer, which may expire if this makes it."),
    _rc(name="rc.scan", arity=4, flags="readonly", handler=scan, complexity="O(COUNT)",
        summary="Walks over the keys with a prefix."),
    _rc(name="rc.topology", arity=-1, flags="loading stale fast", handler=topology, categories="connection",
        summary="Returns the topology if it is newer."),
    _rc(name="rc.stats", arity=1, flags="loading stale", handler=stats, summary="Returns the shard's statistics."),
]
