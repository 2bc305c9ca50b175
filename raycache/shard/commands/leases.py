"""Loading through the cache: reads that tell what is left of a lifetime, leases, filling, generations of tags.

What lives here: RC.GETL, RC.MGETL, RC.WHOLEL, RC.LEASE, RC.FILL, RC.FREE, RC.VOID, RC.GENS. What does not: the table of
leases (`raycache.leases`), and what a handle makes of all this (`raycache.loading`). No part of Redis.

An *aged payload* is 8 bytes (the milliseconds left by this shard's clock, signed, big-endian; -1 = it never expires)
before a payload. Of a large value that has the descriptor, as in RC.GET; RC.WHOLEL is for who cannot reach the object.

An answer of RC.LEASE is, for each key, one of: `h` and an aged payload (somebody has the value); a number above 0 (a
token: load it); 0 (somebody else loads it); -1 (load it without a lease, and keep it to yourself); `f` and a text
(somebody else's loader has failed).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from raycache.descriptor import DESCRIPTOR_BYTES, NAME_BYTES
from raycache.leases import Ending, How
from raycache.leases.table import FREED, NO_LEASE
from raycache.resp import encode
from raycache.resp.encode import CRLF, NULLS, ONE, ZERO
from raycache.shard.careful import CUT_OFF
from raycache.shard.commands.access import (
    KIND_INT,
    LONG_KEYS,
    check_size,
    fetched_of,
    in_chunks,
    peek,
    put,
    refuse_key,
    use,
)
from raycache.shard.commands.arguments import integer
from raycache.shard.commands.command import SYNTAX_ERROR, Command, Refusal, Reply, Steps
from raycache.shard.commands.handle import KIND_BYTES
from raycache.shard.commands.kinds import check_pickle
from raycache.shard.wait import Wait
from raycache.store import KIND_MASK, LARGE_KIND, PINNED_KIND, LargeValue, StoreFullError

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session
    from raycache.store import Entry

MAX_LEASE_MS: Final = 3_600_000
MAX_WAIT_MS: Final = 60_000
PASS_ON: Final = -1
"""A lifetime that means: for those who wait, not for the store."""
_NEVER: Final = (-1).to_bytes(8, "big", signed=True)
_BUSY: Final = ZERO
_UNLEASED: Final = encode.integer(-1)
_NOT_STORED: Final = encode.integer(2)
_NO_OBJECT: Final = encode.integer(3)
_PER_FILL: Final = 5


def aged(core: ShardCore, entry: Entry, *, whole: bool = False) -> bytes:
    """Return an entry's aged payload; `whole`: of a large value, too, with its bytes (raises `WholeNeeded`)."""
    if whole or type(entry.value) is not LargeValue:
        return _aged(core, entry, *fetched_of(entry))
    use(core, entry)
    return _aged(core, entry, LARGE_KIND, entry.value)


def _aged(core: ShardCore, entry: Entry, kind: int, value: bytes) -> bytes:
    timer = entry.timer
    left = _NEVER if timer is None else (int(timer) - core.now_ms).to_bytes(8, "big")
    return b"".join((left, KIND_BYTES[kind], value))


