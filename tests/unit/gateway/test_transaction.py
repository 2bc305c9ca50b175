"""Transactions: cut by shard, answered in the client's order, or refused whole."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from raycache.gateway.plan import Answered, Plan, Planner
from raycache.gateway.transaction import NOT_SERVED, SPLIT_REFUSED, Transaction, cut
from raycache.resp import encode
from raycache.resp.reply import elements
from raycache.ring.topology import Topology
from raycache.shard.commands import resolve
from raycache.shard.commands.command import Command
from tests.unit.gateway.topologies import keys_of, shard, topology

THREE = topology(shard(0), shard(1), shard(2))
A0, B0 = keys_of(0, 2)
A1, B1 = keys_of(1, 2)


def cut_up(
    *commands: list[bytes], on: Topology = THREE, may_split: bool = True, touched: tuple[str, ...] = ()
) -> Transaction | Answered:
    planner = Planner(random.Random(1), dict)

    def plan(argv: list[bytes], command: Command) -> Plan:
        return planner.plan(argv, command, on, 2)

    def locally(argv: list[bytes]) -> bytes:
        said.append(argv)
        return encode.bulk(b"local " + argv[0])

    said.clear()
    queue = []
    for argv in commands:
        command = resolve(argv)
        assert command is not None
        queue.append((command, argv))
    return cut(queue, plan, may_split=may_split, also_touched=touched, answer_locally=locally)


said: list[list[bytes]] = []


def transaction(*commands: list[bytes], on: Topology = THREE) -> Transaction:
    planned = cut_up(*commands, on=on)
    assert isinstance(planned, Transaction)
    return planned


def test_each_shard_gets_its_commands_in_order() -> None:
    planned = transaction([b"SET", A0, b"1"], [b"GET", A1], [b"MGET", A1, B0], [b"INCR", A0])
    assert {portion.shard.id: [argv for _, argv in portion.queue] for portion in planned.portions} == {
        "s0": [[b"SET", A0, b"1"], [b"MGET", B0], [b"INCR", A0]],
        "s1": [[b"GET", A1], [b"MGET", A1]],
    }


def test_replies_come_back_in_the_clients_order_merged() -> None:
    planned = transaction([b"SET", A0, b"1"], [b"PING"], [b"MGET", A1, B0], [b"DEL", A0, A1])
    for portion in planned.portions:
        replies = {"s0": b"*3\r\n+OK\r\n*1\r\n$1\r\nb\r\n:1\r\n", "s1": b"*2\r\n*1\r\n$1\r\na\r\n:1\r\n"}
        planned.portion_answered(portion, replies[portion.shard.id])
    assert planned.result([]) == b"*4\r\n+OK\r\n$10\r\nlocal PING\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n:2\r\n"


def test_one_failed_portion_is_the_reply_of_its_commands_only() -> None:
    planned = transaction([b"SET", A0, b"1"], [b"SET", A1, b"1"], [b"GET", A0])
    first, second = planned.portions
    planned.portion_answered(first, b"-CLUSTERDOWN s0\r\n")
    planned.portion_answered(second, b"*1\r\n+OK\r\n")
    assert planned.result([b"-CLUSTERDOWN s0\r\n"]) == b"*3\r\n-CLUSTERDOWN s0\r\n+OK\r\n-CLUSTERDOWN s0\r\n"


def test_if_every_portion_failed_the_error_is_execs_own() -> None:
    planned = transaction([b"SET", A0, b"1"])
    planned.portion_answered(planned.portions[0], b"-OOM no\r\n")
    assert planned.result([b"-OOM no\r\n"]) == b"-OOM no\r\n"


def test_without_splitting_several_shards_are_refused_and_nothing_runs() -> None:
    for commands in (
        [[b"PING"], [b"SET", A0, b"1"], [b"SET", A1, b"1"]],
        [[b"PING"], [b"MGET", A0, A1]],
        [[b"PING"], [b"DBSIZE"]],
    ):
        assert cut_up(*commands, may_split=False) == Answered(SPLIT_REFUSED)
        assert said == []
    assert isinstance(cut_up([b"SET", A0, b"1"], [b"GET", B0], may_split=False, touched=("s0",)), Transaction)
    assert cut_up([b"SET", A0, b"1"], may_split=False, touched=("s1",)) == Answered(SPLIT_REFUSED)


def test_a_command_that_cannot_be_split_refuses_the_whole() -> None:
    planned = cut_up([b"SET", A0, b"1"], [b"PING"], [b"RENAME", A0, A1])
    assert isinstance(planned, Answered)
    assert planned.reply.startswith(b"-EXECABORT Transaction discarded because of: CROSSSLOT ")
    assert said == []


def test_local_commands_alone_need_no_shard() -> None:
    planned = transaction([b"PING"], [b"TIME"])
    assert planned.portions == []
    assert planned.result([]) == b"*2\r\n$10\r\nlocal PING\r\n$10\r\nlocal TIME\r\n"


def test_an_unserved_slot_fails_its_command_only() -> None:
    planned = transaction([b"GET", A0], [b"GET", A1], on=topology(shard(0), shard(1), shard(2), unserved=(A0,)))
    planned.portion_answered(planned.portions[0], b"*1\r\n:1\r\n")
    assert planned.result([]) == encode.array([NOT_SERVED, b":1\r\n"])


@given(
    st.lists(
        st.lists(st.sampled_from([A0, B0, A1, B1, *keys_of(2, 2)]), min_size=1, max_size=4), min_size=1, max_size=8
    )
)
def test_whatever_is_queued_comes_back_as_if_one_server_had_run_it(groups: list[list[bytes]]) -> None:
    planned = transaction(*[[b"MGET", *group] for group in groups])
    for portion in planned.portions:
        planned.portion_answered(portion, encode.array([encode.bulks(argv[1:]) for _, argv in portion.queue]))
    assert elements(planned.result([])) == [encode.bulks(group) for group in groups]
