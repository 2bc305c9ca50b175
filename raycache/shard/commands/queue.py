"""Writes that wait for a database: queueing them, and what the writer of a store asks for.

What lives here: RC.QUEUE, RC.PENDING, and for the writer RC.QUEUED, RC.DEQUEUE, RC.BURY, RC.DEADLETTERS, RC.REVIVE,
RC.DISCARD. What does not: the queue (`raycache.shard.queues`), who writes to a database (`raycache.stores`). No part of
Redis. A record goes by its key, see `raycache.ring.records`; whoever names one that has changed since is not heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from raycache.resp import encode
from raycache.resp.encode import NULLS, OK, ONE, ZERO
from raycache.ring.records import DEAD, QUEUED, parts_of, record_key
from raycache.shard.commands.access import LONG_KEYS, check_size, put, remove
from raycache.shard.commands.arguments import integer
from raycache.shard.commands.command import SYNTAX_ERROR, Command, Refusal, Reply, Steps
from raycache.shard.commands.handle import expires_ms_of, lifetime_of
from raycache.shard.commands.kinds import kind_of
from raycache.shard.records import Record, queued_ms_of, unpack, version_of

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.queues import StoreQueue
    from raycache.shard.session import Session
    from raycache.store import Entry

DELETION: Final = b"-"
"""In place of a kind: the key is to be deleted."""
MAX_REPLY_BYTES: Final = 1024 * 1024
"""Records that are handed out in one reply, at least one."""
_MAX_STORE_BYTES: Final = 64
_FULL: Final = "QUEUEFULL {} bytes of writes wait for the database, and {} are the limit: it is down or too slow"
_CLOSED: Final = "QUEUECLOSED the writer of this store is being stopped and takes no more"
_PER_WRITE: Final = 3


def queue(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.QUEUE store px kind key value [kind key value ...] -> OK.

    Writes or deletes keys here, as `px` and `kind` say ("-" deletes), and queues the same for the database of `store`,
    in the place of what was queued for the key before. All are refused together if they do not fit.
    """
    store, px = argv[1], lifetime_of(argv[2])
    if not 0 < len(store) <= _MAX_STORE_BYTES or b"\0" in store or len(argv) % _PER_WRITE:
        raise Refusal(SYNTAX_ERROR)
    if core.queues.of(store).is_closed:
        raise Refusal(_CLOSED)
    for at in range(3, len(argv), _PER_WRITE):
        if argv[at] != DELETION:
            kind_of(core, argv[at], argv[at + 2])
        check_size(core, argv[at + 1], len(argv[at + 2]))
    _check_room(core, store, argv)
    size = sum(map(len, argv))
    if len(argv) > _PER_WRITE * LONG_KEYS or size > core.large_value_bytes:
        return core.in_steps(session, _queue_steps(core, store, px, argv))
    for at in range(3, len(argv), _PER_WRITE):
        _queue(core, store, px, *argv[at : at + _PER_WRITE])
    return OK


def _check_room(core: ShardCore, store: bytes, argv: list[bytes]) -> None:
    pinned, growth = core.whole.pinned, 0
    for at in range(3, len(argv), _PER_WRITE):
        key = record_key(QUEUED, store, argv[at + 1])
        growth += pinned.charge(key, argv[at + 2])  # a record is some bytes longer
        if (entry := pinned.get(key)) is not None:
            growth -= pinned.charge(key, entry.value)
    if growth > 0 and pinned.bytes + growth > core.queues.limit_bytes:
        core.queues.refused += 1
        raise Refusal(_FULL.format(pinned.bytes, core.queues.limit_bytes))


def _queue_steps(core: ShardCore, store: bytes, px: int, argv: list[bytes]) -> Steps:
    for count, at in enumerate(range(3, len(argv), _PER_WRITE)):
        key, value = argv[at + 1], argv[at + 2]
        if len(value) > core.large_value_bytes:
            # Twice: once for the entry, once for the record.
            while core.store.reserve(key, range(2 * len(value)), core.now_ms):
                yield None
        _queue(core, store, px, argv[at], key, value)
        if count % LONG_KEYS == LONG_KEYS - 1 or len(value) > core.large_value_bytes:
            yield None
    return OK


def _queue(core: ShardCore, store: bytes, px: int, kind: bytes, key: bytes, value: bytes) -> None:
    """Write one key, and its record."""
    payload = None
    if kind == DELETION:
        remove(core, key)
    else:
        number = kind_of(core, kind, value)
        put(core, key, value, number, expires_ms_of(core, key, px))
        payload = bytes([number]) + value
    record, pinned = record_key(QUEUED, store, key), core.whole.pinned
    before = pinned.get(record)
    since_ms = core.now_ms if before is None else queued_ms_of(before.value)
    pinned.put(record, Record(core.next_version(), since_ms, payload).pack(), core.now_ms)


