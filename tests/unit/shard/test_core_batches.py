"""A turn's worth of commands at once must do what the same commands do one by one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from raycache.config import MIB
from raycache.errors import ProtocolError
from raycache.resp.parse import RequestParser, giving
from raycache.ring.topology import ShardInfo, Topology
from raycache.shard.commands import DISPATCH
from raycache.shard.core import ShardCore
from raycache.shard.session import Session
from raycache.shard.turn import TURN_COMMANDS, TURN_COST
from raycache.store import Store, make_policy
from raycache.store.policies import policy_names

COMMANDS = [
    [b"SET", b"k", b"v"], [b"get", b"k"], [b"Get", b"k"], [b"GET"], [b"SET", b"k", b"v", b"EX", b"100"], [b"TTL", b"k"],
    [b"INCR", b"n"], [b"INCR", b"k"], [b"MULTI"], [b"INCR", b"n"], [b"GET", b"n"], [b"EXEC"], [b"NOPE", b"x"],
    [b"SET", b"{tag}k", b"v"], [b"GET", b"{tag}k"], [b"SET", b"k2", b"x" * 5000], [b"GET", b"k2"], [b"GET", b"k2"],
    [b"SET", b"timed", b"v"], [b"EXPIRE", b"timed", b"100"], [b"GET", b"timed"], [b"FLUSHALL"], [b"GET", b"k2"],
    [b"SET", b"k", b"7"], [b"GET", b"k"], [b"CONFIG", b"RESETSTAT"], [b"GET", b"k"], [b"SET", b"y" * 70_000, b"v"],
    [b"GET", b"y" * 70_000], [b"WATCH", b"k"], [b"SET", b"k", b"8"], [b"MULTI"], [b"SET", b"k", b"9"], [b"EXEC"],
    [b"SET", b"huge", b"v" * 2 * MIB], [b"set", b"k", b"10"], [b"MGET", b"k", b"n", b"{k}1"],
    [b"CLIENT", b"GETNAME"], [b"HELLO", b"3"], [b"GET", b"none"], [b"PING"],
    [b"RC.SET", b"packed", b"3", b"v", b"0"], [b"RC.GET", b"packed"], [b"GET", b"packed"], [b"RC.GET", b"k"],
    [b"RC.GET", b"none"], [b"SET", b"limit", b"x" * 4095], [b"RC.GET", b"limit"], [b"GET", b"limit"],
    [b"SET", b"brief", b"v", b"PX", b"1"], [b"GET", b"brief"], [b"RC.GET", b"brief"], [b"SET", b"brief", b"w"],
]


def make_core(policy: str = "lru", **settings: Any) -> ShardCore:
    core = ShardCore(store=Store(capacity_bytes=MIB, policy=make_policy(policy, seed=1)), started_ms=1000, **settings)
    core.now_ms = 1000
    return core


def one_by_one(core: ShardCore, commands: list[list[bytes]]) -> list[bytes]:
    session = core.open_session("test:1")
    return [finished(core.execute(session, list(argv))) for argv in commands]


def finished(reply: Any) -> bytes:
    """Run a long command to its end."""
    while not isinstance(reply, bytes):
        try:
            next(reply)
        except StopIteration as stop:
            return bytes(stop.value)
    return reply


def at_once(core: ShardCore, commands: Iterator[Any]) -> tuple[list[bytes], Any]:
    out: list[bytes] = []
    return out, core.execute_many(core.open_session("test:1"), giving(commands), out)


def partial_topology() -> Topology:
    """The even slots are ours."""
    full = Topology.empty("c")
    owners = full.owners.copy()
    owners[:, 0] = [slot % 2 for slot in range(len(owners))]
    infos = tuple(ShardInfo(id=f"s{i}", host="h", port=7000 + i, node_id="n", machine="m", zone="", state="up",
                            weight=1, incarnation=1) for i in range(2))
    return Topology("c", 1, infos, owners)


@pytest.mark.parametrize("settings", [{}, {"secret": "x", "require_auth": True}, {"shard_id": "s1"}, {"policy": "lfu"},
                                      {"policy": "fifo"}, {"policy": "ttl"}, {"policy": "random"}])
def test_the_same_replies_and_counters(settings: dict[str, Any]) -> None:
    single, batched = make_core(**settings), make_core(**settings)
    if "shard_id" in settings:
        for core in (single, batched):
            core.set_topology(partial_topology())
    expected = one_by_one(single, COMMANDS)
    session, commands, replies = batched.open_session("test:1"), iter([list(argv) for argv in COMMANDS]), []
    while (rest := batched.execute_many(session, giving(commands), replies)) is not False:
        if rest is not True:
            replies.append(finished(rest))
    assert b"".join(replies) == b"".join(expected)
    assert (batched.commands, batched.errors) == (single.commands, single.errors)
    assert batched.store.stats.as_dict() == single.store.stats.as_dict()
    assert ranks(batched.store) == ranks(single.store)


def ranks(store: Store) -> list[bytes]:
    """Who would leave, the next one first."""
    return [entry.key for entry in store.policy.entries()]


@pytest.mark.parametrize("policy", policy_names())
def test_what_reads_and_writes_mean_to_the_policy(policy: str) -> None:
    rng, single, batched = random.Random(7), make_core(policy), make_core(policy)
    keys = [b"key:%d" % number for number in range(800)]
    for _ in range(60):
        commands = [[b"GET", key] if rng.random() < 0.4 else [b"SET", key, bytes(rng.choice((60, 4000)))]
                    for key in rng.choices(keys, k=rng.randrange(1, 200))]
        replies: list[bytes] = []
        assert batched.execute_many(batched.open_session("test:1"), giving(commands), replies) is False
        assert b"".join(replies) == b"".join(one_by_one(single, commands))
        assert ranks(batched.store) == ranks(single.store)
        assert batched.store.stats.as_dict() == single.store.stats.as_dict()
    assert single.store.stats.evicted or policy == "noeviction"


def test_an_entry_that_has_expired_is_not_served() -> None:
    core = make_core()
    one_by_one(core, [[b"SET", b"k", b"v", b"PX", b"10"]])
    core.now_ms += 9
    assert b"".join(at_once(core, iter([[b"GET", b"k"], [b"GET", b"k"]]))[0]) == b"$1\r\nv\r\n" * 2
    core.now_ms += 1
    assert b"".join(at_once(core, iter([[b"GET", b"k"]]))[0]) == b"$-1\r\n"
    assert core.store.stats.expired == 1


def test_a_turn_ends_and_the_rest_stays() -> None:
    core = make_core()
    commands = iter([[b"PING"]] * 5000)
    replies, rest = at_once(core, commands)
    assert rest is True
    assert 100 < len(replies) < 2000
    assert len(replies) + len(list(commands)) == 5000


def test_large_replies_end_a_turn_early() -> None:
    core = make_core()
    one_by_one(core, [[b"SET", b"big", b"x" * TURN_COST]])
    replies, rest = at_once(core, iter([[b"GET", b"big"]] * 10))
    assert (len(replies), rest) == (1, True)


def test_a_long_command_and_what_follows_it_wait() -> None:
    core = make_core()
    commands = iter([[b"PING"], [b"KEYS", b"*"], [b"PING"]])
    replies, rest = at_once(core, commands)
    assert replies == [b"+PONG\r\n"]
    assert not isinstance(rest, bool)
    rest.close()
    assert list(commands) == [[b"PING"]]


@pytest.mark.parametrize("rubbish", [[b"SET", b"k", 5], [b"GET", [b"k"]], b"text", 7, [None]])
def test_what_is_no_command_stops_the_batch_and_changes_nothing(rubbish: Any) -> None:
    core = make_core()
    out: list[bytes] = []
    with pytest.raises(ProtocolError):
        core.execute_many(core.open_session("test:1"), giving([[b"PING"], rubbish, [b"FLUSHALL"]]), out)
    assert out == [b"+PONG\r\n"]
    assert core.commands == 1
    assert len(core.store) == 0


def test_null_and_empty_arrays_are_nothing() -> None:
    assert at_once(make_core(), iter([None, [], [b"PING"]])) == ([b"+PONG\r\n"], False)


def test_the_fast_slot_check_may_take_the_first_argument_for_the_key() -> None:
    assert {command.one_key for command in DISPATCH.values()} == {0, 1}


def through_parser(core: ShardCore, session: Session, commands: list[list[bytes]]) -> bytes:
    """Send commands as one chunk, and return the replies."""
    parser, replies = RequestParser(core.limits), []
    parser.feed(b"".join(b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(one), one) for one in argv)
                         for argv in commands))
    while True:
        rest = core.execute_many(session, parser.start(), replies)
        if not isinstance(rest, bool):
            replies.append(finished(rest))
        if not parser.finish(has_taken=True, has_all=rest is False):
            return b"".join(replies)


@pytest.mark.parametrize("settings", [{}, {"secret": "x", "require_auth": True}, {"shard_id": "s1"}, {"policy": "lfu"},
                                      {"policy": "fifo"}, {"policy": "ttl"}, {"policy": "s3-fifo"}])
def test_runs_give_the_same_replies_and_counters(settings: dict[str, Any]) -> None:
    single, batched = make_core(**settings), make_core(**settings)
    if "shard_id" in settings:
        for core in (single, batched):
            core.set_topology(partial_topology())
    rng = random.Random(5)
    session, alone = batched.open_session("test:1"), single.open_session("test:1")
    keys = [b"key:%03d" % number for number in range(120)] + [b"{k}:%03d" % number for number in range(9)]
    before = [[b"SET", key, b"v" * rng.choice((3, 3, 3, 8, 5000))] for key in keys[::2]] + [
        [b"SET", b"key:%03d" % number, b"abc", b"PX", b"5"] for number in range(7)] + [
        [b"RC.SET", b"key:%03d" % number, b"3", b"abc", b"0"] for number in range(20, 26)]
    watch = [[], [], [], [], [], [[b"WATCH", b"key:002"]], [[b"HELLO", b"3"]], [[b"UNWATCH"]]]
    assert through_parser(batched, session, before) == b"".join(finished(single.execute(alone, one)) for one in before)
    for extra in watch:
        single.now_ms += 2
        batched.now_ms += 2
        name, size = rng.choice([b"GET", b"get", b"SET", b"set", b"TTL"]), rng.choice((3, 3, 8))
        some = rng.sample(keys, 100) if rng.random() < 0.8 else rng.choices(keys, k=900)
        run = [[name, key] if name.lower() != b"set" else [name, key, rng.randbytes(size)] for key in some]
        for commands in (extra, run, run[::-1]):
            if commands:
                expected = b"".join(finished(single.execute(alone, list(argv))) for argv in commands)
                assert through_parser(batched, session, commands) == expected
        assert (batched.commands, batched.errors) == (single.commands, single.errors)
        assert batched.store.stats.as_dict() == single.store.stats.as_dict()
        assert ranks(batched.store) == ranks(single.store)
        assert session.last_command == alone.last_command
        assert session.last_ms == alone.last_ms
        batched.store.check_invariants()


def test_a_run_longer_than_a_turn_ends_it() -> None:
    core = make_core()
    one_by_one(core, [[b"SET", b"k", b"v"]])
    parser, out = RequestParser(core.limits), []
    parser.feed(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" * 500)
    session, turns = core.open_session("test:1"), []
    while (rest := core.execute_many(session, parser.start(), out)) is True:
        turns.append(len(out))
        assert parser.finish(has_taken=True, has_all=False)
    assert (rest, len(turns)) == (False, 500 // TURN_COMMANDS)
    assert b"".join(out) == b"$1\r\nv\r\n" * 500
    assert not parser.finish(has_taken=True, has_all=True)
