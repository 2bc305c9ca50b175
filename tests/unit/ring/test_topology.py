"""The topology: its questions, its bytes, and what it refuses."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raycache.ring.slots import SLOT_COUNT, bitmap_of
from raycache.ring.topology import GatewayInfo, Owners, ShardInfo, Topology, Transfer


def shard(number: int, **changes: Any) -> ShardInfo:
    info = ShardInfo(f"s{number}", "10.0.0.1", 7000 + number, f"node{number}", f"m{number}", "", "up", 1 << 28, 1)
    return replace(info, **changes)


def owners_of(*primaries: int) -> Owners:
    return np.resize(np.array(primaries, dtype=np.int16), SLOT_COUNT).reshape(-1, 1)


@pytest.fixture
def topology() -> Topology:
    table = np.full((SLOT_COUNT, 2), -1, dtype=np.int16)
    table[:100], table[100:150], table[200:] = (0, 1), (1, 0), (0, -1)
    return Topology("c", 7, (shard(0), shard(1, zone="b", state="down")), table, (GatewayInfo("h", 6400, "node0"),),
                    (Transfer("t1", "s0", "s1", bitmap_of(range(100, 150))),), 1234, "quorum", ("s1",))


def test_primaries(topology: Topology) -> None:
    assert topology.copies == 2
    assert topology.primary_of(0) == shard(0)
    assert topology.primary_of(149) == topology.shard("s1")
    assert topology.primary_of(150) is None
    assert topology.shares() == {"s0": 100 + SLOT_COUNT - 200, "s1": 50}


def test_slots_and_ranges(topology: Topology) -> None:
    assert topology.ranges("s0") == [(0, 99), (200, SLOT_COUNT - 1)]
    assert topology.ranges("s1") == [(100, 149)]
    assert topology.slots_of("s1").tolist() == list(range(100, 150))


def test_all_owners(topology: Topology) -> None:
    assert [info.id for info in topology.owners_of(120)] == ["s1", "s0"]
    assert [info.id for info in topology.replicas_of(120)] == ["s0"]
    assert topology.owners_of(150) == topology.replicas_of(300) == ()
    assert topology.slots_owned("s1").tolist() == list(range(150))
    assert len(topology.slots_owned("s9")) == 0
    assert topology.replica_shares() == {"s0": 50, "s1": 100}


def test_transfers(topology: Topology) -> None:
    [transfer] = topology.transfers
    assert topology.transfers_to("s1") == topology.transfers_from("s0") == (transfer,)
    assert topology.transfers_to("s0") == topology.transfers_from("s1") == ()
    assert transfer.slot_array().tolist() == list(range(100, 150))
    assert [transfer.has(slot) for slot in (99, 100, 149, 150)] == [False, True, True, False]


def test_a_shard_that_is_not_there(topology: Topology) -> None:
    assert topology.ranges("s9") == []
    assert len(topology.slots_of("s9")) == 0
    with pytest.raises(KeyError):
        topology.shard("s9")


def test_single_slots_are_ranges_of_one() -> None:
    topology = Topology("c", 1, (shard(0), shard(1)), owners_of(0, 1))
    assert topology.ranges("s1") == [(slot, slot) for slot in range(1, SLOT_COUNT, 2)]


def test_the_empty_one_serves_nothing() -> None:
    empty = Topology.empty("c")
    assert (empty.epoch, empty.shards, empty.shares()) == (0, (), {})
    assert empty.primary_of(5) is None


def test_round_trips(topology: Topology) -> None:
    for copy in (Topology.from_bytes(topology.to_bytes()), pickle.loads(pickle.dumps(topology))):
        assert copy == topology
        assert hash(copy) == hash(topology)
        assert copy.primary_of(120) == topology.primary_of(120)


def test_equality_is_by_content(topology: Topology) -> None:
    table = topology.owners.copy()
    table[0, 0] = 1
    assert topology == replace(topology)
    assert topology != replace(topology, owners=table)
    assert topology != replace(topology, epoch=8)
    for changes in ({"gateways": ()}, {"transfers": ()}, {"term": 1}, {"replication": "x"}, {"draining": ()},
                    {"upgrading": ("s1",)}):
        assert topology != replace(topology, **changes)
    assert topology != replace(topology, shards=(shard(0), shard(1)))
    assert topology != "topology"


def test_it_cannot_be_changed(topology: Topology) -> None:
    table = topology.owners.copy()
    made = Topology("c", 1, topology.shards, table)
    table[:] = -1
    assert made.primary_of(0) == shard(0)
    with pytest.raises(ValueError, match="read-only"):
        made.owners[0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        pickle.loads(pickle.dumps(made)).owners[0, 0] = 1
    with pytest.raises(FrozenInstanceError):
        made.epoch = 9  # type: ignore[misc]


@pytest.mark.parametrize(("changes", "reason"), [
    ({"owners": np.zeros((5, 1))}, "shape"),
    ({"owners": np.zeros(SLOT_COUNT)}, "shape"),
    ({"owners": owners_of(2)}, "not among"),
    ({"owners": owners_of(-2)}, "not among"),
    ({"shards": (shard(0), shard(0))}, "same id"),
    ({"epoch": -1}, "negative"),
    ({"term": -1}, "negative"),
    ({"transfers": (Transfer("t", "s0", "s9", bitmap_of([1])),)}, "between two"),
    ({"transfers": (Transfer("t", "s0", "s0", bitmap_of([1])),)}, "between two"),
    ({"transfers": (Transfer("t", "s0", "s1", b"short"),)}, "bytes"),
    ({"transfers": 2 * (Transfer("t", "s0", "s1", bitmap_of([1])),)}, "same id"),
])
def test_parts_that_contradict_each_other(topology: Topology, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        replace(topology, **changes)


def packed(topology: Topology, **changes: Any) -> bytes:
    data: bytes = msgpack.packb({**msgpack.unpackb(topology.to_bytes()), **changes})
    return data


@pytest.mark.parametrize("changes", [
    {"format": 1}, {"owners": b"short"}, {"copies": 3}, {"epoch": "7"}, {"cluster": 5}, {"shards": [["s0"]]},
    {"shards": 3}, {"gateways": [["h", "port", "n"]]}, {"owners": None}, {"transfers": 1},
    {"transfers": [["t", "s0", "s1", "text"]]}, {"transfers": [["t", "s0"]]}, {"term": None}, {"replication": 3},
    {"draining": [1]}, {"draining": None}, {"upgrading": [1]},
    {"shards": [["s0", "h", 1, "n", "m", "", "asleep", 1, 1], ["s1", "h", 1, "n", "m", "", "up", 1, 1]]},
])
def test_wrong_parts_are_no_topology(topology: Topology, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no topology"):
        Topology.from_bytes(packed(topology, **changes))


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_rubbish_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no topology"):
        Topology.from_bytes(data)


@settings(max_examples=50)
@given(data=st.data())
def test_a_damaged_one_is_refused_or_still_whole(data: st.DataObject) -> None:
    whole = Topology("c", 3, (shard(0), shard(1)), owners_of(0, 1)).to_bytes()
    at = data.draw(st.integers(0, 300) | st.integers(0, len(whole) - 1))
    damaged = whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :]
    try:
        topology = Topology.from_bytes(damaged)
    except ValueError:
        return
    assert int(topology.owners.max()) < len(topology.shards)
    assert Topology.from_bytes(topology.to_bytes()) == topology
