"""The commands behind warming: filling without overwriting, copying entries as they are, the hottest keys, recording.

What lives here: RC.MADD, RC.PRESENT, RC.MPEEK, RC.HOTTEST, RC.RECORD. What does not: which order a policy keeps
(`raycache.store.policies`), what is recorded (`raycache.shard.recording`), the pace of it all (`raycache.warming`).
None of them counts as a use of an entry: looking at a cache must not change what it evicts.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import msgpack

from raycache.resp import encode
from raycache.resp.encode import NULLS, OK, ONE, ZERO
from raycache.shard.commands.access import LONG_KEYS, check_size, fetched_of, in_chunks, peek, put, sent
from raycache.shard.commands.arguments import integer
from raycache.shard.commands.command import SYNTAX_ERROR, Command, Refusal, Reply, Steps
from raycache.shard.commands.keyspace import encoded_in_steps
from raycache.shard.commands.kinds import check_pickle
from raycache.shard.commands.whole import with_whole
from raycache.shard.recording import MAX_EVENTS, Recording

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session
    from raycache.store import Entry

MAX_HOTTEST: Final = 100_000
"""Most keys of one RC.HOTTEST: what is colder, a scan finds as well."""
_LEAST_LEASE_MS: Final = 100
_MOST_LEASE_MS: Final = 60_000
_FALL_BACK: Final = 32
_KINDS: Final = {b"%d" % kind: kind for kind in range(256)}


def madd(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.MADD key kind px value [key kind px value ...] -> for each: 1 if it was stored, 0 if the key was there."""
    if len(argv) % 4 != 1:
        raise Refusal("ERR wrong number of arguments for 'rc.madd' command")
    for at in range(1, len(argv), 4):
        if argv[at + 1] not in _KINDS:
            raise Refusal("ERR kind must be 0 to 255")
        check_pickle(core, _KINDS[argv[at + 1]], argv[at + 3])
        if integer(argv[at + 2]) < 0:
            raise Refusal("ERR px must be positive, or 0 for no expiry")
        check_size(core, argv[at], len(argv[at + 3]))
    if len(argv) > 4 * LONG_KEYS or sum(map(len, argv)) > core.large_value_bytes:
        return core.in_steps(session, _madd_steps(core, argv))
    return encode.array([_add(core, argv, at) for at in range(1, len(argv), 4)])


def _madd_steps(core: ShardCore, argv: list[bytes]) -> Steps:
    replies: list[bytes] = []
    written_bytes = count = 0
    for at in range(1, len(argv), 4):
        key, value = argv[at], argv[at + 3]
        if len(value) > core.large_value_bytes and peek(core, key) is None:
            while core.store.reserve(key, value, core.now_ms):
                yield None
        replies.append(_add(core, argv, at))
        written_bytes, count = written_bytes + len(value), count + 1
        if count == LONG_KEYS or written_bytes > core.large_value_bytes:
            written_bytes = count = 0
            yield None
    return encode.array(replies)


def _add(core: ShardCore, argv: list[bytes], at: int) -> bytes:
    key, kind, px, value = argv[at : at + 4]
    if peek(core, key) is not None:
        return ZERO
    lifetime_ms = int(px)
    number = _KINDS[kind]
    put(core, key, sent(core, key, value, number), number, core.now_ms + lifetime_ms if lifetime_ms else None)
    return ONE


