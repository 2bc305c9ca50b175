"""The three modes, shard to shard: what reaches whom, who wins, what a quorum sees."""

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
from raycache.resp.parse import giving
from raycache.ring.slots import SLOT_COUNT, bitmap_of, slot_of
from raycache.shard.commands.command import Steps
from raycache.shard.wait import Wait
from tests.unit.replication.cluster import PureCluster


def get(cluster: PureCluster, shard_id: str, key: str) -> bytes | None:
    entry = cluster.cores[shard_id].store.peek(key.encode(), cluster.now_ms)
    return entry.value if entry is not None else None


def wishes(**options: object) -> bytes:
    return msgpack.packb(options)


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


def test_a_primary_that_is_cut_off_stops_serving_before_a_second_has_passed() -> None:
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.5)
    cluster.cut = {frozenset(("s0", "s1")), frozenset(("s0", "s2"))}
    cluster.step(0.5)
    assert cluster.run("s0", "SET", "k", "v") == b"+OK\r\n"
    cluster.step(0.4)
    assert cluster.run("s0", "SET", "k", "w").startswith(b"-CLUSTERDOWN")
    assert cluster.run("s0", "GET", "k").startswith(b"-CLUSTERDOWN")
    cluster.cut = set()
    cluster.step(0.5)
    assert cluster.run("s0", "SET", "k", "w") == b"+OK\r\n"


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


def test_a_quorum_read_sees_a_write_that_its_own_copy_missed() -> None:
    cluster = PureCluster(3, copies=3, replication="quorum")
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    assert cluster.run("s0", "SET", "k", "old") == b"+OK\r\n"
    cluster.step(0.3)
    cluster.cut = {frozenset(("s0", "s2")), frozenset(("s1", "s2"))}
    assert cluster.run("s0", "SET", "k", "new") == b"+OK\r\n"
    assert get(cluster, "s2", "k") == b"old"
    cluster.cut = {frozenset(("s0", "s2")), frozenset(("s0", "s1"))}
    cluster.step(0.3)
    assert cluster.run("s2", "GET", "k") == b"$3\r\nnew\r\n"
    assert cluster.run("s0", "GET", "k").startswith(b"-NOREPLICAS")


def asked(cluster: PureCluster, since: dict[str, int]) -> dict[str, int]:
    """How many questions each shard was asked since."""
    return {name: number - since.get(name, 0) for name, number in cluster.pulls.items() if number > since.get(name, 0)}


def test_a_quorum_read_asks_as_many_copies_as_it_needs() -> None:
    cluster = PureCluster(3, copies=3, replication="quorum")
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "v")
    cluster.step(0.3)
    before = dict(cluster.pulls)
    assert cluster.run("s0", "GET", "k") == b"$1\r\nv\r\n"
    assert asked(cluster, before) == {"s1": 1}


def test_a_quorum_read_asks_the_rest_when_one_is_slow_to_answer() -> None:
    cluster = PureCluster(3, copies=3, replication="quorum")
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "v")
    cluster.step(0.3)
    cluster.deaf = {"s1"}  # connected, and silent
    began_s = cluster.now_s
    assert cluster.run("s0", "GET", "k") == b"$1\r\nv\r\n"
    assert cluster.now_s - began_s < 0.1


def test_a_quorum_read_asks_those_last_that_are_being_filled() -> None:
    cluster = PureCluster(3, copies=3, replication="quorum")
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.publish([0, 1, 2], transfers=[("s0", "s1", [slot_of(b"other")])])
    before = dict(cluster.pulls)
    cluster.run("s0", "GET", "k")
    assert asked(cluster, before) == {"s2": 1}


def test_a_quorum_write_waits_on_when_the_copy_that_had_it_is_filled_anew() -> None:
    cluster = PureCluster(3, copies=3, replication="quorum")
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.deaf = {"s2"}
    steps = cluster.begin("s0", "SET", "k", "v")
    assert not isinstance(steps, bytes)
    wait = next(steps)
    assert wait is not None
    cluster.step(0.05)
    assert wait.is_done
    # Before the command has its turn; s2 is the one that would be trusted now.
    cluster.publish([0, 1, 2], transfers=[("s0", "s1", [slot_of(b"k")])])
    again = next(steps)
    assert again is not None
    assert again.deadline_s == wait.deadline_s
    cluster.deaf.clear()
    cluster.step(0.3)
    assert again.is_done
    assert cluster.end("s0", steps) == b"+OK\r\n"


