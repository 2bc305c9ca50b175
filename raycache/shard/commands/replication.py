"""Replication: WAIT, reads and writes with wishes, and what shards and the router say to each other.

What lives here: the commands. What does not: what they wait for (`raycache.shard.careful`) and what messages mean
(`raycache.replication`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgpack

from raycache.replication import messages
from raycache.resp import encode
from raycache.resp.encode import NULLS, OK
from raycache.ring.slots import slot_of
from raycache.shard.careful import Independent, Writes, acknowledged, is_independent, run_carefully, until
from raycache.shard.commands.access import use
from raycache.shard.commands.arguments import integer
from raycache.shard.commands.command import Command, Refusal, Reply, Steps
from raycache.shard.wait import NEVER_S, Wait
from raycache.store import LARGE_KIND

if TYPE_CHECKING:
    from raycache.replication.replicator import Replicator
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

READ_TIMEOUT_MS: Final = 1000
ALONE_S: Final = 0.5
"""How long copies that are connected must be silent before a write that asks for acknowledgements is refused: shorter
pauses are no losses."""
_NO_REPLICAS: Final = "ERR this shard has no copies elsewhere"


def _replicator(core: ShardCore) -> Replicator:
    if core.replicator is None:
        raise Refusal(_NO_REPLICAS)
    return core.replicator


def wait(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """WAIT numreplicas timeout -> how many replicas have all that this session wrote."""
    wanted, timeout_ms = integer(argv[1]), integer(argv[2], "ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise Refusal("ERR timeout is negative")
    if core.replicator is None or not core.replicator.is_versioned:
        return encode.integer(0)
    core.take_writes(session)
    if not session.wrote:
        return encode.integer(sum(map(core.replicator.is_reachable, core.replicator.outboxes)))
    return _wait(core, session, wanted, timeout_ms)


def _wait(core: ShardCore, session: Session, wanted: int, timeout_ms: int) -> Steps:
    deadline_s = core.replicator_now_s + (timeout_ms / 1000 if timeout_ms else NEVER_S)
    have = yield from acknowledged(core, dict(session.wrote), wanted, deadline_s)
    return encode.integer(have)


def _options(packed: bytes) -> dict[str, Any]:
    try:
        options = msgpack.unpackb(packed, strict_map_key=False)
    except Exception as error:  # msgpack raises half a dozen kinds
        raise Refusal("ERR options must be a msgpack map") from error
    if type(options) is not dict:
        raise Refusal("ERR options must be a msgpack map")
    token = options.get("token", {})
    numbers = [options.get(name, 0) for name in ("r", "w", "acks", "timeout_ms")]
    if not (all(type(number) is int and 0 <= number < 1 << 31 for number in numbers) and type(token) is dict
            and all(type(index) is type(version) is int for index, version in token.items())):
        raise Refusal("ERR options have a wrong type")
    return options


def read(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.READ options key [key ...] -> [payload or null, version, shard, age in ms or -1] for each key."""
    options, keys = _options(argv[1]), argv[2:]
    is_replica_wanted = options.get("from", "primary") != "primary"
    may_read = core.slots.check_readable if is_replica_wanted else core.slots.check
    if (refusal := may_read(keys)) is not None:
        return refusal
    if core.replicator is None:
        return _rows(core, session, keys)
    return Independent(_read(core, session, argv, keys, options, is_replica_wanted), keys)


def _read(core: ShardCore, session: Session, argv: list[bytes], keys: list[bytes], options: dict[str, Any],
          is_replica_wanted: bool) -> Steps:
    replicator = _replicator(core)
    deadline_s = core.replicator_now_s + options.get("timeout_ms", READ_TIMEOUT_MS) / 1000
    token = options.get("token", {})
    if replicator.mode == "primary-replica" and core.slots.check(keys) is None:
        # What this shard is primary of it has written itself, or got from who led before; unless that one was lost.
        token = {index: version for index, version in token.items() if f"s{index}" in replicator.inherited}
    if token and (replicator.names_strangers(token) or not (
            yield from until(core, lambda: not replicator.is_behind(token), deadline_s))):
        return encode.error("TRYAGAIN this copy is behind the token")
    may_read = core.slots.check_readable if is_replica_wanted else core.slots.check
    if (refusal := may_read(keys)) is not None:  # slots may have moved meanwhile, and the token with them
        return refusal
    if is_replica_wanted and core.slots.check(keys) is not None:
        return _rows(core, session, keys)
    return (yield from run_carefully(core, session, READ, argv, keys, partial(_rows, core, session, keys),
                                     read=options.get("r", 0)))


def _rows(core: ShardCore, session: Session, keys: list[bytes]) -> bytes:
    replicator = core.replicator
    clock = replicator.copies.clock if replicator is not None and replicator.is_versioned else None
    rows, source = [], encode.bulk(core.shard_id.encode())
    for key in keys:
        entry = core.get(key, core.now_ms)
        if entry is None:
            rows.append(encode.array([NULLS[session.protocol], encode.integer(0), source, encode.integer(-1)]))
            continue
        version = core.store.version_of(entry)
        age_ms = clock.age_ms(version, core.now_ms) if clock is not None else -1
        if entry.kind == LARGE_KIND:
            use(core, entry)
        payload = encode.bulk(bytes([entry.kind]) + entry.value)
        rows.append(encode.array([payload, encode.integer(version), source, encode.integer(age_ms)]))
    return encode.array(rows)


