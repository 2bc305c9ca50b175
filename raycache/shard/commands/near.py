"""What the near caches of Python handles ask for: reads that another connection is told the end of.

What lives here: RC.LINK, RC.NEAR, RC.MNEAR, RC.FRESH. What does not: who is told what (`raycache.shard.tracking`), and
what a handle makes of it (`raycache.near`). No part of Redis, whose CLIENT CACHING takes two commands for each read and
a connection in RESP3 that carries both.

A handle's *link* is a connection in RESP3 that tracks with OPTIN and has named a token. Any other connection reads for
it by that token. A *near payload* is one byte (1 = the link will hear of a change, 0 = there is no such link here)
before an aged payload (see `leases`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from raycache.resp import encode
from raycache.resp.encode import NULLS, OK
from raycache.shard.commands.access import LONG_KEYS, in_chunks, refuse_key
from raycache.shard.commands.command import SYNTAX_ERROR, WRONG_TYPE, Command, Refusal, Reply, Steps
from raycache.shard.commands.leases import aged
from raycache.shard.commands.whole import with_whole

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

TOKEN_BYTES: Final = 16
_IS_TRACKED: Final = (b"\x00", b"\x01")
NOT_FRESH: Final = -1
"""RC.FRESH: others may have taken over."""


def link(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.LINK token [WHOLE]: 16 random bytes by which other connections of the same handle read for this one.

    WHOLE: they are to get large values themselves, in place of descriptors.
    """
    if len(argv) > 3 or (len(argv) == 3 and argv[2].upper() != b"WHOLE"):
        raise Refusal(SYNTAX_ERROR)
    if session.tracking is None or session.tracking.bcast:
        raise Refusal("ERR RC.LINK is for connections that track (CLIENT TRACKING ON OPTIN)")
    if len(argv[1]) != TOKEN_BYTES or argv[1] in core.tracking.links:
        raise Refusal(f"ERR a token is {TOKEN_BYTES} random bytes")
    core.tracking.link(session, argv[1], whole=len(argv) == 3)
    return OK


def near(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.NEAR key token -> near payload, or null."""
    key, token = argv[1], argv[2]
    if len(key) > core.max_key_bytes:
        refuse_key(core, key)
    entry = core.get(key, core.now_ms)
    if entry is not None and not isinstance(entry.value, bytes):
        raise Refusal(WRONG_TYPE)
    return _read(core, session, core.tracking.links.get(token), key)


def mnear(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.MNEAR token key [key ...] -> near payloads, null for each key that is absent or no string."""
    if len(argv) > LONG_KEYS + 2:
        return core.in_steps(session, _mnear_steps(core, session, argv[1], argv[2:]))
    return encode.array(_many(core, session, argv[1], argv[2:]))


def _mnear_steps(core: ShardCore, session: Session, token: bytes, keys: list[bytes]) -> Steps:
    parts: list[bytes] = []
    for chunk in in_chunks(keys):
        parts += yield from with_whole(core, chunk, partial(_many, core, session, token, chunk))
        yield None
    return encode.array(parts)


def _many(core: ShardCore, session: Session, token: bytes, keys: list[bytes]) -> list[bytes]:
    listener = core.tracking.links.get(token)
    for key in keys:
        core.get(key, core.now_ms)  # counts it, and removes what has expired
    return [_read(core, session, listener, key) for key in keys]


def _read(core: ShardCore, session: Session, listener: Session | None, key: bytes) -> bytes:
    """Return a near payload, and note that the link has it. A key that is absent is not noted: nobody keeps that."""
    entry = core.store.peek(key, core.now_ms)
    if entry is None or not isinstance(entry.value, bytes):
        return NULLS[session.protocol]
    if listener is None:
        return encode.bulk(_IS_TRACKED[False] + aged(core, entry))
    wanted = listener.tracking
    payload = aged(core, entry, whole=wanted is not None and wanted.whole)
    core.tracking.remember(listener, (key,))
    return encode.bulk(_IS_TRACKED[True] + payload)


def fresh(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.FRESH -> how old what is read here may be, in milliseconds; -1 if others may have taken over.

    Whatever was announced before has been sent before the answer.
    """
    return encode.integer(freshness_ms(core))


def freshness_ms(core: ShardCore) -> int:
    """Return what RC.FRESH does: 0 at a primary that may serve; where any owner takes writes, how long ago the owner
    was heard of last that was not heard of for longest."""
    replicator = core.replicator
    if replicator is None or not replicator.is_versioned:
        return 0
    if not core.may_serve():
        return NOT_FRESH
    return 0 if replicator.has_leases else round(replicator.unheard_s() * 1000)


_rc = partial(Command, group="raycache", since="0.1.0")

COMMANDS = [
    _rc(name="rc.link", arity=-2, flags="noscript loading stale fast", handler=link, categories="connection",
        summary="Names the token under which other connections read for this one, which tracks."),
    _rc(name="rc.near", arity=3, flags="readonly fast", handler=near, first_key=1, last_key=1, key_step=1,
        key_use=("RO access",), summary="Reads a key for a near cache, whose link is told when it changes."),
    _rc(name="rc.mnear", arity=-3, flags="readonly fast", handler=mnear, first_key=2, last_key=-1, key_step=1,
        key_use=("RO access",), complexity="O(N)",
        summary="Reads several keys for a near cache, whose link is told when one changes."),
    _rc(name="rc.fresh", arity=1, flags="loading stale fast", handler=fresh, categories="connection",
        summary="Returns how old what is read here may be."),
]
