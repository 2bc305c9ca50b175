"""One turn of a session's commands: the hot loop of the cache.

What lives here: what `ShardCore.execute` does for one command, once more, for many and for the plain
case: a session of which nothing special is known, a usual number of arguments, at most one key, and
that without a hash tag. In it a GET of a short string without expiry, and a plain SET, are written out,
because each call on the way to them costs as much as finding the entry: a GET took 1.0 us through
handler and store, and takes 0.75 us here. What does not live here: the rules. Whatever is not plain goes
to `execute`, and a test holds that both give the same replies and counters.
"""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from raycache.errors import ProtocolError
from raycache.resp.encode import CRLF, HEADERS, OK
from raycache.resp.parse import NOT_BULK, is_command
from raycache.shard.commands import DISPATCH
from raycache.shard.commands.command import Command, Steps

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

TURN_COST: Final = 64 * 1024
"""What one session's commands may cost in one turn of the loop: bytes of replies (they are joined and sent in
one go) and `ARGUMENT_COST` for each argument (a command's time grows with its keys)."""
ARGUMENT_COST: Final = 80
"""Some 800 arguments a turn, about 0.3 ms of plain commands: then the others have their turn."""

_BRACE: Final = 0x7B
_SLOT_MASK: Final = 16383
_GET: Final = DISPATCH[b"GET"]
_SET: Final = DISPATCH[b"SET"]
_GET_COST: Final = 2 * ARGUMENT_COST
_SET_COST: Final = 3 * ARGUMENT_COST + len(OK)
_SHORT: Final = len(HEADERS)


def run_turn(core: ShardCore, session: Session, commands: Iterator[Any], out: list[bytes]) -> Steps | bool:
    """Run commands until a turn is over; their replies go to `out`. See `ShardCore.execute_many`."""
    find, append, join = DISPATCH.get, out.append, b"".join
    owns_all, owned, now_ms = core.owns_all, core.owned, core.now_ms
    store = core.store
    watched, most_key, most_value = core.watched, core.max_key_bytes, core.large_value_bytes
    segments, mask, on_hit, on_update = store.hot
    spent = plain = hits = updates = 0
    command: Command | None = None
    session.last_ms = now_ms
    try:
        for argv in commands:
            if (type(argv) is not list or not argv or type(argv[0]) is not bytes) and not is_command(argv):
                continue
            command = find(argv[0])
            argc = len(argv)
            if (command is _GET or command is _SET) and argc == command.usual_argc and session.plain:
                key = argv[1]
                if type(key) is bytes and (
                    owns_all or (_BRACE not in key and owned[crc_hqx(key, 0) & _SLOT_MASK])
                ):
                    if argc == 2:
                        entry = segments[hash(key) & mask].get(key)
                        if entry is not None and entry.timer is None:
                            value = entry.value
                            if type(value) is bytes and (size := len(value)) < _SHORT:
                                hits += 1
                                plain += 1
                                on_hit(entry)
                                append(join((HEADERS[size], value, CRLF)))
                                spent += _GET_COST + size
                                if spent > TURN_COST:
                                    return True
                                continue
                    elif type(value := argv[2]) is bytes and len(value) <= most_value and len(key) <= most_key:
                        plain += 1
                        entry = segments[hash(key) & mask].get(key)
                        if (
                            entry is not None and entry.timer is None and on_update is not None and not watched
                            and type(entry.value) is bytes and len(entry.value) == len(value)
                        ):
                            entry.value = value
                            entry.kind = entry.version = 0
                            on_update(entry)
                            updates += 1
                            append(OK)
                        else:
                            append(_set(core, key, value))
                        spent += _SET_COST
                        if spent > TURN_COST:
                            return True
                        continue
            for argument in argv:
                if type(argument) is not bytes:
                    raise ProtocolError(NOT_BULK)
            if plain:  # the command may look at the counters, or reset them
                _count(core, plain, hits, updates)
                plain = hits = updates = 0
            reply = core.execute(session, argv)
            if type(reply) is not bytes:
                return reply  # type: ignore[return-value]
            append(reply)
            spent += len(reply) + argc * ARGUMENT_COST
            if spent > TURN_COST or session.closing:
                return True
            segments, mask, on_hit, on_update = store.hot  # it may have been FLUSHALL
        return False
    finally:
        if plain:
            _count(core, plain, hits, updates)
            session.command = command


def _set(core: ShardCore, key: bytes, value: bytes) -> bytes:
    """Store a short value without expiry, as SET does."""
    try:
        core.store.put(key, value, 0, None, core.now_ms)
    except Exception as error:
        return core.answer_failure(_SET, error)
    if core.watched:
        core.watch.touch(key)
    return OK


def _count(core: ShardCore, commands: int, hits: int, updates: int) -> None:
    core.commands += commands
    stats = core.store.stats
    stats.hits += hits
    stats.updates += updates