def write(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.WRITE options command [argument ...] -> [its reply, how many other copies have it]."""
    options, inner = _options(argv[1]), argv[2:]
    command = core.command_named(inner)
    if command is None or not command.is_write() or not command.first_key:
        raise Refusal("ERR RC.WRITE takes one write command with keys")
    if not command.min_argc <= len(inner) <= command.max_argc:
        raise Refusal(f"ERR wrong number of arguments for '{command.full_name}' command")
    keys = command.keys(inner)
    if (refusal := core.slots.check(keys)) is not None:
        return refusal
    replicator = _replicator(core)
    steps = _write(core, session, command, inner, keys, options, replicator)
    return Independent(steps, keys) if is_independent(command, inner) else steps


def _write(core: ShardCore, session: Session, command: Command, inner: list[bytes], keys: list[bytes],
           options: dict[str, Any], replicator: Replicator) -> Steps:
    acks = options.get("acks", 0)
    timeout_ms = options.get("timeout_ms", 0) or READ_TIMEOUT_MS

    def others(are_there: Callable[[str], bool]) -> int:
        return min(sum(map(are_there, replicator.others(slot_of(key)))) for key in keys)

    if acks and others(replicator.is_connected) >= acks:  # who is connected, and silent for a moment, is not dead
        yield from until(core, lambda: others(replicator.is_reachable) >= acks, core.replicator_now_s + ALONE_S)
    if (refusal := core.slots.check(keys)) is not None:  # slots may have moved meanwhile
        return refusal
    if (have := others(replicator.is_reachable)) < acks:
        return encode.error(f"NOREPLICAS {have} of the {acks} copies asked for are alive")
    writes: Writes = {}
    reply = yield from run_carefully(core, session, command, inner, keys, partial(core.run, session, command, inner),
                                     write=options.get("w", 0), wrote=writes)
    if reply.startswith(b"-"):
        return reply
    if not writes:
        return encode.array([reply, encode.integer(acks)])
    have = yield from acknowledged(core, writes, acks, core.replicator_now_s + timeout_ms / 1000)
    if have < acks:
        return encode.error(f"NOREPLICAS {have} of the {acks} copies asked for have the write")
    return encode.array([reply, encode.integer(have)])


def token(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.TOKEN -> [this shard's index, the version of its last write]."""
    if core.replicator is None:
        return encode.array([encode.integer(0), encode.integer(0)])
    index, version = core.replicator.token()
    return encode.array([encode.integer(index), encode.integer(version)])


def peer(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.PEER sender messages -> messages."""
    if session.command is not None:  # no client's: a cluster without any would look busy
        core.calls[session.command.number] -= 1
    core.guard.must_be_member(session, "RC.PEER")
    try:
        received = messages.unpack(argv[2])
        replies = _replicator(core).receive(argv[1].decode(), received, core.replicator_now_s)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise Refusal(f"ERR not a message of a shard: {error!r:.100}") from error
    return encode.bulk(messages.pack(replies))


def verify(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """RC.VERIFY [REPAIR] -> what differs from each other owner, msgpack."""
    if len(argv) > 2 or (len(argv) == 2 and argv[1].upper() != b"REPAIR"):
        raise Refusal("ERR syntax error")
    replicator = _replicator(core)
    if len(argv) == 2:
        replicator.repairs.at_once()
        return OK
    return _verify(core, replicator)


def _verify(core: ShardCore, replicator: Replicator) -> Generator[Wait | None, None, bytes]:
    asked = replicator.repairs.compare()
    yield from until(core, lambda: not asked.open, core.replicator_now_s + 2.0)
    return encode.bulk(msgpack.packb({"compared": asked.compared, "unanswered": sorted(asked.open),
                                      "differences": asked.differences, "evicted": asked.evicted}))


_rc = partial(Command, group="raycache", since="0.1.0")

READ = _rc(name="rc.read", arity=-3, flags="readonly", handler=read, first_key=2, last_key=-1, key_step=1,
           key_use=("RO access",), summary="Reads with wishes: from a replica, not behind a token, from a quorum.")

COMMANDS = [
    _rc(name="wait", arity=3, flags="noscript", handler=wait, since="3.0.0", group="generic", categories="connection",
        tips=("request_policy:all_shards", "response_policy:agg_min"),
        summary="Waits until this connection's writes have reached so many replicas."),
    READ,
    _rc(name="rc.write", arity=-4, flags="write", handler=write,
        summary="Runs one write and waits until so many copies have it."),
    _rc(name="rc.token", arity=1, flags="fast", handler=token, categories="connection",
        summary="Returns how far this shard's clock has come."),
    _rc(name="rc.peer", arity=3, flags="admin noscript", handler=peer, summary="What shards say to each other."),
    _rc(name="rc.verify", arity=-1, flags="admin", handler=verify,
        summary="Compares this shard's copies with the other owners'."),
]
