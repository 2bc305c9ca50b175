"""Looking into entries: OBJECT and MEMORY.

What lives here: what an entry, or its place in the policy's order, can honestly say.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Final

from raycache.resp import encode
from raycache.resp.encode import NULLS
from raycache.shard.commands.access import peek, string_at
from raycache.shard.commands.arguments import int64, integer
from raycache.shard.commands.command import SYNTAX_ERROR, Command, Refusal, Reply, Steps, container, help_lines
from raycache.store import Entry
from raycache.store.policies.lfu import LfuEntry
from raycache.store.policies.plain_lfu import PlainLfuEntry
from raycache.store.weight import TIMER_BYTES, weigher

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

_EMBSTR_BYTES: Final = 44
"""Redis stores strings up to here inside their object (OBJ_ENCODING_EMBSTR_SIZE_LIMIT)."""
_NO_FREQ: Final = (
    "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching "
    "between policies at runtime LRU and LFU data will take some time to adjust."
)
_LFU: Final = (
    "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies "
    "at runtime LRU and LFU data will take some time to adjust."
)
_NO_IDLE: Final = "ERR idle times are tracked under the policy lru only"


def _found(core: ShardCore, argv: list[bytes]) -> Entry | None:
    return peek(core, argv[2])


def encoding(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """OBJECT ENCODING key: what Redis would choose for this value."""
    entry = _found(core, argv)
    if entry is None:
        return NULLS[session.protocol]
    value = string_at(entry)
    if int64(value) is not None:
        return encode.bulk(b"int")
    return encode.bulk(b"embstr" if len(value) <= _EMBSTR_BYTES else b"raw")


def freq(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """OBJECT FREQ key: uses since the entry came, under a policy that counts them."""
    entry = _found(core, argv)
    if entry is None:
        return NULLS[session.protocol]
    count = entry.count if isinstance(entry, LfuEntry | PlainLfuEntry) else None
    if count is None:
        raise Refusal(_NO_FREQ)
    return encode.integer(count)


def idletime(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """OBJECT IDLETIME key: seconds since its last use, under the policy that orders by that."""
    entry = _found(core, argv)
    if entry is None:
        return NULLS[session.protocol]
    search = core.store.policy.idle(entry, core.now_ms)
    if search is None:
        raise Refusal(_LFU if isinstance(entry, LfuEntry | PlainLfuEntry) else _NO_IDLE)
    try:
        next(search)
    except StopIteration as stop:
        return encode.integer(stop.value // 1000)
    return core.in_steps(session, _idle_steps(search))


def _idle_steps(search: Generator[None, None, int]) -> Steps:
    idle_ms = yield from search
    return encode.integer(idle_ms // 1000)


def refcount(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """OBJECT REFCOUNT key: values are never shared."""
    return encode.integer(1) if _found(core, argv) is not None else NULLS[session.protocol]


def memory_usage(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """MEMORY USAGE key [SAMPLES count]: what the entry is charged, tables and all."""
    _check_samples(argv[3:])
    entry = _found(core, argv)
    if entry is None:
        return NULLS[session.protocol]
    charge = weigher(core.store.policy.entry_bytes)(entry.key, entry.value)
    return encode.integer(charge + (TIMER_BYTES if entry.timer is not None else 0))


def _check_samples(words: list[bytes]) -> None:
    """Accept `SAMPLES count`, which matters to nested types only."""
    rest = iter(words)
    for word in rest:
        count = next(rest, None)
        if word.upper() != b"SAMPLES" or count is None or integer(count) < 0:
            raise Refusal(SYNTAX_ERROR)


_key = partial(Command, first_key=2, last_key=2, key_step=1, flags="readonly", key_use=("RO",))
_object = partial(_key, arity=3, group="generic", parent="object", since="2.2.3", tips=("nondeterministic_output",))

COMMANDS = [
    container("object", "generic", "Looks into the entries of keys.", [
        _object(name="encoding", handler=encoding, summary="Returns how Redis would store the value."),
        _object(name="freq", handler=freq, since="4.0.0",
                summary="Returns how often the key was used, where that is counted."),
        _object(name="idletime", handler=idletime,
                summary="Returns for how many seconds the key was not used, under the policy lru."),
        _object(name="refcount", handler=refcount, summary="Returns 1: values are not shared."),
        Command(name="help", arity=2, flags="loading stale", parent="object", group="generic", since="6.2.0",
                summary="Returns help on the subcommands.",
                handler=help_lines("OBJECT", ["ENCODING <key>", "    Return how Redis would store the value.",
                                              "FREQ <key>",
                                              "    Return how often the key was used, under a policy that counts uses.",
                                              "IDLETIME <key>",
                                              "    Return for how many seconds the key was not used, under lru.",
                                              "REFCOUNT <key>", "    Return 1."])),
    ], since="2.2.3"),
    container("memory", "server", "Says what entries cost.", [
        _key(name="usage", arity=-3, handler=memory_usage, parent="memory", group="server", since="4.0.0",
             summary="Returns the bytes that an entry is charged."),
        Command(name="help", arity=2, flags="loading stale", parent="memory", group="server", since="4.0.0",
                summary="Returns help on the subcommands.",
                handler=help_lines("MEMORY",
                                   ["USAGE <key> [SAMPLES <count>]",
                                    "    Return the bytes that the entry is charged."])),
    ], since="4.0.0"),
]
