"""Plans: which shard gets what, for every rule."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.gateway.plan import CROSS_SLOT, INVALID_CURSOR, UNSERVED, Answered, Plan, Planner, Scatter, is_local
from raycache.resp import encode
from raycache.ring.slots import slot_of
from raycache.ring.topology import ShardInfo, Topology
from raycache.shard.commands import TABLE, resolve
from tests.unit.gateway.topologies import keys_of, shard, topology

THREE = topology(shard(0), shard(1), shard(2))
A0, B0 = keys_of(0, 2)
A1, B1 = keys_of(1, 2)
(A2,) = keys_of(2, 1)


def plan(*argv: bytes, on: Topology | None = THREE, protocol: int = 2) -> Plan:
    words = list(argv)
    command = resolve(words)
    assert command is not None
    return Planner(random.Random(1), lambda: {"tcp_port": 1}).plan(words, command, on, protocol)


def scattered(*argv: bytes) -> dict[str, list[bytes]]:
    """Return each shard's part of a command that is split."""
    planned = plan(*argv)
    assert isinstance(planned, Scatter)
    return {part.shard.id: part.argv for part in planned.parts}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([b"GET", A1], "s1"),
        ([b"set", A0, b"v", b"EX", b"5"], "s0"),
        ([b"OBJECT", b"ENCODING", A2], "s2"),
        ([b"MEMORY", b"USAGE", A1], "s1"),
        ([b"MGET", A0, B0], "s0"),
        ([b"DEL", A1], "s1"),
        ([b"MSET", A1, b"1", B1, b"2"], "s1"),
        ([b"RENAME", A0, B0], "s0"),
        ([b"MSETNX", A1, b"1", B1, b"2"], "s1"),
        ([b"COPY", A1, B1], "s1"),
        ([b"RC.GET", A2], "s2"),
    ],
)
def test_keys_of_one_shard_go_there_as_they_are(argv: list[bytes], expected: str) -> None:
    planned = plan(*argv)
    assert isinstance(planned, ShardInfo)
    assert planned.id == expected


def test_hash_tags_decide() -> None:
    assert plan(b"RENAME", b"{tag}a", b"{tag}b") == THREE.primary_of(slot_of(b"tag"))


def test_mget_is_split_and_put_back_in_order() -> None:
    planned = plan(b"MGET", A1, A0, B1, A1)
    assert isinstance(planned, Scatter)
    assert [part.argv for part in planned.parts] == [[b"MGET", A1, B1, A1], [b"MGET", A0]]
    assert planned.merge([b"*3\r\n:1\r\n:3\r\n:4\r\n", b"*1\r\n$-1\r\n"]) == b"*4\r\n:1\r\n$-1\r\n:3\r\n:4\r\n"


@pytest.mark.parametrize("name", [b"DEL", b"UNLINK", b"EXISTS", b"TOUCH"])
def test_counts_are_split_with_their_repetitions_and_added_up(name: bytes) -> None:
    planned = plan(name, A0, A1, A0)
    assert isinstance(planned, Scatter)
    assert [part.argv for part in planned.parts] == [[name, A0, A0], [name, A1]]
    assert planned.merge([b":2\r\n", b":1\r\n"]) == b":3\r\n"


def test_mset_is_split_by_pairs() -> None:
    assert scattered(b"MSET", A0, b"1", A1, b"2", B0, b"3") == {
        "s0": [b"MSET", A0, b"1", B0, b"3"],
        "s1": [b"MSET", A1, b"2"],
    }


def test_mset_with_half_a_pair_is_refused_here() -> None:
    planned = plan(b"MSET", A0, b"1", A1)
    assert planned == Answered(b"-ERR wrong number of arguments for 'mset' command\r\n")


@pytest.mark.parametrize(
    "argv", [[b"RENAME", A0, A1], [b"RENAMENX", A0, A1], [b"COPY", A0, A1], [b"MSETNX", A0, b"1", A1, b"2"]]
)
def test_keys_that_belong_together_are_refused_over_several_shards(argv: list[bytes]) -> None:
    planned = plan(*argv)
    assert planned == Answered(CROSS_SLOT)
    assert CROSS_SLOT.startswith(b"-CROSSSLOT ")


@pytest.mark.parametrize(
    "argv",
    [
        [b"DBSIZE"],
        [b"FLUSHALL"],
        [b"FLUSHDB", b"ASYNC"],
        [b"KEYS", b"*"],
        [b"CONFIG", b"SET", b"maxmemory", b"1"],
        [b"CONFIG", b"RESETSTAT"],
        [b"INFO"],
    ],
)
def test_the_whole_database_is_every_shard(argv: list[bytes]) -> None:
    planned = plan(*argv)
    assert isinstance(planned, Scatter)
    assert [(part.shard.id, part.argv, part.is_pinned) for part in planned.parts] == [
        (f"s{n}", argv, True) for n in range(3)
    ]


def test_a_shard_without_slots_is_not_asked() -> None:
    idle = topology(shard(0), shard(1))
    with_idle = Topology("test", 2, (*idle.shards, shard(9)), idle.owners)
    planned = plan(b"DBSIZE", on=with_idle)
    assert isinstance(planned, Scatter)
    assert [part.shard.id for part in planned.parts] == ["s0", "s1"]


def test_config_get_goes_to_one_shard_that_is_up() -> None:
    down = [
        ShardInfo(**{**{name: getattr(shard(n), name) for name in ShardInfo.__slots__}, "state": "down"})
        for n in (0, 1)
    ]
    planned = plan(b"CONFIG", b"GET", b"*", on=topology(*down, shard(2)))
    assert isinstance(planned, ShardInfo)
    assert planned.id == "s2"