def test_a_slot_that_goes_while_a_command_waits_for_it_is_said_to_have_moved() -> None:
    cluster = PureCluster(4, copies=3, replication="quorum")
    cluster.publish([1, 2, 3])
    cluster.step(0.3)
    cluster.deaf = {"s1"}
    cluster.publish([0, 2, 3], transfers=[("s1", "s0", range(SLOT_COUNT))])
    steps = cluster.begin("s0", "GET", "k")
    assert not isinstance(steps, bytes)
    next(steps)
    cluster.deaf.clear()
    cluster.publish([1, 2, 3])
    assert cluster.end("s0", steps).startswith(b"-MOVED")


def test_quorum_counters_build_on_the_newest_copy() -> None:
    cluster = PureCluster(3, copies=3, replication="quorum")
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    for number, shard_id in enumerate(("s0", "s1", "s2", "s1")):
        assert cluster.run(shard_id, "INCR", "n") == b":%d\r\n" % (number + 1)


def test_an_evicted_copy_is_unknown_and_not_absent() -> None:
    cluster = PureCluster(3, copies=3, replication="quorum")
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "old")
    cluster.step(0.3)
    cluster.cut = {frozenset(("s0", "s2")), frozenset(("s1", "s2"))}
    cluster.run("s0", "SET", "k", "new")
    # s0 evicts what it has; s1, which has it too, is cut off: only an older copy is left within reach.
    core = cluster.cores["s0"]
    core.store.evict(core.store.peek(b"k", cluster.now_ms))
    cluster.cut = {frozenset(("s0", "s1")), frozenset(("s1", "s2"))}
    cluster.step(0.6)
    assert cluster.run("s2", "GET", "k") != b"$3\r\nold\r\n"


def test_a_read_with_a_token_waits_for_the_copy_to_catch_up() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    cluster.cut = {frozenset(("s0", "s1"))}
    cluster.run("s0", "SET", "k", "v")
    index, version = (int(part) for part in cluster.run("s0", "RC.TOKEN")[4:].replace(b":", b"").split())
    options = wishes(**{"from": "replica", "token": {index: version}, "timeout_ms": 300})
    assert cluster.run("s1", "RC.READ", options, "k").startswith(b"-TRYAGAIN")
    cluster.cut = set()
    reply = cluster.run("s1", "RC.READ", wishes(**{"from": "replica", "token": {index: version}}), "k")
    assert b"$2\r\n\x00v\r\n" in reply
    assert b"s1" in reply


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


@pytest.mark.parametrize("mode", ["primary-replica", "multi-primary", "quorum"])
def test_a_restarted_shard_serves_nothing_while_the_topology_means_the_process_before(mode: str) -> None:
    cluster = PureCluster(3, copies=3, replication=mode)
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    assert cluster.run("s0", "SET", "k", "v") == b"+OK\r\n"
    cluster.step()
    cluster.start("s0")
    cluster.step(0.5)
    assert cluster.run("s0", "GET", "k").startswith(b"-CLUSTERDOWN")
    assert cluster.run("s0", "RC.READ", wishes(**{"from": "replica"}), "k").startswith((b"-CLUSTERDOWN", b"-TRYAGAIN"))
    cluster.publish([1, 2, 0], [("s1", "s0", range(SLOT_COUNT))])
    cluster.step(1)
    assert get(cluster, "s0", "k") == b"v"


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


def test_replicas_keep_what_they_have_when_their_primary_comes_back_empty() -> None:
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    assert cluster.run("s0", "SET", "k", "v") == b"+OK\r\n"
    cluster.step()
    cluster.start("s0")
    cluster.step(3)
    assert get(cluster, "s1", "k") == b"v"
    cluster.publish([1, 0], [("s1", "s0", range(SLOT_COUNT))])
    cluster.step(1)
    assert get(cluster, "s0", "k") == b"v"


def test_a_promoted_replica_does_not_pretend_to_have_writes_that_a_token_speaks_of() -> None:
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "old")
    cluster.step()
    cluster.cut = {frozenset(("s0", "s1")), frozenset(("s0", "s2"))}
    assert cluster.run("s0", "SET", "k", "new") == b"+OK\r\n"
    version = cluster.cores["s0"].replicator.token()[1]
    cluster.publish([1, 0])
    cluster.step(0.2)
    assert b"old" in cluster.run("s1", "RC.READ", wishes(), "k")
    assert cluster.run("s1", "RC.READ", wishes(token={0: version}, timeout_ms=50), "k").startswith(b"-TRYAGAIN")
    assert b"old" in cluster.run("s1", "RC.READ", wishes(token={2: version + 99, 1: 5}, timeout_ms=50), "k")