def present(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.PRESENT key [key ...] -> 1 or 0 for each."""
    if len(argv) > LONG_KEYS + 1:
        return core.in_steps(session, _present_steps(core, argv[1:]))
    return encode.array([_is_present(core, key) for key in argv[1:]])


def _present_steps(core: ShardCore, keys: list[bytes]) -> Steps:
    replies: list[bytes] = []
    for chunk in in_chunks(keys):
        replies += [_is_present(core, key) for key in chunk]
        yield None
    return encode.array(replies)


def _is_present(core: ShardCore, key: bytes) -> bytes:
    return ONE if peek(core, key) is not None else ZERO


def mpeek(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.MPEEK key [key ...] -> for each: [payload, milliseconds to live or 0 for ever], or null."""
    if len(argv) > LONG_KEYS + 1:
        return core.in_steps(session, _mpeek_steps(core, session, argv[1:]))
    return encode.array(_peeked_all(core, session, argv[1:]))


def _mpeek_steps(core: ShardCore, session: Session, keys: list[bytes]) -> Steps:
    replies: list[bytes] = []
    for chunk in in_chunks(keys):
        replies += yield from with_whole(core, chunk, partial(_peeked_all, core, session, chunk))
        yield None
    return encode.array(replies)


def _peeked_all(core: ShardCore, session: Session, keys: list[bytes]) -> list[bytes]:
    return [_peeked(core, session, key) for key in keys]


def _peeked(core: ShardCore, session: Session, key: bytes) -> bytes:
    entry = peek(core, key)
    if entry is None:
        return NULLS[session.protocol]
    timer = entry.timer
    left_ms = 0 if timer is None else timer.expires_ms - core.now_ms
    kind, value = fetched_of(entry)
    payload = encode.bulk(bytes([kind]) + value)
    return encode.array([payload, encode.integer(left_ms)])


def hottest(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.HOTTEST count -> [1, keys], the last to be evicted first; [0, []] where the policy knows nothing of use."""
    count = integer(argv[1])
    if count < 1:
        raise Refusal(SYNTAX_ERROR)
    if not core.store.policy.knows_use:
        return encode.array([ZERO, encode.array([])])
    return core.in_steps(session, _hottest_steps(core, min(count, MAX_HOTTEST)))


def _hottest_steps(core: ShardCore, count: int) -> Steps:
    """Walk down the policy's order while it changes: whoever is used meanwhile moves up, and is met again.

    So keys met before are passed over, and a walk that meets more of them than it finds ends.
    """
    policy, found = core.store.policy, dict[bytes, None]()
    trail: list[Entry] = []
    left = 4 * count + 4 * LONG_KEYS
    while len(found) < count and left > 0 and core.store.policy is policy:
        entries = _next_hottest(core, trail)
        if not entries:
            break
        left -= len(entries)
        trail[:-_FALL_BACK] = []
        trail += entries
        now_ms = core.now_ms
        live = [entry.key for entry in entries if (timer := entry.timer) is None or timer > now_ms]
        found.update(dict.fromkeys(core.slots.led(live)))
        yield None
    keys = yield from encoded_in_steps(list(found)[:count])
    return b"*2\r\n" + ONE + keys


def _next_hottest(core: ShardCore, trail: list[Entry]) -> list[Entry]:
    """Return what follows the end of `trail`; entries there that have left are taken off."""
    policy = core.store.policy
    while True:
        try:
            return policy.hottest(trail[-1] if trail else None, LONG_KEYS)
        except LookupError:
            trail.pop()


def record(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.RECORD READ id sample lease-ms -> msgpack [dropped, [[unix ms, op, size, ttl ms, key], ...]].

    The first one begins the recording `id` of the keys whose hash falls into `sample` (millionths); each keeps it going
    for so long. RC.RECORD STOP id ends it. One at a time.
    """
    verb, recorder = argv[1].upper(), argv[2]
    current = core.recording
    if current is not None and current.is_over(core.now_ms):
        current.stop()
        current = None
    if current is not None and current.recorder != recorder:
        raise Refusal("ERR somebody else is recording here")
    if verb == b"STOP" and len(argv) == 3:
        if current is not None:
            current.stop()
        return OK
    if verb != b"READ" or len(argv) != 5:
        raise Refusal(SYNTAX_ERROR)
    sample, lease_ms = integer(argv[3]), integer(argv[4])
    if not 0 < sample <= 1_000_000 or not _LEAST_LEASE_MS <= lease_ms <= _MOST_LEASE_MS:
        raise Refusal("ERR sample or lease is out of range")
    if current is None:
        current = Recording(core, recorder, sample / 1_000_000)
        current.start()
    current.until_ms = core.now_ms + lease_ms
    return encode.bulk(msgpack.packb(current.take(MAX_EVENTS)))


_rc = partial(Command, group="raycache", since="0.1.0")
_keys = partial(_rc, first_key=1, last_key=-1, key_step=1, complexity="O(N)", flags="readonly", key_use=("RO",))

COMMANDS = [
    _rc(name="rc.madd", arity=-5, flags="write denyoom", handler=madd, first_key=1, last_key=-1, key_step=4,
        key_use=("RW insert",), complexity="O(N)", summary="Stores those of several values whose keys are absent."),
    _keys(name="rc.present", arity=-2, handler=present, summary="Tells which of several keys are there."),
    _keys(name="rc.mpeek", arity=-2, handler=mpeek, summary="Returns entries as they are, with their lifetimes."),
    _rc(name="rc.hottest", arity=2, flags="readonly", handler=hottest, complexity="O(N)",
        summary="Returns the keys that would be evicted last."),
    _rc(name="rc.record", arity=-3, flags="admin loading stale", handler=record,
        summary="Records a sample of what is read and written."),
]
