"""The modes, shard to shard: what reaches whom, and who wins."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raycache.replication.messages import Message, pack, unpack
from raycache.replication.mutation import EVICTED
from raycache.replication.replicator import REACHABLE_S
from raycache.replication.version import first_version
from raycache.ring.slots import SLOT_COUNT, bitmap_of, slot_of
from raycache.shard.commands.command import Steps
from raycache.shard.wait import Wait
from tests.unit.replication.cluster import PureCluster, get, wishes


def test_a_write_reaches_the_replica_with_kind_and_expiry() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    assert cluster.run("s0", "RC.SET", "k", 3, "v", 5000) == b"+OK\r\n"
    cluster.step()
    there = cluster.cores["s1"].store.peek(b"k", cluster.now_ms)
    here = cluster.cores["s0"].store.peek(b"k", cluster.now_ms)
    assert there is not None
    assert here is not None
    assert (there.value, there.kind, there.expires_ms) == (b"v", 3, here.expires_ms)
    assert there.version == here.version > 0
    assert cluster.cores["s0"].replicator.copies.digests.of == cluster.cores["s1"].replicator.copies.digests.of


@pytest.mark.parametrize("words", [("DEL", "k"), ("GETDEL", "k"), ("UNLINK", "k")])
def test_a_delete_reaches_the_replica(words: tuple[str, ...]) -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "v")
    cluster.step()
    cluster.run("s0", *words)
    cluster.step()
    assert get(cluster, "s1", "k") is None
    assert b"k" in cluster.cores["s1"].replicator.copies.tombstones


def test_counters_appends_renames_and_expiries_travel_as_effects() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    for line in ("INCR {t}n", "INCR {t}n", "APPEND {t}a xy", "SET {t}from 1", "RENAME {t}from {t}to",
                 "PEXPIRE {t}a 9000"):
        cluster.run("s0", *line.split())
    cluster.step()
    assert [get(cluster, "s1", "{t}" + key) for key in ("n", "a", "from", "to")] == [b"2", b"xy", None, b"1"]
    assert cluster.cores["s1"].store.peek(b"{t}a", cluster.now_ms).expires_ms is not None


def test_a_replica_refuses_writes_and_reads_only_for_who_asked_for_it() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "v")
    cluster.step()
    assert cluster.run("s1", "SET", "k", "w").startswith(b"-MOVED")
    assert cluster.run("s1", "GET", "k").startswith(b"-MOVED")
    cluster.run("s1", "READONLY")
    assert cluster.run("s1", "GET", "k") == b"$1\r\nv\r\n"
    assert cluster.run("s1", "SET", "k", "w").startswith(b"-MOVED")


def test_wait_counts_replicas_that_have_this_sessions_writes() -> None:
    cluster = PureCluster(3, copies=3)
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "v")
    assert cluster.run("s0", "WAIT", 2, 1000) == b":2\r\n"
    cluster.cut = {frozenset(("s0", "s2"))}
    cluster.run("s0", "SET", "k", "w")
    assert cluster.run("s0", "WAIT", 2, 200) == b":1\r\n"


def test_a_write_with_acks_fails_quickly_when_copies_are_dead() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    assert cluster.run("s0", "RC.WRITE", wishes(acks=1), "SET", "k", "v") == b"*2\r\n+OK\r\n:1\r\n"
    cluster.cut = {frozenset(("s0", "s1"))}
    cluster.step(0.3)
    assert cluster.run("s0", "RC.WRITE", wishes(acks=1), "SET", "k", "v").startswith(b"-NOREPLICAS")


def begun_in_silence(shards: int) -> tuple[PureCluster, Steps, Wait]:
    """A write with acks that s0 has begun after it has heard nothing of s1 for a while, though they are connected."""
    cluster = PureCluster(shards, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    cluster.deaf = {"s0", "s1"}
    cluster.step(REACHABLE_S + 0.1)
    steps = cluster.begin("s0", "RC.WRITE", wishes(acks=1), "SET", "k", "v")
    assert not isinstance(steps, bytes)
    wait = next(steps)
    assert wait is not None
    return cluster, steps, wait


def test_a_write_with_acks_waits_for_a_replica_that_is_silent_for_a_moment() -> None:
    cluster, steps, wait = begun_in_silence(2)
    cluster.step(0.1)
    assert not wait.is_done
    cluster.deaf.clear()
    cluster.step(0.2)
    assert wait.is_done
    assert cluster.end("s0", steps) == b"*2\r\n+OK\r\n:1\r\n"


def test_a_write_with_acks_whose_slot_goes_while_it_waits_is_said_to_have_moved() -> None:
    cluster, steps, _ = begun_in_silence(3)
    cluster.publish([2, 1])
    assert cluster.end("s0", steps).startswith(b"-MOVED")


def test_multi_primary_copies_converge_on_the_larger_version() -> None:
    cluster = PureCluster(3, copies=3, replication="multi-primary")
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.cut = {frozenset(("s0", "s1")), frozenset(("s0", "s2")), frozenset(("s1", "s2"))}
    for number, shard_id in enumerate(("s1", "s0", "s2")):
        cluster.step()
        assert cluster.run(shard_id, "SET", "k", f"v{number}") == b"+OK\r\n"
    assert cluster.run("s1", "SET", "gone", "x") == b"+OK\r\n"
    cluster.step()
    cluster.run("s0", "SET", "gone", "y")
    cluster.run("s0", "DEL", "gone")
    cluster.cut = set()
    cluster.step(1.5)
    assert {get(cluster, shard_id, "k") for shard_id in cluster.cores} == {b"v2"}
    assert {get(cluster, shard_id, "gone") for shard_id in cluster.cores} == {None}
    digests = [core.replicator.copies.digests.of for core in cluster.cores.values()]
    assert digests[0] == digests[1] == digests[2]


def test_a_full_outbox_is_given_up_and_the_copy_repaired_by_digests() -> None:
    cluster = PureCluster(2, copies=2, backlog_bytes=20_000)
    cluster.publish([0, 1])
    cluster.step(0.3)
    cluster.cut = {frozenset(("s0", "s1"))}
    for number in range(500):
        cluster.run("s0", "SET", f"k{number}", "x" * 50)
        cluster.now_s += 0.0001
    box = cluster.cores["s0"].replicator.outboxes["s1"]
    assert box.dropped > 0
    assert box.bytes <= 20_000
    cluster.cut = set()
    cluster.step(3)
    assert len(cluster.cores["s1"].store) == 500
    assert cluster.cores["s0"].replicator.copies.digests.of == cluster.cores["s1"].replicator.copies.digests.of


def test_flushall_clears_the_copies_too_and_nothing_older_comes_back() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    for number in range(50):
        cluster.run("s0", "SET", f"k{number}", "v")
    cluster.step()
    assert cluster.run("s0", "RC.CLEAR") == b":50\r\n"
    cluster.run("s0", "SET", "k2", "again")
    assert cluster.run("s0", "FLUSHALL") == b"+OK\r\n"
    cluster.run("s0", "SET", "k1", "after")
    cluster.step(0.3)
    assert [len(core.store) for core in cluster.cores.values()] == [1, 1]
    assert get(cluster, "s1", "k1") == b"after"
    assert any(cluster.cores["s1"].replicator.copies.digests.of)
    assert slot_of(b"k1") < SLOT_COUNT


def test_a_replica_drops_what_its_primary_evicts_and_what_it_never_heard_was_deleted() -> None:
    cluster = PureCluster(2, copies=2, tombstone_ttl_s=2.0)
    cluster.publish([0, 1])
    cluster.step(0.3)
    for key in ("evicted", "deleted", "kept"):
        cluster.run("s0", "SET", key, "v")
    cluster.step()
    store = cluster.cores["s0"].store
    entry = store.peek(b"evicted", cluster.now_ms)
    assert entry is not None
    store.evict(entry)
    cluster.step()
    assert get(cluster, "s1", "evicted") is None
    cluster.cut = {frozenset(("s0", "s1"))}
    cluster.run("s0", "DEL", "deleted")
    cluster.cores["s0"].replicator.outboxes["s1"].drop()
    cluster.step(3)
    assert len(cluster.cores["s0"].replicator.copies.tombstones) == 0
    cluster.cut = set()
    cluster.cores["s1"].replicator.repairs.at_once()
    cluster.step(2)
    assert [get(cluster, "s1", key) for key in ("deleted", "kept")] == [None, b"v"]


def test_verify_names_slots_that_differ_and_repair_mends_them() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "v")
    cluster.step()
    cluster.cores["s1"].replicator.copies.drop(b"k")
    shown = msgpack.unpackb(cluster.run("s1", "RC.VERIFY").partition(b"\r\n")[2][:-2])
    assert shown["differences"] == [[slot_of(b"k"), "s0"]]
    assert cluster.run("s1", "RC.VERIFY", "REPAIR") == b"+OK\r\n"
    cluster.step(1)
    assert get(cluster, "s1", "k") == b"v"
    shown = msgpack.unpackb(cluster.run("s1", "RC.VERIFY").partition(b"\r\n")[2][:-2])
    assert shown["differences"] == []


def test_a_shard_whose_clock_was_set_back_is_heard_once_the_topology_means_it() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    cluster.incarnations["s0"] = 0
    cluster.now_s -= 50
    cluster.start("s0")
    for core in cluster.cores.values():  # their monotonic clocks have not gone back
        core.replicator.contacts.clear()
    cluster.publish([0, 1])
    cluster.step(0.5)
    assert cluster.run("s0", "SET", "k", "v") == b"+OK\r\n"
    cluster.step()
    assert get(cluster, "s1", "k") == b"v"


@pytest.mark.parametrize("mode", ["multi-primary", "quorum"])
def test_what_was_evicted_does_not_come_back_older_than_it_was(mode: str) -> None:
    cluster = PureCluster(3, copies=3, replication=mode)
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "old")
    cluster.step()
    cluster.cut = {frozenset(("s0", "s2")), frozenset(("s1", "s2"))}
    cluster.run("s0", "SET", "k", "new")
    cluster.step()
    for name in ("s0", "s1"):
        core = cluster.cores[name]
        core.replicator.outboxes["s2"].drop()
        core.store.evict(core.store.peek(b"k", cluster.now_ms))
    cluster.cut = set()
    for core in cluster.cores.values():
        core.replicator.repairs.at_once()
    cluster.step(2)
    assert get(cluster, "s0", "k") != b"old"
    assert b"old" not in cluster.run("s0", "GET", "k")


def test_a_shard_says_of_how_many_slots_it_is_the_only_owner() -> None:
    cluster = PureCluster(2, copies=2, replication="primary-replica")
    cluster.publish([0, 1])
    assert cluster.cores["s0"].replicator.loss_window()["slots"] == 0
    cluster.publish([0, -1])
    assert [cluster.cores[name].replicator.loss_window()["slots"] for name in ("s0", "s1")] == [SLOT_COUNT, 0]


def test_the_answer_to_a_comparison_from_before_a_change_of_owners_mends_nothing_that_is_not_shared() -> None:
    cluster = PureCluster(3, copies=2, replication="multi-primary")
    cluster.publish([0, 1])
    cluster.step(0.3)
    slots = [slot_of(b"k"), slot_of(b"l")]
    cluster.publish(np.where(np.arange(SLOT_COUNT)[:, None] == slots[0], [0, 2], [0, 1]))
    repairs = cluster.cores["s0"].replicator.repairs
    late = ["digested", "", bitmap_of(slots), bytes(range(16)), 0, bitmap_of([])]
    repairs.on_digested("s1", late)
    assert cluster.cores["s0"].replicator.transfers.arrivals["repair s1"].slots == [slots[1]]
    cluster.step(1)
    assert not cluster.cores["s0"].replicator.is_busy


@pytest.mark.parametrize("mode", ["multi-primary", "quorum"])
def test_a_late_write_does_not_take_the_place_of_a_newer_one_that_has_expired(mode: str) -> None:
    cluster = PureCluster(3, copies=3, replication=mode)
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.cut = {frozenset(("s0", "s2"))}
    cluster.run("s0", "SET", "k", "old")
    cluster.run("s1", "SET", "k", "new", "PX", "200")
    cluster.step(0.4)
    cluster.cut = set()
    cluster.step(2)
    assert [get(cluster, name, "k") for name in cluster.cores] == [None] * 3


@pytest.mark.parametrize("mode", ["primary-replica", "multi-primary", "quorum"])
def test_a_batch_that_comes_twice_brings_nothing_back_that_has_expired(
        mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = PureCluster(3, copies=3, replication=mode)
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    replica = cluster.cores["s1"].replicator
    received, receive = [], replica.receive

    def note(sender: str, messages: list[Message], now_s: float) -> list[Message]:
        received.append((sender, pack(messages)))
        return receive(sender, messages, now_s)

    monkeypatch.setattr(replica, "receive", note)
    cluster.run("s0", "SET", "k", "old")
    cluster.step(0.1)
    assert get(cluster, "s1", "k") == b"old"
    late = list(received)
    cluster.run("s0", "SET", "k", "new", "PX", "100")
    cluster.step(0.3)
    for sender, packed in late:
        receive(sender, unpack(packed), cluster.now_s)
    assert get(cluster, "s1", "k") is None


MUTATIONS = st.lists(st.tuples(
    st.sampled_from([b"a", b"b", b"{a}c"]), st.integers(1, 40), st.sampled_from([0, 1, EVICTED]), st.booleans(),
    st.sampled_from([None, b"one", b"two", b"longer"])), max_size=30)


@settings(max_examples=40, deadline=None)
@given(MUTATIONS, st.booleans(), st.sets(st.integers(0, 2)))
def test_a_batch_means_the_same_as_its_writes_one_by_one(
        rows: list[tuple[bytes, int, int, bool, bytes | None]], is_replica: bool, cleared: set[int]) -> None:
    found = []
    for whole in (True, False):
        cluster = PureCluster(2, copies=2)
        cluster.publish([1, 0] if is_replica else [0, 1])
        copies = cluster.cores["s0"].replicator.copies
        start = first_version(cluster.now_ms)
        copies.clock.observe(start)
        for number in cleared:
            copies.cleared[slot_of((b"a", b"b", b"{a}c")[number])] = start + (5 << 10)
        batch = [(key, start + (version << 10) + 1, kind, cluster.now_ms + 9_000 if expires else 0,
                  value if kind >= 0 else None) for key, version, kind, expires, value in rows]
        if whole:
            copies.merge_each(batch, copies.merge_behind)
        else:
            for mutation in batch:
                copies.merge_behind(mutation)
        entries = [cluster.cores["s0"].store.peek(key, cluster.now_ms) for key in (b"a", b"b", b"{a}c")]
        found.append(([entry and (entry.value, entry.version, entry.kind, entry.expires_ms) for entry in entries],
                      bytes(copies.digests.pack(list(range(SLOT_COUNT)))), sorted(copies.tombstones.items()),
                      copies.clock.latest, copies.merged, copies.seen, list(copies.floors)))
    assert found[0] == found[1]


def test_what_expires_leaves_nothing_behind_while_owners_hear_each_other() -> None:
    cluster = PureCluster(3, copies=3, replication="quorum")
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "v", "PX", "300")
    cluster.step(1)
    assert [get(cluster, name, "k") for name in cluster.cores] == [None] * 3
    assert not any(len(core.replicator.copies.tombstones) for core in cluster.cores.values())