def failed_over(old: str = "ahead") -> PureCluster:
    """s0, whose clock is an hour ahead, writes `old` within its lease while it is cut off; then s1 leads."""
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "before")
    cluster.step()
    cluster.cut = {frozenset(("s0", "s1")), frozenset(("s0", "s2"))}
    cluster.cores["s0"].replicator.copies.clock.observe(cluster.cores["s0"].replicator.copies.clock.latest + (1 << 43))
    assert cluster.run("s0", "SET", "k", old) == b"+OK\r\n"
    cluster.publish([1, 0])
    cluster.step(1)
    return cluster


def test_the_last_write_of_a_primary_that_was_cut_off_is_not_lost() -> None:
    cluster = failed_over()
    cluster.cut = set()
    cluster.step(1)
    assert [get(cluster, name, "k") for name in ("s0", "s1")] == [b"ahead", b"ahead"]


@pytest.mark.parametrize(("words", "left"), [(("SET", "k", "later"), b"later"), (("DEL", "k"), None)])
def test_it_does_not_replace_what_was_written_after_the_failover(words: tuple[str, ...], left: bytes | None) -> None:
    cluster = failed_over()
    cluster.run("s1", *words)
    cluster.cut = set()
    cluster.step(2)
    assert [get(cluster, name, "k") for name in ("s0", "s1")] == [left, left]


@pytest.mark.parametrize(("words", "left"), [(("SET", "k", "later"), b"later"), (("DEL", "k"), None)])
def test_nor_where_a_third_one_leads_by_then(words: tuple[str, ...], left: bytes | None) -> None:
    cluster = PureCluster(3, copies=3)
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "before")
    cluster.step()
    cluster.cut = {frozenset(("s0", "s1")), frozenset(("s0", "s2"))}
    clock = cluster.cores["s0"].replicator.copies.clock
    clock.observe(clock.latest + (1 << 43))
    assert cluster.run("s0", "SET", "k", "ahead") == b"+OK\r\n"
    cluster.publish([1, 2, 0])
    cluster.step(1)
    cluster.run("s1", *words)
    cluster.step(0.1)
    cluster.publish([2, 1, 0])
    cluster.step(0.3)
    cluster.cut = set()
    cluster.step(2)
    assert [get(cluster, name, "k") for name in ("s0", "s1", "s2")] == [left, left, left]


def test_a_new_owner_is_told_what_only_one_that_was_cut_off_has() -> None:
    """So that a token of that write holds there as soon as it says so."""
    cluster = PureCluster(3, copies=2, replication="multi-primary")
    cluster.publish([0, 1])
    cluster.step(0.3)
    cluster.cut = {frozenset(("s0", "s1")), frozenset(("s0", "s2"))}
    cluster.step(0.3)
    assert cluster.run("s0", "SET", "k", "alone") == b"+OK\r\n"
    token = dict([cluster.cores["s0"].replicator.token()])
    cluster.publish([0, 2], [("s1", "s2", range(SLOT_COUNT))])
    cluster.cut = {frozenset(("s0", "s1"))}
    while cluster.cores["s2"].replicator.is_behind(token):
        cluster.step()
    assert get(cluster, "s2", "k") == b"alone"


def test_what_only_a_replica_has_goes_back_to_the_primary() -> None:
    """The one that led before told this replica alone, and the other one was promoted."""
    cluster = PureCluster(3, copies=3)
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.run("s0", "SET", "changed", "before")
    cluster.step()
    cluster.cut = {frozenset(("s0", "s1"))}
    for key in ("changed", "made"):
        cluster.run("s0", "SET", key, "last words")
    cluster.step()
    cluster.cut = {frozenset(("s0", name)) for name in ("s1", "s2")}
    cluster.publish([1, 2, 0])
    cluster.cores["s2"].replicator.repairs.at_once()
    cluster.step(2)
    assert [get(cluster, "s1", key) for key in ("changed", "made")] == [b"last words", b"last words"]


def test_a_replica_that_was_told_less_follows_the_one_that_is_promoted() -> None:
    cluster = PureCluster(3, copies=3)
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.cut = {frozenset(("s0", "s1"))}
    cluster.run("s0", "SET", "k", "last words")
    cluster.step()
    cluster.cut = {frozenset(("s0", name)) for name in ("s1", "s2")}
    cluster.publish([2, 1, 0])
    cluster.step(2)
    assert get(cluster, "s1", "k") == b"last words"


