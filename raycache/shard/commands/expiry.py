"""When keys expire: asking and changing it.

What lives here: EXPIRE, TTL and their relatives. All times are kept as unix milliseconds; a key is
live while now < expires.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from raycache.resp import encode
from raycache.resp.encode import ONE, ZERO
from raycache.shard.commands.access import peek, remove
from raycache.shard.commands.arguments import INT64_MAX, INT64_MIN, integer, invalid_expire
from raycache.shard.commands.command import Command, Handler, Refusal

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session


def _expire(name: str, unit_ms: int, *, relative: bool) -> Handler:
    """Return the handler of EXPIRE or one of its relatives."""

    def handler(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
        words = _conditions(argv[3:])
        amount = integer(argv[2])
        expires_ms = amount * unit_ms
        if INT64_MIN <= expires_ms <= INT64_MAX and relative:
            expires_ms += core.now_ms
        if not INT64_MIN <= expires_ms <= INT64_MAX:
            raise invalid_expire(name)
        entry = peek(core, argv[1])
        if entry is None or not _allowed(words, entry.expires_ms, expires_ms):
            return ZERO
        if expires_ms <= core.now_ms:
            remove(core, argv[1])
        else:
            core.store.set_expiry(entry, expires_ms)
            if core.watched:
                core.watch.touch(argv[1])
        return ONE

    return handler


def _conditions(words: list[bytes]) -> set[bytes]:
    """Return EXPIRE's conditions, checked against each other."""
    names = set()
    for word in words:
        if word.upper() not in (b"NX", b"XX", b"GT", b"LT"):
            raise Refusal(b"ERR Unsupported option " + word)
        names.add(word.upper())
    if b"NX" in names and len(names) > 1:
        raise Refusal("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"GT", b"LT"} <= names:
        raise Refusal("ERR GT and LT options at the same time are not compatible")
    return names


def _allowed(words: set[bytes], current_ms: int | None, expires_ms: int) -> bool:
    """Return whether the conditions hold. No expiry counts as an infinite one."""
    if b"NX" in words and current_ms is not None:
        return False
    if b"XX" in words and current_ms is None:
        return False
    if b"GT" in words and (current_ms is None or expires_ms <= current_ms):
        return False
    return not (b"LT" in words and current_ms is not None and expires_ms >= current_ms)


def _asking(answer: Callable[[int, int], int]) -> Handler:
    """Return the handler of a question about a key's expiry: -2 without the key, -1 without an expiry."""

    def handler(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
        entry = peek(core, argv[1])
        if entry is None:
            return encode.integer(-2)
        expires_ms = entry.expires_ms
        return encode.integer(-1 if expires_ms is None else answer(expires_ms, core.now_ms))

    return handler


def persist(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """PERSIST key: it never expires."""
    entry = peek(core, argv[1])
    if entry is None or entry.expires_ms is None:
        return ZERO
    core.store.set_expiry(entry, None)
    if core.watched:
        core.watch.touch(argv[1])
    return ONE


# Seconds are rounded to the nearest, as Redis does: a fresh `EXPIRE k 10` is asked back as 10.
_ttl = _asking(lambda expires_ms, now_ms: (expires_ms - now_ms + 500) // 1000)
_pttl = _asking(lambda expires_ms, now_ms: expires_ms - now_ms)
_expiretime = _asking(lambda expires_ms, now_ms: (expires_ms + 500) // 1000)
_pexpiretime = _asking(lambda expires_ms, now_ms: expires_ms)

_key = partial(Command, group="generic", first_key=1, last_key=1, key_step=1)
_set = partial(_key, arity=-3, flags="write fast", key_use=("RW update",))
_ask = partial(_key, arity=2, flags="readonly fast", key_use=("RO access",))
_CHANGING = ("nondeterministic_output",)

COMMANDS = [
    _set(name="expire", handler=_expire("expire", 1000, relative=True),
         summary="Lets a key expire after so many seconds."),
    _set(name="pexpire", handler=_expire("pexpire", 1, relative=True), since="2.6.0",
         summary="Lets a key expire after so many milliseconds."),
    _set(name="expireat", handler=_expire("expireat", 1000, relative=False), since="1.2.0",
         summary="Lets a key expire at a time in unix seconds."),
    _set(name="pexpireat", handler=_expire("pexpireat", 1, relative=False), since="2.6.0",
         summary="Lets a key expire at a time in unix milliseconds."),
    _ask(name="ttl", handler=_ttl, tips=_CHANGING, summary="Returns the seconds until a key expires."),
    _ask(name="pttl", handler=_pttl, tips=_CHANGING, since="2.6.0",
         summary="Returns the milliseconds until a key expires."),
    _ask(name="expiretime", handler=_expiretime, since="7.0.0", summary="Returns when a key expires, in unix seconds."),
    _ask(name="pexpiretime", handler=_pexpiretime, since="7.0.0",
         summary="Returns when a key expires, in unix milliseconds."),
    _key(name="persist", arity=2, flags="write fast", handler=persist, key_use=("RW update",), since="2.2.0",
         summary="Takes the expiry from a key."),
]