def getl(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.GETL key -> aged payload, or null."""
    entry = core.get(argv[1], core.now_ms)
    if entry is None:
        if len(argv[1]) > core.max_key_bytes:
            refuse_key(core, argv[1])
        return NULLS[session.protocol]
    value, timer = entry.value, entry.timer
    if type(value) is not bytes:
        return encode.bulk(aged(core, entry))
    left = _NEVER if timer is None else (int(timer) - core.now_ms).to_bytes(8, "big")
    return b"".join((b"$%d\r\n" % (len(value) + 9), left, KIND_BYTES[entry.stamp & KIND_MASK], value, CRLF))


def wholel(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.WHOLEL key -> aged payload, or null; of a large value with its bytes in place of the descriptor."""
    entry = core.get(argv[1], core.now_ms)
    if entry is None:
        if len(argv[1]) > core.max_key_bytes:
            refuse_key(core, argv[1])
        return NULLS[session.protocol]
    return encode.bulk(aged(core, entry, whole=True))


def mgetl(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.MGETL key [key ...] -> aged payloads, null for each key that is absent or no string."""
    if len(argv) > LONG_KEYS + 1:
        return core.in_steps(session, _mgetl_steps(core, session, argv[1:]))
    return encode.array(_many(core, session, argv[1:]))


def _mgetl_steps(core: ShardCore, session: Session, keys: list[bytes]) -> Steps:
    parts: list[bytes] = []
    for chunk in in_chunks(keys):
        parts += _many(core, session, chunk)
        yield None
    return encode.array(parts)


def _many(core: ShardCore, session: Session, keys: list[bytes]) -> list[bytes]:
    null, found = NULLS[session.protocol], []
    for key in keys:
        entry = core.get(key, core.now_ms)
        found.append(null if entry is None or not isinstance(entry.value, bytes) else encode.bulk(aged(core, entry)))
    return found


def lease(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.LEASE lease-ms wait-ms key seen [key seen ...] -> an answer for each key.

    `seen` is how a value begins that the caller has seen and does not want: it counts as absent. Only one key can be
    waited for. A lease lasts as long as its connection, at most.
    """
    if session.multi is not None:
        raise Refusal("ERR RC.LEASE inside MULTI is not allowed")
    lease_ms, wait_ms, keys, seen = integer(argv[1]), integer(argv[2]), argv[3::2], argv[4::2]
    if not (0 < lease_ms <= MAX_LEASE_MS and 0 <= wait_ms <= MAX_WAIT_MS and len(keys) == len(seen) <= LONG_KEYS):
        raise Refusal(SYNTAX_ERROR)
    if wait_ms and len(keys) == 1:
        return _lease_soon(core, session, keys[0], seen[0], lease_ms, wait_ms)
    return encode.array([_look(core, session, key, old, lease_ms) for key, old in zip(keys, seen, strict=True)])


def _look(core: ShardCore, session: Session, key: bytes, seen: bytes, lease_ms: int) -> bytes:
    entry = peek(core, key)
    if entry is not None and not (seen and _begins(entry.value, seen)):
        return encode.bulk(b"h" + aged(core, entry))
    token = core.leases.take(key, session, lease_ms / 1000, core.monotonic_s())
    if token is None:
        return _BUSY
    return _UNLEASED if token == NO_LEASE else encode.integer(token)


def _begins(value: object, seen: bytes) -> bool:
    """Return whether a value begins with `seen`; a large one, what it has for a head."""
    if type(value) is bytes:
        return value.startswith(seen)
    return type(value) is LargeValue and value.startswith(seen, DESCRIPTOR_BYTES)


def _lease_soon(core: ShardCore, session: Session, key: bytes, seen: bytes, lease_ms: int, wait_ms: int) -> Reply:
    """Look, and wait if somebody else loads the key."""
    answer = _look(core, session, key, seen, lease_ms)
    if answer is not _BUSY:
        return encode.array([answer])
    return _wait(core, session, key, seen, lease_ms, core.monotonic_s() + wait_ms / 1000)


def _wait(core: ShardCore, session: Session, key: bytes, seen: bytes, lease_ms: int, deadline_s: float) -> Steps:
    answer = _BUSY
    while answer is _BUSY:
        if key in core.leases:  # else it has ended before this step
            wait = Wait(deadline_s)
            core.leases.wait(key, wait.finish)
            try:
                yield wait
            finally:
                core.leases.leave(key, wait.finish)
            if not wait.is_done:
                break
            ending: Ending = wait.result
            if ending.how is How.FILLED:
                left = ending.px.to_bytes(8, "big") if ending.px else _NEVER
                return encode.array([encode.bulk(b"h" + left + ending.payload)])
            if ending.how is How.FAILED:
                return encode.array([encode.bulk(b"f" + ending.text)])
        if (refusal := core.slots.check([key])) is not None:
            return core.counted_error(refusal)
        if not core.may_serve():
            return core.counted_error(CUT_OFF)
        try:
            answer = _look(core, session, key, seen, lease_ms)
        except Refusal as refused:
            return core.counted_error(refused.reply)
    return encode.array([answer])


def fill(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.FILL key token kind value px [key token kind value px ...] -> for each key 1, 0 if its token is not valid any
    more, 2 if those who waited have the value and the store could not take it, or 3 if it names an object that is not
    here: then the value itself is wanted, and the lease goes on.

    Of a large value the name of its object is sent, which has come before, with its head behind it.

    `px` is a lifetime in milliseconds; 0: it never expires; -1: only those who wait get it.
    """
    if len(argv) % _PER_FILL != 1 or len(argv) > _PER_FILL * LONG_KEYS + 1:
        raise Refusal(SYNTAX_ERROR)
    size = 0
    for at in range(1, len(argv), _PER_FILL):
        integer(argv[at + 1])
        if not 0 <= integer(argv[at + 2]) < PINNED_KIND or integer(argv[at + 4]) < PASS_ON:
            raise Refusal(SYNTAX_ERROR)
        check_pickle(core, integer(argv[at + 2]), argv[at + 3])
        size += len(argv[at + 3])
    if size > core.large_value_bytes:
        return core.in_steps(session, _fill_steps(core, argv))
    return encode.array([_fill(core, *argv[at : at + _PER_FILL]) for at in range(1, len(argv), _PER_FILL)])


def _fill_steps(core: ShardCore, argv: list[bytes]) -> Steps:
    answers = []
    for at in range(1, len(argv), _PER_FILL):
        key, value = argv[at], argv[at + 3]
        while len(value) > core.large_value_bytes and core.store.reserve(key, value, core.now_ms):
            yield None
        answers.append(_fill(core, *argv[at : at + _PER_FILL]))
        yield None
    return encode.array(answers)


def _fill(core: ShardCore, key: bytes, token: bytes, kind: bytes, value: bytes, px: bytes) -> bytes:
    number, lifetime_ms, answer = integer(kind), integer(px), ONE
    if number == LARGE_KIND:
        objects = core.objects
        large = None if objects is None else objects.claim(value[:NAME_BYTES], key, value[NAME_BYTES:])
        if large is None:
            return _NO_OBJECT
        value = large
    held = core.leases.claim(key, integer(token), core.monotonic_s())
    if held is None:
        return ZERO
    if lifetime_ms != PASS_ON:
        try:
            check_size(core, key, len(value))
            put(core, key, value, number, core.now_ms + lifetime_ms if lifetime_ms else None)
        except (Refusal, StoreFullError):
            answer = _NOT_STORED
    if held.waiters:
        if type(value) is LargeValue and core.objects is not None and (answer is not ONE or lifetime_ms == PASS_ON):
            core.objects.linger(value)  # no entry keeps it until they have fetched it
        held.tell(Ending(How.FILLED, KIND_BYTES[number] + value, max(lifetime_ms, 0)))
    return answer


def free(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.FREE key token text [key token text ...] -> how many of the leases were held still.

    With a text the loader has failed, and those who wait hear it; with an empty one they try themselves.
    """
    if len(argv) % 3 != 1:
        raise Refusal(SYNTAX_ERROR)
    count = 0
    for at in range(1, len(argv), 3):
        held = core.leases.claim(argv[at], integer(argv[at + 1]), core.monotonic_s())
        if held is not None:
            count += 1
            held.tell(Ending(How.FAILED, text=argv[at + 2]) if argv[at + 2] else FREED)
    return encode.integer(count)


def void(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.VOID prefix -> how many keys with that prefix were being loaded; what comes of that will not be stored."""
    return encode.integer(core.leases.void_prefix(argv[1]))


def gens(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.GENS key [key ...] -> the generation at each key; where there is none, a new one that was never used."""
    if len(argv) > LONG_KEYS + 1:
        raise Refusal(SYNTAX_ERROR)
    return encode.array([encode.integer(_generation(core, key)) for key in argv[1:]])


def _generation(core: ShardCore, key: bytes) -> int:
    entry = core.get(key, core.now_ms)
    if entry is not None and type(entry.value) is bytes:
        return integer(entry.value)
    generation = core.rng.getrandbits(62) + 1
    put(core, key, b"%d" % generation, KIND_INT, None)
    return generation


_rc = partial(Command, group="raycache", since="0.1.0")
_many_keys = partial(_rc, first_key=1, last_key=-1, key_step=1)

COMMANDS = [
    _rc(name="rc.getl", arity=2, flags="readonly fast", handler=getl, first_key=1, last_key=1, key_step=1,
        key_use=("RO access",), summary="Returns what is left of a key's lifetime, its kind and value."),
    _rc(name="rc.wholel", arity=2, flags="readonly", handler=wholel, first_key=1, last_key=1, key_step=1,
        key_use=("RO access",),
        summary="Returns what is left of a key's lifetime, its kind and value, wherever the value is."),
    _many_keys(name="rc.mgetl", arity=-2, flags="readonly fast", handler=mgetl, key_use=("RO access",),
               complexity="O(N)", summary="Returns what is left of several keys' lifetimes, their kinds and values."),
    _rc(name="rc.lease", arity=-5, flags="write", handler=lease, first_key=3, last_key=-1, key_step=2,
        key_use=("RO access",), complexity="O(N)",
        summary="Returns values, or the right to load them; waits for who has that."),
    _many_keys(name="rc.fill", arity=-6, flags="write denyoom", handler=fill, key_step=5, key_use=("OW update",),
               complexity="O(N)", summary="Stores what was loaded, unless the key was written meanwhile."),
    _many_keys(name="rc.free", arity=-4, flags="write", handler=free, key_step=3, key_use=("RO",), complexity="O(N)",
               summary="Gives up the right to load keys."),
    _many_keys(name="rc.gens", arity=-2, flags="write denyoom", handler=gens, key_use=("RW access update",),
               complexity="O(N)", summary="Returns the generations of tags, and makes those that are missing."),
    _rc(name="rc.void", arity=2, flags="write", handler=void, complexity="O(leases)",
        summary="Lets nothing be stored that is being loaded under keys with a prefix."),
]