def test_it_follows_also_where_something_was_evicted_that_could_explain_what_differs() -> None:
    cluster = PureCluster(3, copies=3)
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    for value in ("first", "second"):
        cluster.run("s0", "SET", "{k}", value)
        cluster.run("s0", "SET", "{k}2", value)
        cluster.step()
        store = cluster.cores["s1"].store
        if value == "first":
            entry = store.peek(b"{k}2", cluster.now_ms)
            assert entry is not None
            store.evict(entry)
    cluster.cut = {frozenset(("s0", "s1"))}
    cluster.run("s0", "SET", "{k}", "last words")
    cluster.step()
    cluster.cut = {frozenset(("s0", name)) for name in ("s1", "s2")}
    cluster.publish([2, 1, 0])
    cluster.step(2)
    assert get(cluster, "s1", "{k}") == b"last words"


@pytest.mark.parametrize("name", ["s0", "s3"])
def test_who_takes_over_writes_under_larger_versions_though_another_clock_is_ahead(name: str) -> None:
    """What the lost one wrote last may come only when a third one leads, who cannot know which was later."""
    cluster = PureCluster(7, copies=3)
    cluster.publish([0, 1, 2])
    clock = cluster.cores[name].replicator.copies.clock
    clock.observe(first_version(cluster.now_ms + 600_000))
    cluster.step(0.3)
    cluster.cut = {frozenset((one, other)) for one in ("s0", "s3") for other in ("s1", "s2", "s4", "s5", "s6")}
    cluster.step(0.3)
    for value in ("first", "second", "third"):
        assert cluster.run("s0", "SET", "k", value) == b"+OK\r\n"
    earlier = clock_of(cluster, "s0")
    cluster.step(1)
    cluster.publish([1, 2, 0])
    cluster.step(0.5)
    assert cluster.run("s1", "SET", "k", "later") == b"+OK\r\n"
    assert earlier < clock_of(cluster, "s1")


def clock_of(cluster: PureCluster, name: str) -> int:
    return cluster.cores[name].replicator.token()[1]


def test_a_shard_acknowledges_nothing_before_it_knows_that_it_owns_the_slot() -> None:
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    late = cluster.cores.pop("s2")
    cluster.publish([0, 2])
    cluster.cores["s2"] = late
    core = cluster.cores["s0"]
    core.now_ms = cluster.now_ms
    out: list[bytes] = []
    core.execute_many(cluster.sessions["s0"], giving([[b"SET", b"k", b"v"]]), out)
    for peer, messages in core.replicator.take_outgoing():
        if peer == "s2":
            answers = late.replicator.receive("s0", messages, cluster.now_s)
            assert late.store.peek(b"k", cluster.now_ms) is None
            assert [answer[0] for answer in answers] == ["ack", "topology?"]
            assert answers[0][4] == 0
    cluster.step(0.5)
    assert get(cluster, "s2", "k") == b"v"
    assert cluster.run("s0", "RC.WRITE", wishes(acks=1), "SET", "k", "w") == b"*2\r\n+OK\r\n:1\r\n"


@pytest.mark.parametrize("mode", ["primary-replica", "multi-primary", "quorum"])
def test_nor_what_it_owns_no_more_before_the_sender_knows_that(mode: str) -> None:
    """Else the sender takes it for a copy, and tells the owners that there are now nothing."""
    cluster = PureCluster(3, copies=2, replication=mode)
    cluster.publish([0, 1])
    cluster.step(0.3)
    late = cluster.cores.pop("s0")
    cluster.publish([1, 2] if mode == "primary-replica" else [2, 1], [("s1", "s2", range(SLOT_COUNT))])
    cluster.publish([2], [])
    cluster.cores = {"s0": late, **cluster.cores}  # it speaks first, before it hears of anything
    cluster.run("s0", "SET", "k", "v")
    cluster.step(0.5)
    assert (late.replicator.epoch, get(cluster, "s2", "k")) == (cluster.epoch, b"v")


def test_nor_with_what_was_sent_behind_it() -> None:
    """Slots differ in who owns them, and batches are sent ahead of their acknowledgements."""
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    gone, kept = slot_of(b"gone"), slot_of(b"kept")
    assert gone != kept
    owners = np.full((SLOT_COUNT, 2), [0, 1])
    owners[gone] = [2, -1]
    late = cluster.cores.pop("s0")
    cluster.publish(owners)
    cluster.cores = {"s0": late, **cluster.cores}
    for key in ("gone", "kept"):
        cluster.run("s0", "SET", key, "v")
        late.replicator.beat("s1")  # in a batch of its own
    cluster.step(0.5)
    assert (get(cluster, "s2", "gone"), get(cluster, "s1", "kept")) == (b"v", b"v")


