"""The commands of the HTTP door: a value with all that its headers are made of, and writes that answer with a version.

What lives here: RC.STORED, RC.PUT and RC.CAD. Each is one command because a door has one round trip: its goal is to be
hardly slower than an endpoint that looks nothing up. What does not: HTTP (`serve_app`), values (`handle`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from raycache.resp import encode
from raycache.resp.encode import NULLS, ONE, ZERO
from raycache.shard.commands.access import check_size, peek, plain_of, put, refuse_key, remove, sent, with_room
from raycache.shard.commands.arguments import integer
from raycache.shard.commands.command import Command, Refusal
from raycache.shard.commands.handle import KIND_BYTES, expires_ms_of, lifetime_of
from raycache.shard.commands.kinds import kind_of

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

_NEVER: Final = encode.integer(-1)


def stored(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.STORED key [version] -> [version, ms left or -1, payload], or null. No payload if it is at that version."""
    if len(argv) > 3:
        raise Refusal("ERR wrong number of arguments for 'rc.stored' command")
    entry = core.get(argv[1], core.now_ms)
    if entry is None:
        if len(argv[1]) > core.max_key_bytes:
            refuse_key(core, argv[1])
        return NULLS[session.protocol]
    version, timer = core.store.version_of(entry), entry.timer
    left = _NEVER if timer is None else encode.integer(int(timer) - core.now_ms)
    if len(argv) == 3 and integer(argv[2]) == version:
        return b"*3\r\n:%d\r\n%b%b" % (version, left, NULLS[session.protocol])
    kind, value = plain_of(entry)
    return b"*3\r\n:%d\r\n%b$%d\r\n%b%b\r\n" % (version, left, len(value) + 1, KIND_BYTES[kind], value)


def _put(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.PUT key kind value px ANY | NX | XX | version -> [1 if it was absent, new version], or null if it may not."""
    key, kind, px, condition = argv[1], kind_of(core, argv[2], argv[3]), lifetime_of(argv[4]), argv[5].upper()
    check_size(core, key, len(argv[3]))
    value = sent(core, key, argv[3], kind)
    entry = peek(core, key)
    if condition == b"NX":
        holds = entry is None
    elif condition == b"XX":
        holds = entry is not None
    else:
        # An entry that nobody asked for since its last write has version 0: no caller can know it.
        holds = condition == b"ANY" or (entry is not None and 0 < entry.version == integer(condition))
    if not holds:
        return NULLS[session.protocol]
    put(core, key, value, kind, expires_ms_of(core, key, px))
    written = core.store.peek(key, core.now_ms)
    version = core.store.version_of(written) if written is not None else 0
    return b"*2\r\n:%d\r\n:%d\r\n" % (entry is None, version)


def cad(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.CAD key version -> 1 if it was at that version and is deleted, else 0."""
    version = integer(argv[2])
    entry = peek(core, argv[1])
    if entry is None or not 0 < entry.version == version:
        return ZERO
    remove(core, argv[1])
    return ONE


_key = partial(Command, group="raycache", since="0.1.0", first_key=1, last_key=1, key_step=1)

COMMANDS = [
    _key(name="rc.stored", arity=-2, flags="readonly fast", handler=stored, key_use=("RO access",),
         summary="Returns version, time left, kind and value of a key, without the value if the version is known."),
    _key(name="rc.put", arity=6, flags="write denyoom", handler=with_room(_put, 3), key_use=("RW access update",),
         summary="Stores a value and its kind under a condition; returns its version."),
    _key(name="rc.cad", arity=3, flags="write fast", handler=cad, key_use=("RM delete",),
         summary="Deletes a key if it was not written since its version was read."),
]