def pending(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.PENDING record [record ...] -> for each the payload that waits for the database, "" if it is to be deleted
    there, null if nothing waits."""
    found = []
    for key in argv[1:]:
        entry = core.whole.pinned.get(key)
        found.append(NULLS[session.protocol] if entry is None else encode.bulk(unpack(entry.value).payload or b""))
    return encode.array(found)


def queued(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.QUEUED store writer count [CLOSE] -> [record, version, queued-ms, payload or null] of the oldest that this
    shard is primary of. With CLOSE, nothing more is taken until some writer asks without, and the oldest of all that
    are here are handed out: while slots move, what waits may be where nobody serves it."""
    queue, count = _queue_for(core, argv[1], argv[2]), integer(argv[3])
    if len(argv) > 5 or (len(argv) == 5 and argv[4].upper() != b"CLOSE"):
        raise Refusal(SYNTAX_ERROR)
    queue.is_closed = len(argv) == 5
    keys = iter(queue.waiting) if queue.is_closed else core.slots.each_led(queue.waiting)
    rows = _some(queue.waiting, keys, count)
    return encode.array([_row(core, session, key, record) for key, record in rows])


def _queue_for(core: ShardCore, store: bytes, writer: bytes) -> StoreQueue:
    """Return the queue of `store` for a writer that is not older than any other that has asked."""
    queue, number = core.queues.of(store), integer(writer)
    if number < queue.writer:
        raise Refusal(f"FENCED writer {number} has been replaced by {queue.writer}")
    queue.writer = number
    return queue


def _some(entries: dict[bytes, Entry], keys: Iterator[bytes], count: int) -> Iterable[tuple[bytes, Record]]:
    """Yield the records of the first `keys`, as many as one reply may have."""
    size = 0
    for key in islice(keys, count):
        record = unpack(entries[key].value)
        size += len(record.payload or b"")
        yield key, record
        if size >= MAX_REPLY_BYTES:
            break


def _row(core: ShardCore, session: Session, key: bytes, record: Record) -> bytes:
    payload = NULLS[session.protocol] if record.payload is None else encode.bulk(record.payload)
    return encode.array([encode.bulk(key), encode.integer(record.version), encode.integer(record.queued_ms), payload])


def dequeue(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.DEQUEUE store writer record version [record version ...] -> how many were removed: those that still have that
    version."""
    _queue_for(core, argv[1], argv[2])
    if len(argv) % 2 != 1:
        raise Refusal(SYNTAX_ERROR)
    count = 0
    for at in range(3, len(argv), 2):
        entry = core.whole.pinned.get(argv[at])
        if entry is not None and version_of(entry.value) == integer(argv[at + 1]):
            core.unpin(entry)
            count += 1
    return encode.integer(count)


def bury(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.BURY store writer record version reason -> 1 if the record had that version and is a dead letter now, else 0.
    It takes the place of an older dead letter of its key."""
    _queue_for(core, argv[1], argv[2])
    entry = core.whole.pinned.get(argv[3])
    if entry is None or version_of(entry.value) != integer(argv[4]):
        return ZERO
    record, (_, store, key) = unpack(entry.value), parts_of(argv[3])
    core.whole.pinned.put(record_key(DEAD, store, key), replace(record, reason=argv[5]).pack(), core.now_ms)
    core.unpin(entry)
    return ONE


def dead_letters(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.DEADLETTERS store count -> [record, version, queued-ms, payload or null, reason] of those led here."""
    entries = core.queues.of(argv[1]).dead
    rows = []
    for key, record in _some(entries, core.slots.each_led(entries), integer(argv[2])):
        payload = NULLS[session.protocol] if record.payload is None else encode.bulk(record.payload)
        rows.append(encode.array([encode.bulk(key), encode.integer(record.version), encode.integer(record.queued_ms),
                                  payload, encode.bulk(record.reason)]))
    return encode.array(rows)


def revive(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.REVIVE dead-letter [dead-letter ...] -> how many wait again. One whose key has been written since is dropped:
    what was written later waits already, or is in the database."""
    count = 0
    for name in argv[1:]:
        entry = core.whole.pinned.get(name)
        if entry is None:
            continue
        record, (_, store, key) = replace(unpack(entry.value), reason=b""), _dead(name)
        waiting = record_key(QUEUED, store, key)
        if core.whole.pinned.get(waiting) is None:
            core.whole.pinned.put(waiting, record.pack(), core.now_ms)
            count += 1
        core.unpin(entry)
    return encode.integer(count)


def discard(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.DISCARD dead-letter [dead-letter ...] -> how many were there."""
    count = 0
    for name in argv[1:]:
        _dead(name)
        entry = core.whole.pinned.get(name)
        if entry is not None:
            core.unpin(entry)
            count += 1
    return encode.integer(count)


def _dead(name: bytes) -> tuple[bytes, bytes, bytes]:
    try:
        parts = parts_of(name)
    except ValueError as error:
        raise Refusal("ERR no dead letter has such a key") from error
    if parts[0] != DEAD:
        raise Refusal("ERR no dead letter has such a key")
    return parts


_rc = partial(Command, group="raycache", since="0.1.0")
_records = partial(_rc, flags="write", complexity="O(N)", key_use=("RW delete",))

COMMANDS = [
    _rc(name="rc.queue", arity=-6, flags="write denyoom", handler=queue, first_key=4, last_key=-1, key_step=3,
        key_use=("OW update",), complexity="O(N)", summary="Writes keys and queues the same for a database."),
    _rc(name="rc.pending", arity=-2, flags="readonly", handler=pending, first_key=1, last_key=-1, key_step=1,
        key_use=("RO access",), complexity="O(N)", summary="Returns what waits for a database."),
    _rc(name="rc.queued", arity=-4, flags="admin", handler=queued, complexity="O(N)",
        summary="Returns the writes that have waited longest for a database."),
    _records(name="rc.dequeue", arity=-5, handler=dequeue, first_key=3, last_key=-1, key_step=2,
             summary="Removes writes that the database has."),
    _records(name="rc.bury", arity=6, handler=bury, first_key=3, last_key=-3, key_step=1,
             summary="Makes a dead letter of a write that the database refuses."),
    _rc(name="rc.deadletters", arity=3, flags="admin", handler=dead_letters, complexity="O(N)",
        summary="Returns writes that a database has refused."),
    _records(name="rc.revive", arity=-2, handler=revive, first_key=1, last_key=-1, key_step=1,
             summary="Lets dead letters wait for the database again."),
    _records(name="rc.discard", arity=-2, handler=discard, first_key=1, last_key=-1, key_step=1,
             summary="Forgets dead letters."),
]
