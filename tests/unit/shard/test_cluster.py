"""Several shards: whose slot it is, what cluster clients are told, and slots that leave and return."""

from __future__ import annotations

import numpy as np
import pytest

from raycache.ring.slots import SLOT_COUNT, slot_of
from raycache.ring.topology import ShardInfo, Topology
from raycache.shard.commands.cluster import node_id
from tests.unit.shard.harness import Shard, finished


def topology(epoch: int, owners: np.ndarray, shards: int = 2) -> Topology:
    infos = tuple(ShardInfo(id=f"s{at}", host=f"10.0.0.{at}", port=7000 + at, node_id="n", machine=f"m{at}", zone="",
                            state="up",
                            weight=1, incarnation=1) for at in range(shards))
    return Topology("test", epoch, infos, owners.reshape(SLOT_COUNT, 1).astype(np.int16))


HALVES = np.repeat([0, 1], SLOT_COUNT // 2)
MINE = next(b"k%d" % at for at in range(99) if slot_of(b"k%d" % at) < SLOT_COUNT // 2)
OTHER = next(b"k%d" % at for at in range(99) if slot_of(b"k%d" % at) >= SLOT_COUNT // 2)


@pytest.fixture
def half(shard: Shard) -> Shard:
    """Shard s0 of two, with the lower half of the slots."""
    assert shard.core.set_topology(topology(1, HALVES))
    while shard.core.step(shard.core.now_ms):
        pass
    return shard


def test_a_key_of_another_shard_is_moved(half: Shard) -> None:
    assert half.raw("SET", MINE, "1") == b"+OK\r\n"
    assert half.raw("GET", OTHER) == b"-MOVED %d 10.0.0.1:7001\r\n" % slot_of(OTHER)
    tagged = b"x{%b}y" % OTHER
    assert half.raw("GET", tagged) == b"-MOVED %d 10.0.0.1:7001\r\n" % slot_of(OTHER)
    assert half.raw("OBJECT", "ENCODING", OTHER).startswith(b"-MOVED")
    assert half.raw("GET", b"{%b}" % MINE) == b"$-1\r\n"


def test_several_keys_need_one_shard_but_not_one_slot(half: Shard) -> None:
    mine = [b"k%d" % at for at in range(99) if slot_of(b"k%d" % at) < SLOT_COUNT // 2]
    other = [b"k%d" % at for at in range(99) if slot_of(b"k%d" % at) >= SLOT_COUNT // 2]
    assert half.raw("MGET", *mine).startswith(b"*%d" % len(mine))
    assert half.raw("MGET", *other) == b"-MOVED %d 10.0.0.1:7001\r\n" % slot_of(other[0])
    assert half.raw("MGET", mine[0], other[0]) == b"-CROSSSLOT Keys in request don't hash to the same slot\r\n"


def test_a_slot_that_nobody_serves_is_down(shard: Shard) -> None:
    shard.core.set_topology(Topology.empty("test"))
    assert shard.run("GET k") == "CLUSTERDOWN Hash slot not served"
    assert shard.run("PING") == b"PONG"


def test_only_a_newer_topology_is_taken(half: Shard) -> None:
    assert not half.core.set_topology(topology(1, 1 - HALVES))
    assert half.core.set_topology(topology(2, np.zeros(SLOT_COUNT)))
    assert half.core.set_topology(topology(7, HALVES))
    assert half.core.topology is not None
    assert half.core.topology.epoch == 7


def test_what_left_does_not_come_back_stale(half: Shard) -> None:
    half.raw("SET", MINE, "old")
    half.core.set_topology(topology(2, 1 - HALVES))
    assert half.raw("GET", MINE).startswith(b"-MOVED")
    half.core.set_topology(topology(3, HALVES))
    assert half.raw("GET", MINE).startswith(b"-TRYAGAIN")
    while half.core.step(half.core.now_ms):
        pass
    assert half.raw("GET", MINE) == b"$-1\r\n"
    assert len(half.store) == 0


def test_emptying_leaves_alone_what_stays(half: Shard) -> None:
    half.raw("SET", MINE, "1")
    kept = HALVES.copy()
    kept[: slot_of(MINE)] = 1
    kept[slot_of(MINE) + 1 :] = 1
    half.core.set_topology(topology(2, kept))
    while half.core.step(half.core.now_ms):
        pass
    assert half.raw("GET", MINE) == b"$1\r\n1\r\n"


def test_a_shard_with_every_slot_needs_no_check(half: Shard) -> None:
    half.core.set_topology(topology(2, np.zeros(SLOT_COUNT)))
    while half.core.step(half.core.now_ms):
        pass
    assert half.core.owns_all
    assert half.raw("GET", OTHER) == b"$-1\r\n"


def test_a_transaction_is_refused_when_its_slots_went_before_exec(half: Shard) -> None:
    half.run("MULTI")
    assert half.raw("SET", MINE, "1") == b"+QUEUED\r\n"
    assert half.raw("SET", OTHER, "1").startswith(b"-MOVED")
    assert half.run("EXEC").startswith("EXECABORT")
    half.run("MULTI")
    half.raw("SET", MINE, "1")
    half.core.set_topology(topology(2, 1 - HALVES))
    assert half.run("EXEC").startswith("MOVED")
    assert half.session.multi is None


def test_a_long_command_stops_when_slots_move(half: Shard) -> None:
    keys = [b"{%b}%d" % (MINE, at) for at in range(2000)]
    reply = half.core.execute(half.session, [b"MGET", *keys])
    assert not isinstance(reply, bytes)
    next(reply)
    half.core.set_topology(topology(2, 1 - HALVES))
    with pytest.raises(StopIteration) as stop:
        next(reply)
    assert stop.value.value.startswith(b"-TRYAGAIN")


def test_a_long_command_without_keys_goes_on_when_slots_move(half: Shard) -> None:
    for at in range(2000):
        half.raw("SET", b"{%b}%d" % (MINE, at), "v")
    reply = half.core.execute(half.session, [b"KEYS", b"*"])
    assert not isinstance(reply, bytes)
    next(reply)
    half.core.set_topology(topology(2, 1 - HALVES))
    assert finished(reply)[0].startswith(b"*")


def test_a_newer_topology_that_takes_nothing_disturbs_no_command(half: Shard) -> None:
    reply = half.core.execute(half.session, [b"MGET", *[b"{%b}%d" % (MINE, at) for at in range(2000)]])
    assert not isinstance(reply, bytes)
    next(reply)
    half.core.set_topology(topology(2, HALVES))
    assert finished(reply)[0].startswith(b"*2000\r\n")


def test_cluster_slots_shards_and_nodes_agree(half: Shard) -> None:
    ids = [node_id("test", "s0"), node_id("test", "s1")]
    assert half.run("CLUSTER SLOTS") == [[0, 8191, [b"10.0.0.0", 7000, ids[0], []]],
                                         [8192, 16383, [b"10.0.0.1", 7001, ids[1], []]]]
    lines = half.run("CLUSTER NODES").decode().splitlines()
    assert lines[0] == f"{ids[0].decode()} 10.0.0.0:7000@0 myself,master - 0 0 1 connected 0-8191"
    assert lines[1] == f"{ids[1].decode()} 10.0.0.1:7001@0 master - 0 0 1 connected 8192-16383"
    half.run("HELLO 3")
    shards = half.run("CLUSTER SHARDS")
    assert [shard[b"slots"] for shard in shards] == [[0, 8191], [8192, 16383]]
    assert shards[1][b"nodes"][0][b"port"] == 7001
    assert half.run("CLUSTER MYID") == ids[0]


def test_scattered_slots_are_told_in_steps_and_then_remembered(shard: Shard) -> None:
    shard.core.set_topology(topology(1, np.arange(SLOT_COUNT) % 2))
    first, steps = shard.drive(["CLUSTER", "SLOTS"])
    assert first.startswith(b"*16384\r\n")
    assert steps > 16
    assert shard.drive(["CLUSTER", "SLOTS"]) == (first, 1)
    shard.core.set_topology(topology(2, HALVES))
    assert len(shard.run("CLUSTER SLOTS")) == 2


def test_cluster_info_and_keys_of_a_slot(half: Shard) -> None:
    for at in range(5):
        half.raw("SET", b"{%b}%d" % (MINE, at), "v")
    slot = half.run(f"CLUSTER KEYSLOT {MINE.decode()}")
    assert slot == slot_of(MINE)
    assert half.run(f"CLUSTER COUNTKEYSINSLOT {slot}") == 5
    assert len(half.run(f"CLUSTER GETKEYSINSLOT {slot} 3")) == 3
    assert half.run("CLUSTER COUNTKEYSINSLOT 16384") == "ERR Invalid slot"
    assert half.run("CLUSTER GETKEYSINSLOT 1 -1") == "ERR Invalid slot or number of keys"
    text = half.run("CLUSTER INFO").decode()
    assert "cluster_state:ok\r\ncluster_slots_assigned:16384\r\n" in text
    assert b"cluster_enabled:1" in half.run("INFO cluster")
    assert half.run("READONLY") == half.run("READWRITE") == half.run("ASKING") == b"OK"
    assert half.raw("GET", MINE) == b"$-1\r\n"
    assert half.session.plain


def test_standing_alone_there_is_no_cluster(shard: Shard) -> None:
    for line in ("CLUSTER SLOTS", "CLUSTER INFO", "READONLY", "ASKING"):
        assert shard.run(line) == "ERR This instance has cluster support disabled"
