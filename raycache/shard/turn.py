"""One turn of a session's commands: the hot loop of the cache.

What lives here: what `ShardCore.execute` does for one command, once more, for many and for the plain
case: a session of which nothing special is known, a usual number of arguments, at most one key, and
that without a hash tag. In it a GET (RC.GET, too) of a short string, or of none, and a plain SET are written out,
because each call on the way to them costs as much as finding the entry. What does not live here: the rules.
Whatever is not plain goes to `execute`, and a test holds that both give the same replies and counters.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from raycache.resp.encode import CRLF, HEADERS, LED_HEADERS, NULLS, OK
from raycache.resp.parse import NO_MORE, is_command
from raycache.resp.runs import Run
from raycache.ring.slots import SLOT_COUNT
from raycache.shard.ahead import run_ahead
from raycache.shard.commands import DISPATCH
from raycache.shard.commands.command import Command, Steps
from raycache.shard.commands.handle import KIND_BYTES
from raycache.store.entry import KIND_BITS, KIND_MASK

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session
    from raycache.store import Entry

TURN_COMMANDS: Final = 256
"""How many commands one session has in one turn of the loop, some 0.1 ms of plain ones: then the others have theirs."""
TURN_COST: Final = 64 * 1024
"""What those of them that are not plain may cost: bytes of replies (they are joined and sent in one go) and
`ARGUMENT_COST` for each argument (a command's time grows with its keys)."""
ARGUMENT_COST: Final = 80
"""Some 800 arguments a turn, about 0.3 ms."""

_TURN: Final = (None,) * TURN_COMMANDS  # a range would have to be made for each turn
_BRACE: Final = 0x7B
_SLOT_MASK: Final = SLOT_COUNT - 1
GET: Final = DISPATCH[b"GET"]
RC_GET: Final = DISPATCH[b"RC.GET"]
SET: Final = DISPATCH[b"SET"]
_SHORT: Final = len(HEADERS) - 1  # RC.GET's replies have one byte more


def run_turn(core: ShardCore, session: Session, take: Callable[[], Any], out: list[bytes]) -> Steps | bool:
    """Run one turn of a session's commands; their replies go to `out`, to be joined: one may take several pieces.

    Args:
        take: gives the commands, as `RequestParser.start` does, unchecked.
    Returns:
        False when there are no more; True when the turn is over, or the session is to close, and more may
        be waiting; the generator of a long command, for which all later ones must wait.
    Raises:
        one of `resp.parse.BROKEN`: what comes next is no command.
    """
    if type(take) is Run:
        is_more = run_ahead(core, session, take, out, TURN_COMMANDS, _settle)
        if is_more is not None:
            return is_more
        take = take.take()
    append = out.append
    store, owns_all, is_plain, now_ms = core.store, core.owns_all, session.plain, core.now_ms
    large_bytes = core.large_value_bytes
    segments, mask, on_hits, on_update, is_use, wrote, lookups = store.hot
    used: list[Entry] = []  # what was read (and overwritten, where that counts as much), for the policy
    use = used.append
    session.last_ms = now_ms
    headers = HEADERS  # while values follow each other, each header brings the line break of the value before it
    spent = misses = sets = updates = rc_gets = 0
    command: Command | None = None
    try:
        for _ in _TURN:
            argv = take()
            if argv is NO_MORE:
                return False
            try:
                argc, name = len(argv), argv[0]
            except (TypeError, LookupError):
                argc = 0  # no list, or an empty one: `is_command` below knows what that means
            if argc == 2 and is_plain and (
                (is_get := name == b"GET") or name == b"RC.GET" or (is_get := name == b"get")
            ):
                key = argv[1]
                if type(key) is bytes and (
                    owns_all or (_BRACE not in key and core.owned[crc_hqx(key, 0) & _SLOT_MASK] == 1)
                ):
                    entry = lookups[hash(key) & mask].get(key)
                    if entry is None:
                        if len(key) <= core.max_key_bytes:
                            misses += 1
                            if is_get:
                                command = GET
                            else:
                                command = RC_GET
                                rc_gets += 1
                            if headers is LED_HEADERS:
                                append(CRLF)
                                headers = HEADERS
                            append(NULLS[session.protocol])
                            continue
                    elif (timer := entry.timer) is None or timer > now_ms:
                        value = entry.value
                        if type(value) is bytes and (size := len(value)) < _SHORT:
                            use(entry)
                            if is_get:
                                command = GET
                                append(headers[size])
                            else:
                                command = RC_GET
                                rc_gets += 1
                                append(headers[size + 1])
                                append(KIND_BYTES[entry.stamp & KIND_MASK])
                            append(value)
                            headers = LED_HEADERS
                            continue
            elif argc == 3 and is_plain and (name == b"SET" or name == b"set"):
                _, key, value = argv
                if (
                    type(key) is bytes and type(value) is bytes and (size := len(value)) <= large_bytes
                    and (owns_all or (_BRACE not in key and core.owned[crc_hqx(key, 0) & _SLOT_MASK] == 1))
                ):
                    command = SET
                    if headers is LED_HEADERS:
                        append(CRLF)
                        headers = HEADERS
                    entry = segments[hash(key) & mask].get(key)
                    if (
                        entry is not None and entry.timer is None and on_update is not None
                        and len(entry.value) == size and not core.watched
                    ):
                        entry.value = value
                        if is_use:
                            updates += 1
                            use(entry)
                        else:
                            if used:  # in their order
                                _settle(core, on_hits, used)
                            on_update(entry)
                            sets += 1
                            store.stats.updates += 1
                        if wrote is None:
                            entry.stamp = 0
                        else:
                            entry.stamp = entry.stamp >> KIND_BITS << KIND_BITS
                            wrote(entry)
                        append(OK)
                        continue
                    if len(key) <= core.max_key_bytes:
                        if used:  # before one of them may be evicted
                            _settle(core, on_hits, used, updates)
                            updates = 0
                        sets += 1
                        append(_set(core, key, value))
                        continue
            if not is_command(argv):
                continue
            if headers is LED_HEADERS:
                append(CRLF)
                headers = HEADERS
            if used or sets or misses:  # the command may look at the counters, or reset them
                _settle(core, on_hits, used, updates, sets, misses)
                core.rc_gets += rc_gets
                misses = sets = updates = rc_gets = 0
            reply = core.execute(session, argv)
            command = None
            if type(reply) is not bytes:
                session.long_argv = argv
                return reply  # type: ignore[return-value]
            append(reply)
            spent += len(reply) + len(argv) * ARGUMENT_COST
            if spent > TURN_COST or session.closing:
                return True
            is_plain, owns_all = session.plain, core.owns_all
            segments, mask, on_hits, on_update, is_use, wrote, lookups = store.hot  # it may have been FLUSHALL
        return True
    finally:
        if headers is LED_HEADERS:
            append(CRLF)
        if command is not None:
            session.command = command
            # `_settle` written out: most turns have one command.
            stats = store.stats
            stats.hits += len(used) - updates
            stats.misses += misses
            stats.updates += updates
            core.plain += len(used) + misses + sets
            if sets or updates:
                core.sets += sets + updates
            if used:
                on_hits(used)
            if rc_gets:
                core.rc_gets += rc_gets
        if core.touched:
            core.take_writes(session)


def _set(core: ShardCore, key: bytes, value: bytes) -> bytes:
    """Store a short value without expiry, as SET does."""
    try:
        core.store.put(key, value, 0, None, core.now_ms)
    except Exception as error:
        return core.answer_failure(SET, error)
    if core.watched:
        core.watch.touch(key)
    return OK


def _settle(core: ShardCore, on_hits: Callable[[list[Entry]], None], used: list[Entry], updates: int = 0,
            sets: int = 0, misses: int = 0) -> None:
    """Tell the policy what was used, and count plain commands.

    Args:
        used: what was found by GETs or overwritten by SETs; is empty afterwards.
        updates: how many of them were overwritten.
        sets: how many other SETs there were.
        misses: how many GETs found nothing.
    """
    stats = core.store.stats
    stats.hits += len(used) - updates
    stats.misses += misses
    stats.updates += updates
    core.plain += len(used) + misses + sets
    core.sets += sets + updates
    if used:
        on_hits(used)
        used.clear()
