"""One turn of a session's commands: the hot loop of the cache.

What lives here: what `ShardCore.execute` does for one command, once more, for many and for the plain
case: a session of which nothing special is known, a usual number of arguments, at most one key, and
that without a hash tag. In it a GET of a short string without expiry, and a plain SET, are written out,
because each call on the way to them costs as much as finding the entry. What does not live here: the
rules. Whatever is not plain goes to `execute`, and a test holds that both give the same replies and counters.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from raycache.resp.encode import CRLF, HEADERS, OK
from raycache.resp.parse import is_command
from raycache.ring.slots import SLOT_COUNT
from raycache.shard.commands import DISPATCH
from raycache.shard.commands.command import Command, Steps

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session
    from raycache.store import Entry

TURN_COMMANDS: Final = 256
"""How many commands one session has in one turn of the loop, some 0.2 ms of plain ones: then the others have theirs.
The iterator counts them, which costs a plain command nothing."""
TURN_COST: Final = 64 * 1024
"""What those of them that are not plain may cost: bytes of replies (they are joined and sent in one go) and
`ARGUMENT_COST` for each argument (a command's time grows with its keys)."""
ARGUMENT_COST: Final = 80
"""Some 800 arguments a turn, about 0.3 ms."""

_BRACE: Final = 0x7B
_SLOT_MASK: Final = SLOT_COUNT - 1
_GET: Final = DISPATCH[b"GET"]
_SET: Final = DISPATCH[b"SET"]
_SHORT: Final = len(HEADERS)
_find: Final = DISPATCH.get
_join: Final = b"".join


def run_turn(core: ShardCore, session: Session, commands: Iterator[Any], out: list[bytes]) -> Steps | bool:
    """Run one turn of a session's commands; their replies go to `out`.

    Args:
        commands: as `RequestParser.commands` gives them, unchecked.
    Returns:
        False when there are no more; True when the turn is over, or the session is to close, and more may
        be waiting in `commands`; the generator of a long command, for which all later ones must wait.
    Raises:
        one of `resp.parse.BROKEN`: what comes next is no command.
    """
    append = out.append
    store, owns_all, is_plain = core.store, core.owns_all, session.plain
    segments, mask, on_hits, on_update, wrote = store.hot
    found: list[Entry] = []
    session.last_ms = core.now_ms
    before = uncounted_from = len(out)
    empty = spent = sets = updates = 0
    command: Command | None = None
    try:
        for argv in islice(commands, TURN_COMMANDS):
            try:
                command = _find(argv[0])
            except (TypeError, LookupError):
                command = None  # no list, or an empty one: `is_command` below knows what that means
            if command is _GET:
                if is_plain and len(argv) == 2:
                    key = argv[1]
                    if type(key) is bytes and (
                        owns_all or (_BRACE not in key and core.owned[crc_hqx(key, 0) & _SLOT_MASK] == 1)
                    ):
                        entry = segments[hash(key) & mask].get(key)
                        if entry is not None and entry.timer is None:
                            value = entry.value
                            if type(value) is bytes and (size := len(value)) < _SHORT:
                                found.append(entry)
                                append(_join((HEADERS[size], value, CRLF)))
                                continue
            elif command is _SET and is_plain and len(argv) == 3:
                key, value = argv[1], argv[2]
                if (
                    type(key) is bytes and type(value) is bytes
                    and len(value) <= core.large_value_bytes and len(key) <= core.max_key_bytes
                    and (owns_all or (_BRACE not in key and core.owned[crc_hqx(key, 0) & _SLOT_MASK] == 1))
                ):
                    sets += 1
                    if found:  # before it may be evicted
                        on_hits(found)
                        found.clear()
                    entry = segments[hash(key) & mask].get(key)
                    if (
                        entry is not None and entry.timer is None and on_update is not None and not core.watched
                        and type(entry.value) is bytes and len(entry.value) == len(value)
                    ):
                        entry.value = value
                        entry.kind = 0
                        on_update(entry)
                        updates += 1
                        if wrote is None:
                            entry.version = 0
                        else:
                            wrote(entry)
                        append(OK)
                    else:
                        append(_set(core, key, value))
                    continue
            if not is_command(argv):
                empty += 1
                continue
            if len(out) > uncounted_from:  # the command may look at the counters, or reset them
                _count(core, len(out) - uncounted_from, sets, updates)
                sets = updates = 0
                uncounted_from = len(out)
                on_hits(found)
                found.clear()
            reply = core.execute(session, argv)
            if type(reply) is not bytes:
                return reply  # type: ignore[return-value]
            append(reply)
            uncounted_from += 1
            spent += len(reply) + len(argv) * ARGUMENT_COST
            if spent > TURN_COST or session.closing:
                return True
            is_plain = session.plain
            segments, mask, on_hits, on_update, wrote = store.hot  # it may have been FLUSHALL
        return len(out) - before + empty >= TURN_COMMANDS
    finally:
        if len(out) > uncounted_from:
            _count(core, len(out) - uncounted_from, sets, updates)
            session.command = command
            on_hits(found)
        if core.touched:
            core.take_writes(session)


def _set(core: ShardCore, key: bytes, value: bytes) -> bytes:
    """Store a short value without expiry, as SET does."""
    try:
        core.store.put(key, value, 0, None, core.now_ms)
    except Exception as error:
        return core.answer_failure(_SET, error)
    if core.watched:
        core.watch.touch(key)
    return OK


def _count(core: ShardCore, commands: int, sets: int, updates: int) -> None:
    """Count plain commands: those that were not SET were GETs that hit."""
    core.commands += commands
    stats = core.store.stats
    stats.hits += commands - sets
    stats.updates += updates
