"""Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.

What lives here: opening, running and dropping a transaction. What does not: queueing, which is part
of dispatch (`raycache.shard.core`), and who watches what (`raycache.shard.watch`).

EXEC runs its commands without a pause, long ones included: nobody sees a half-done transaction.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from raycache.resp import encode
from raycache.resp.encode import NULL_ARRAYS, OK
from raycache.shard.careful import run_carefully
from raycache.shard.commands.access import refuse_key, run_whole
from raycache.shard.commands.command import Command, Refusal, Reply
from raycache.shard.commands.timed import timed

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

MAX_WATCHED: Final = 1024
"""Keys that one connection watches: EXEC looks at all of them in one go, and no budget counts them."""
_EXECABORT: Final = encode.error("EXECABORT Transaction discarded because of previous errors.")


def multi(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """MULTI."""
    if session.multi is not None:
        raise Refusal("ERR MULTI calls can not be nested")
    session.multi, session.multi_error, session.multi_bytes = [], False, 0
    session.refresh()
    return OK


def exec_(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """EXEC."""
    queued, failed = session.multi, session.multi_error
    if queued is None:
        raise Refusal("ERR EXEC without MULTI")
    intact = core.watch.is_intact(session, core.now_ms)
    core.watch.forget(session)
    session.end_transaction()
    if failed:
        return _EXECABORT
    if not intact:
        return NULL_ARRAYS[session.protocol]
    if not core.owns_all:  # slots may have moved since the commands were queued
        keys = [key for command, words in queued for key in command.keys(words)]
        if not core.slots.are_plain(keys):
            if (refusal := core.slots.check(keys)) is not None:
                return refusal
            return run_carefully(core, session, _EXEC, argv, keys, partial(_run_all, core, session, queued))
    return _run_all(core, session, queued)


def _run_all(core: ShardCore, session: Session, queued: list[tuple[Command, list[bytes]]]) -> bytes:
    return encode.array([_whole(core, session, command, words) for command, words in queued])


def _whole(core: ShardCore, session: Session, command: Command, argv: list[bytes]) -> bytes:
    session.command = command
    if session.rights is not None and (denied := core.guard.refusal(session, command, argv)) is not None:
        return core.counted_error(denied)  # its rights have changed since the command was queued
    reply = core.run(session, command, argv)
    if isinstance(reply, bytes):
        return reply
    whole = timed(lambda *_: run_whole(reply))(core, session, argv)
    assert isinstance(whole, bytes)
    return whole


def discard(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """DISCARD."""
    if session.multi is None:
        raise Refusal("ERR DISCARD without MULTI")
    core.watch.forget(session)
    session.end_transaction()
    return OK


def watch(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """WATCH key [key ...]: the next EXEC runs only if none of them has changed."""
    if session.multi is not None:
        raise Refusal("ERR WATCH inside MULTI is not allowed")
    if len(session.watched) + len(argv) - 1 > MAX_WATCHED:
        raise Refusal(f"ERR too many watched keys, at most {MAX_WATCHED}")
    for key in argv[1:]:
        if len(key) > core.max_key_bytes:
            refuse_key(core, key)
    for key in argv[1:]:
        core.watch.watch(session, key, core.now_ms)
    return OK


def unwatch(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """UNWATCH."""
    core.watch.forget(session)
    return OK


_tx = partial(Command, group="transactions", categories="transaction")

_EXEC = Command(name="exec", arity=1, flags="write", handler=exec_, group="transactions", summary="")
"""EXEC where it waits for other shards, as a write of all its keys."""

COMMANDS = [
    _tx(name="multi", arity=1, flags="noscript loading stale fast allow_busy", handler=multi, since="1.2.0",
        summary="Opens a transaction: commands are queued until EXEC."),
    _tx(name="exec", arity=1, flags="noscript loading stale skip_slowlog", handler=exec_, since="1.2.0",
        complexity="Depends on the commands.", summary="Runs the queued commands as one."),
    _tx(name="discard", arity=1, flags="noscript loading stale fast allow_busy", handler=discard, since="2.0.0",
        complexity="O(N)", summary="Drops the queued commands."),
    _tx(name="watch", arity=-2, flags="noscript loading stale fast allow_busy", handler=watch, since="2.2.0",
        complexity="O(N)",
        first_key=1, last_key=-1, key_step=1, key_use=("RO",),
        summary="Lets EXEC run only if these keys stay as they are."),
    _tx(name="unwatch", arity=1, flags="noscript loading stale fast allow_busy", handler=unwatch, since="2.2.0",
        complexity="O(N)", summary="Watches nothing any more."),
]