def test_a_replica_that_does_not_know_the_writer_of_a_token_leaves_the_read_to_the_primary() -> None:
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    cut_off = cluster.cores.pop("s1")
    cluster.start("s3")
    cluster.publish([3, 1])  # s1 has not heard of that
    cluster.cores["s1"] = cut_off
    cluster.cut = {frozenset(("s1", other)) for other in ("s0", "s2", "s3")}
    cluster.run("s3", "SET", "k", "v")
    token = wishes(**{"from": "replica", "token": dict([cluster.cores["s3"].replicator.token()])})
    cluster.run("s1", "READONLY")
    assert cluster.run("s1", "RC.READ", token, "k").startswith(b"-TRYAGAIN")


def test_a_read_with_a_token_does_not_outlast_the_ownership_of_its_slot() -> None:
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.3)
    cluster.run("s0", "SET", "k", "old")
    cluster.step()
    cluster.cut = {frozenset(("s0", "s1"))}
    cluster.run("s0", "SET", "k", "new")
    index, version = cluster.cores["s0"].replicator.token()
    core = cluster.cores["s1"]
    options = wishes(**{"from": "replica", "token": {index: version}, "timeout_ms": 5000})
    waiting = core.execute(cluster.sessions["s1"], [b"RC.READ", options, b"k"])
    next(waiting)
    cluster.publish([0, 2])
    with pytest.raises(StopIteration) as stopped:
        next(waiting)
    assert stopped.value.value.startswith(b"-MOVED")


def test_the_last_writes_of_an_owner_that_did_not_know_it_was_none_reach_those_who_are() -> None:
    cluster = PureCluster(3, copies=1 + 1, replication="multi-primary")
    cluster.publish([0, 1])
    cluster.step(0.3)
    cluster.cut = {frozenset(("s0", "s1")), frozenset(("s0", "s2"))}
    unaware = cluster.cores.pop("s0")
    cluster.publish([2, 1], [("s1", "s2", range(SLOT_COUNT))])
    cluster.step(0.5)
    cluster.cores["s0"] = unaware
    assert cluster.run("s0", "SET", "k", "late") == b"+OK\r\n"
    cluster.cut = set()
    cluster.step(1)
    assert [get(cluster, name, "k") for name in ("s1", "s2")] == [b"late", b"late"]


def test_a_shard_says_of_how_many_slots_it_is_the_only_owner() -> None:
    cluster = PureCluster(2, copies=2, replication="primary-replica")
    cluster.publish([0, 1])
    assert cluster.cores["s0"].replicator.loss_window()["slots"] == 0
    cluster.publish([0, -1])
    assert [cluster.cores[name].replicator.loss_window()["slots"] for name in ("s0", "s1")] == [SLOT_COUNT, 0]


def test_a_copy_that_was_filled_by_one_other_owner_does_not_say_absent_for_the_rest() -> None:
    """What it had acknowledged with the third, before it lost its memory, only the third has."""
    cluster = PureCluster(3, copies=3, replication="quorum")
    cluster.publish([0, 1, 2])
    cluster.step(0.3)
    cluster.cut = {frozenset(("s0", "s1"))}
    assert cluster.run("s0", "SET", "k", "v") == b"+OK\r\n"
    cluster.start("s0")
    cluster.cut = {frozenset(("s0", "s2")), frozenset(("s1", "s2"))}
    cluster.publish([1, 0, 2], [("s1", "s0", range(SLOT_COUNT))])
    cluster.step(1)
    assert not cluster.cores["s0"].replicator.transfers.arrival_of(slot_of(b"k"))
    assert cluster.run("s1", "GET", "k").startswith(b"-NOREPLICAS")
    cluster.cut = set()
    cluster.step(2)
    assert cluster.run("s0", "GET", "k") == b"$1\r\nv\r\n"
    assert not cluster.cores["s0"].replicator.copies.doubts


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


def test_a_doubt_is_settled_though_the_transfer_that_raised_it_was_given_up() -> None:
    cluster = PureCluster(3, copies=3, replication="quorum")
    cluster.publish([0, 1, 2])
    cluster.step(1)
    cluster.start("s0")
    cluster.publish([1, 2, 0], [("s1", "s0", range(SLOT_COUNT))])
    assert cluster.cores["s0"].replicator.copies.doubts
    cluster.publish([1, 2, 0])
    cluster.step(3)
    assert not cluster.cores["s0"].replicator.copies.doubts
    assert cluster.run("s0", "GET", "nobody") == b"$-1\r\n"


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
