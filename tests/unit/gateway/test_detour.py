"""Detours: the topology without one shard, and which calls may leave a shard that does not answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from raycache.gateway.call import Errand, PortionCall, ShardCall
from raycache.gateway.detour import Detours, may_detour, readable, takes_writes_anywhere
from raycache.gateway.transaction import Portion
from raycache.ring.slots import slot_of
from raycache.ring.topology import Topology
from raycache.shard.commands import resolve
from tests.unit.gateway.topologies import keys_of, shard, topology

PLAIN = topology(shard(0), shard(1), shard(2))
COPIED = replace(PLAIN, owners=np.stack([(PLAIN.owners[:, 0] + step) % 3 for step in range(3)], axis=1))
A0, A1 = keys_of(0, 1)[0], keys_of(1, 1)[0]


class Client:
    stranded = 0

    def proceed(self) -> None:
        pass


def call(client: Client, *argv: bytes, **options: Any) -> ShardCall:
    command = resolve(list(argv))
    assert command is not None
    return ShardCall(None, Errand(client, 2, False, 0.0), command, list(argv), lambda reply: None,  # type: ignore[arg-type]
                     **options)


def owner(on: Topology, key: bytes) -> str | None:
    primary = on.primary_of(slot_of(key))
    return primary.id if primary is not None else None


def test_a_shards_slots_go_to_their_next_owner_that_is_up_and_others_stay() -> None:
    detours = Detours()
    around = detours.around("s0", COPIED)
    assert (owner(around, A0), owner(around, A1)) == ("s1", "s1")
    assert detours.around("s0", COPIED) is around
    down = replace(COPIED, shards=(shard(0), replace(shard(1), state="down"), shard(2)))
    assert owner(detours.around("s0", down), A0) == "s2"


def test_where_there_is_no_other_owner_slots_stay_where_they_are() -> None:
    assert owner(Detours().around("s0", PLAIN), A0) == "s0"
    nobody = replace(COPIED, owners=np.full_like(COPIED.owners, -1))
    assert owner(Detours().around("s0", nobody), A0) is None


def test_only_reads_of_keys_may_take_a_detour_where_one_owner_takes_writes() -> None:
    client = Client()
    assert may_detour(call(client, b"GET", A0), anything=False)
    assert may_detour(call(client, b"MGET", A0, A1), anything=False)
    for other in (call(client, b"SET", A0, b"1"), call(client, b"DBSIZE"), call(client, b"GET", A0, shard_id="s0"),
                  call(client, b"GET", A0, is_tried_once=True)):
        assert not may_detour(other, anything=False)
    assert may_detour(call(client, b"SET", A0, b"1"), anything=True)
    assert not takes_writes_anywhere(COPIED)
    assert takes_writes_anywhere(replace(COPIED, replication="quorum"))


def test_a_detour_is_taken_once_and_never_past_a_stranded_write() -> None:
    client = Client()
    read = call(client, b"GET", A0)
    read.is_detour = True
    assert not may_detour(read, anything=True)
    client.stranded = 1
    assert not may_detour(call(client, b"GET", A0), anything=True)


def test_reads_leave_unless_a_write_of_their_client_is_ahead() -> None:
    one, two = Client(), Client()
    waiting = [call(one, b"GET", A0), call(one, b"SET", A0, b"1"), call(two, b"GET", A0), call(one, b"GET", A0),
               object(), call(two, b"MGET", A0)]
    assert readable(waiting) == [0, 2, 5]


def test_a_transaction_holds_up_its_client_only() -> None:
    one, two = Client(), Client()
    portion = PortionCall(None, Errand(one, 2, False, 0.0), Portion(shard(0)), lambda reply: None)  # type: ignore[arg-type]
    assert readable([portion, call(one, b"GET", A0), call(two, b"GET", A0)]) == [2]
