"""The commands of the Python handle: kinds, versions, topology."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest

from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import ShardInfo, Topology
from tests.unit.shard.harness import Shard


def test_a_payload_is_kind_and_value(shard: Shard) -> None:
    assert shard.run("RC.SET k 254 value 0") == b"OK"
    assert shard.run("RC.GET k") == b"\xfevalue"
    assert shard.run("RC.MGET k none") == [b"\xfevalue", None]
    assert shard.run("GET k") == b"value"
    assert shard.run("RC.GET none") is None


def test_conditions_and_expiry_of_set(shard: Shard) -> None:
    assert shard.run("RC.SET k 0 v 5000 XX") is None
    assert shard.run("RC.SET k 0 v 5000 NX") == b"OK"
    assert shard.run("RC.SET k 0 w 0 nx") is None
    assert (shard.run("RC.SET k 0 w -1 XX"), shard.run("PTTL k")) == (b"OK", 5000)
    assert (shard.run("RC.SET k 0 w 0"), shard.run("PTTL k")) == (b"OK", -1)


@pytest.mark.parametrize("line",
                         ["RC.SET k 256 v 0", "RC.SET k x v 0", "RC.SET k 0 v -2", "RC.SET k 0 v x",
                          "RC.SET k 0 v 0 YY",
                                  "RC.SET k 0 v 0 NX XX", "RC.MSET 0 0 k v 0", "RC.MSET 0 0 k v 999 l w",
                                  "RC.CAS k x 0 v 0",
                                  "RC.INCRBY k x 0", "RC.INCRBY k 1 -5", "RC.SCAN 0 p 0", "RC.SCAN x p 5",
                                  "RC.TOPOLOGY 1 2"])
def test_bad_arguments_are_refused_and_change_nothing(shard: Shard, line: str) -> None:
    assert shard.run(line).startswith("ERR ")
    assert len(shard.store) == 0


def test_mset_gives_each_its_kind_and_all_one_expiry(shard: Shard) -> None:
    assert shard.run("RC.MSET 700 1 a x 3 b y") == b"OK"
    assert shard.run("RC.MGET a b") == [b"\x01x", b"\x03y"]
    assert shard.run("PTTL b") == 700


def test_a_version_stands_until_the_next_write(shard: Shard) -> None:
    shard.run("RC.SET k 1 v 0")
    version, payload = shard.run("RC.GETV k")
    assert (payload, shard.run("RC.GETV k")[0]) == (b"\x01v", version)
    assert shard.run(f"RC.CAS k {version} 1 w 0") == 1
    assert shard.run(f"RC.CAS k {version} 1 x 0") == 0
    assert shard.run("RC.GET k") == b"\x01w"
    assert shard.run("RC.GETV k")[0] > version
    assert shard.run("RC.GETV none") is None


@pytest.mark.parametrize("line", ["SET k 2", "INCR k", "APPEND k 1", "RC.SET k 0 1 0"])
def test_any_write_voids_the_version(shard: Shard, line: str) -> None:
    shard.run("SET k 1")
    version, _ = shard.run("RC.GETV k")
    shard.run(line)
    assert shard.run(f"RC.CAS k {version} 0 x 0") == 0


def test_version_0_means_absent(shard: Shard) -> None:
    assert shard.run("RC.CAS k 0 0 v 0") == 1
    assert shard.run("RC.CAS k 0 0 w 0") == 0
    assert shard.run("RC.CAS none 5 0 w 0") == 0
    assert shard.run("GET k") == b"v"


def test_a_counter_expires_only_if_this_made_it(shard: Shard) -> None:
    assert (shard.run("RC.INCRBY k 5 900"), shard.run("PTTL k"), shard.run("RC.GET k")) == (5, 900, b"\x025")
    shard.advance(100)
    assert (shard.run("RC.INCRBY k -7 900"), shard.run("PTTL k")) == (-2, 800)
    shard.run("SET text x")
    assert shard.run("RC.INCRBY text 1 0") == "ERR value is not an integer or out of range"


def test_scan_takes_the_prefix_literally(shard: Shard) -> None:
    for key in ("a*1", "a*2", "ab1"):
        shard.raw("SET", key, "v")
    cursor, keys = shard.run("RC.SCAN 0 a* 1000")
    assert (cursor, sorted(keys)) == (b"0", [b"a*1", b"a*2"])


def test_topology_is_sent_only_if_newer(shard: Shard) -> None:
    assert shard.run("RC.TOPOLOGY") is None
    info = ShardInfo(id="s0", host="h", port=1, node_id="n", machine="m", zone="", state="up", weight=1, incarnation=1)
    known = Topology("c", 4, (info,), np.zeros((SLOT_COUNT, 1), dtype=np.int16))
    shard.core.set_topology(known)
    for line in ("RC.TOPOLOGY", "RC.TOPOLOGY 3"):
        assert Topology.from_bytes(shard.run(line)) == known
    assert shard.run("RC.TOPOLOGY 4") is None


def test_a_client_may_tell_of_shards_that_do_not_answer_it(shard: Shard) -> None:
    infos = tuple(ShardInfo(id=f"s{number}", host="h", port=1 + number, node_id="n", machine="m", zone="", state="up",
                            weight=1, incarnation=1) for number in range(3))
    shard.core.set_topology(Topology("c", 4, infos, np.zeros((SLOT_COUNT, 1), dtype=np.int16)))
    assert shard.run("RC.TOPOLOGY 4 SILENT h:2 h:99 nowhere") is None
    assert list(shard.core.complaints) == ["s1"], "what is no shard is not kept"


def test_statistics_travel_as_msgpack(shard: Shard) -> None:
    shard.run("SET k v")
    stats = msgpack.unpackb(shard.run("RC.STATS"))
    assert (stats["shard_id"], stats["entries"], stats["slots"], stats["policy"]) == ("s0", 1, SLOT_COUNT, "lru")
