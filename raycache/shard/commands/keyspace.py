"""All keys of a shard: walking over them, counting, dropping them.

What lives here: SCAN, KEYS, RANDOMKEY, DBSIZE, FLUSHDB and FLUSHALL. Each speaks of this shard
only; the gateway joins the answers of all.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from raycache.resp import encode
from raycache.resp.encode import NULLS, OK
from raycache.ring.slots import bitmap_of
from raycache.shard.commands.arguments import integer
from raycache.shard.commands.command import SYNTAX_ERROR, Command, Refusal, Reply, Steps
from raycache.shard.commands.glob import matcher
from raycache.shard.commands.keys import TYPE_NAMES

if TYPE_CHECKING:
    from raycache.replication.copies import Copies
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

SCAN_COUNT: Final = 10
MAX_SCAN_COUNT: Final = 1000
"""Most entries one call looks at, whatever COUNT asks for: COUNT is a hint, and the loop must not stop."""
_STEP: Final = 500
_CURSOR: Final = re.compile(rb"(?:[+-]?[0-9]{1,25})?")
_MAX_CURSOR: Final = (1 << 64) - 1


def scan_cursor(text: bytes) -> int:
    """Return a SCAN cursor, read as C's strtoul reads it: nothing is 0, and below 0 it wraps around.

    Raises:
        Refusal: it is none.
    """
    if not _CURSOR.fullmatch(text) or abs(int(text or b"0")) > _MAX_CURSOR:
        raise Refusal("ERR invalid cursor")
    return int(text or b"0") & _MAX_CURSOR


def scan(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]."""
    cursor = scan_cursor(argv[1])
    count, wanted = _scan_options(argv[2:])
    cursor, keys = core.store.scan(cursor, min(count, MAX_SCAN_COUNT), core.now_ms)
    found = [key for key in core.slots.led(keys) if wanted(core, key)]
    return encode.array([encode.bulk(b"%d" % cursor), encode.bulks(found)])


def _scan_options(words: list[bytes]) -> tuple[int, Callable[[ShardCore, bytes], bool]]:
    """Return SCAN's count, and its filter."""
    count, pattern, type_name = SCAN_COUNT, b"*", b""
    rest = iter(words)
    for word in rest:
        name, value = word.upper(), next(rest, None)
        if name == b"COUNT" and value is not None:
            count = integer(value)
            if count < 1:
                raise Refusal(SYNTAX_ERROR)
        elif name == b"MATCH" and value is not None:
            pattern = value
        elif name == b"TYPE" and value is not None:
            type_name = value.lower()
        else:
            raise Refusal(SYNTAX_ERROR)
    return count, partial(_is_wanted, matcher(pattern) if pattern != b"*" else None, type_name)


def _is_wanted(matches: Callable[[bytes], object] | None, type_name: bytes, core: ShardCore, key: bytes) -> bool:
    if matches is not None and not matches(key):
        return False
    if not type_name:
        return True
    entry = core.store.peek(key, core.now_ms)
    return entry is not None and TYPE_NAMES[type(entry.value)] == type_name


def keys(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """KEYS pattern: in steps, so keys that come or go meanwhile may be missing or reported."""
    return core.in_steps(session, _keys_steps(core, matcher(argv[1])))


def _keys_steps(core: ShardCore, matches: Callable[[bytes], object]) -> Steps:
    # Encoded as they come: a million keys in one dict or list, to be joined in the end, stop the loop for 100 ms.
    count, parts, cursor = 0, [b""], 0
    while True:
        cursor, batch = core.store.scan(cursor, _STEP, core.now_ms)
        if found := [encode.bulk(key) for key in core.slots.led(batch) if matches(key)]:
            count += len(found)
            parts.append(b"".join(found))
        if cursor == 0:
            break
        yield None
    parts[0] = b"*%d\r\n" % count
    return b"".join(parts)


def encoded_in_steps(found: list[bytes]) -> Steps:
    """Return an array of bulk strings, built in steps."""
    parts = [b"*%d\r\n" % len(found)]
    for start in range(0, len(found), _STEP):
        parts.append(b"".join([encode.bulk(key) for key in found[start : start + _STEP]]))
        yield None
    return b"".join(parts)


def randomkey(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RANDOMKEY."""
    entry = core.store.random_entry(core.rng, core.now_ms)
    return encode.bulk(entry.key) if entry is not None else NULLS[session.protocol]


def dbsize(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """DBSIZE."""
    return encode.integer(len(core.store))


def flush(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """FLUSHDB or FLUSHALL [ASYNC | SYNC]: done at once, and freed in steps, either way."""
    if len(argv) > 2 or (len(argv) == 2 and argv[1].upper() not in (b"ASYNC", b"SYNC")):
        raise Refusal(SYNTAX_ERROR)
    cleared = clear(core, session, argv[:1])
    return OK if isinstance(cleared, bytes) else _then_ok(cleared)


def _then_ok(steps: Steps) -> Steps:
    yield from steps
    return OK


def clear(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.CLEAR -> how many keys there were; with copies only those that this shard is primary of count."""
    if core.watched:
        core.watch.touch_all(core.now_ms)
    if core.replicator is not None and core.replicator.is_versioned:
        return _clear_copies(core, core.replicator.copies)
    if core.replicator is not None:
        core.replicator.transfers.abandon()
    return encode.integer(core.store.clear())


def _clear_copies(core: ShardCore, copies: Copies) -> Steps:
    """Clear the slots that are served here, at the other owners, too."""
    slots = [slot for slot, how in enumerate(core.owned) if how]
    copies.clear(slots, bitmap_of(slots))
    cursor = count = 0
    while True:
        cursor, keys = core.store.scan(cursor, _STEP, core.now_ms)
        count += copies.sweep(core.slots.led(keys))
        copies.sweep(keys)
        if cursor == 0:
            return encode.integer(count)
        yield None


_all = partial(Command, tips=("request_policy:all_shards", "nondeterministic_output"))
_flush = partial(Command, arity=-1, flags="write", handler=flush, group="server", categories="keyspace dangerous",
                 tips=("request_policy:all_shards", "response_policy:all_succeeded"))

COMMANDS = [
    Command(name="scan", arity=-2, flags="readonly", handler=scan, group="generic", since="2.8.0",
            complexity="O(COUNT)",
            tips=("nondeterministic_output", "request_policy:special"),
            summary="Walks over the keys of this shard, some at a time."),
    Command(name="keys", arity=2, flags="readonly", handler=keys, group="generic", complexity="O(N)",
            categories="keyspace dangerous",
            tips=("request_policy:all_shards", "nondeterministic_output_order"),
            summary="Returns all keys that match a pattern."),
    _all(name="randomkey", arity=1, flags="readonly", handler=randomkey, group="generic", summary="Returns some key."),
    Command(name="dbsize", arity=1, flags="readonly fast", handler=dbsize, group="server", categories="keyspace",
            tips=("request_policy:all_shards", "response_policy:agg_sum"), summary="Returns the number of keys."),
    _flush(name="flushdb", summary="Deletes every key."),
    _flush(name="flushall", summary="Deletes every key."),
    _all(name="rc.clear", arity=1, flags="write", handler=clear, group="server", categories="keyspace dangerous",
         summary="Deletes every key and returns how many there were."),
]