def test_random_key_asks_for_sizes_too() -> None:
    planned = plan(b"RANDOMKEY")
    assert isinstance(planned, Scatter)
    assert [part.argv for part in planned.parts] == [[b"RANDOMKEY"], [b"DBSIZE"]] * 3


def test_scan_goes_to_the_shard_of_its_cursor_with_its_options() -> None:
    planned = plan(b"SCAN", b"%d" % (7 << 14 | 1), b"MATCH", b"k*", b"COUNT", b"5")
    assert isinstance(planned, Scatter)
    (part,) = planned.parts
    assert (part.shard.id, part.argv) == ("s1", [b"SCAN", b"7", b"MATCH", b"k*", b"COUNT", b"5"])


@pytest.mark.parametrize("cursor", [b"x", b"-1", b"", b"1" * 21])
def test_a_cursor_that_is_none_is_refused(cursor: bytes) -> None:
    assert plan(b"SCAN", cursor) == Answered(INVALID_CURSOR)


def test_a_cursor_past_the_last_shard_ends_the_scan() -> None:
    assert plan(b"SCAN", b"99") == Answered(encode.array([b"$1\r\n0\r\n", b"*0\r\n"]))


@pytest.mark.parametrize("argv", [[b"GET", A0], [b"MGET", A0, A1], [b"RENAME", A0, A1], [b"MSET", A0, b"1", A1, b"2"]])
def test_a_slot_without_owner_is_unserved(argv: list[bytes]) -> None:
    assert plan(*argv, on=topology(shard(0), shard(1), shard(2), unserved=(A0,))) is UNSERVED


def test_without_a_topology_or_owners_everything_is_unserved() -> None:
    for command in ([b"GET", A0], [b"DBSIZE"], [b"SCAN", b"0"]):
        assert plan(*command, on=None) is UNSERVED
        assert plan(*command, on=Topology.empty("test")) is UNSERVED


@pytest.mark.parametrize("argv", [
    [b"RC.STATS"], [b"RC.PEER", b"s0", b"\x90"], [b"RC.TOKEN"], [b"RC.VERIFY"], [b"WAIT", b"1", b"0"]])
def test_what_only_shards_may_be_asked_is_never_passed_on(argv: list[bytes]) -> None:
    """The gateway has shown the secret to the shards; whoever talks to it may not have."""
    planned = plan(*argv)
    assert isinstance(planned, Answered)
    assert b"shard's own port" in planned.reply


def copied(copies: int) -> Topology:
    owners = np.stack([(THREE.owners[:, 0] + step) % 3 for step in range(copies)], axis=1)
    return replace(THREE, owners=owners)


def test_with_copies_each_key_counts_once() -> None:
    planned = plan(b"DBSIZE", on=copied(2))
    assert isinstance(planned, Scatter)
    assert planned.merge([b":3\r\n", b":4\r\n", b":3\r\n"]) == b":5\r\n"
    planned = plan(b"KEYS", b"*", on=copied(2))
    assert isinstance(planned, Scatter)
    assert planned.merge([encode.bulks([A0, A1]), encode.bulks([A1, A2]), encode.bulks([A2, A0])]) == encode.bulks(
        [A0, A1, A2])


def test_with_copies_a_scan_returns_each_key_from_its_primary() -> None:
    planned = plan(b"SCAN", b"0", on=copied(3))
    assert isinstance(planned, Scatter)
    reply = encode.array([encode.bulk(b"7"), encode.bulks([A0, A1, B0, A2])])
    assert planned.merge([reply]) == encode.array([encode.bulk(b"%d" % (7 << 14)), encode.bulks([A0, B0])])


def test_a_read_with_wishes_is_split_and_keeps_its_wishes() -> None:
    assert scattered(b"RC.READ", b"\x80", A0, A1, B0) == {"s0": [b"RC.READ", b"\x80", A0, B0],
                                                          "s1": [b"RC.READ", b"\x80", A1]}


def test_a_write_with_wishes_goes_where_its_command_goes() -> None:
    planned = plan(b"RC.WRITE", b"\x80", b"SET", A2, b"v")
    assert isinstance(planned, ShardInfo)
    assert planned.id == "s2"
    assert plan(b"RC.WRITE", b"\x80", b"MSETNX", A1, b"1", A2, b"2") == Answered(CROSS_SLOT)
    assert isinstance(plan(b"RC.WRITE", b"\x80", b"NOSUCH", A2), ShardInfo)  # which will refuse it


def test_every_command_of_the_table_has_a_plan_or_is_local() -> None:
    for command in TABLE.values():
        for each in command.subcommands.values() or [command]:
            words = each.full_name.upper().encode().split(b"|")
            words += [A0] * (each.min_argc - len(words))
            if not is_local(each):
                assert isinstance(plan(*words), ShardInfo | Scatter | Answered), each.full_name


keys = st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=30)


@given(keys, st.integers(1, 5))
def test_parts_hold_each_key_once_on_its_owner_and_merge_in_order(wanted: list[bytes], count: int) -> None:
    on = topology(*[shard(number) for number in range(count)])
    planned = plan(b"MGET", *wanted, on=on)
    if isinstance(planned, ShardInfo):
        assert {on.primary_of(slot_of(key)) for key in wanted} == {planned}
        return
    assert isinstance(planned, Scatter)
    assert sum(len(part.argv) - 1 for part in planned.parts) == len(wanted)
    for part in planned.parts:
        assert {on.primary_of(slot_of(key)) for key in part.argv[1:]} == {part.shard}
    replies = [encode.bulks(part.argv[1:]) for part in planned.parts]
    assert planned.merge(replies) == encode.bulks(wanted)
