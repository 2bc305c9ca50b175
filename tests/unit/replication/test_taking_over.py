"""Primaries that are cut off, lost or replaced: what of their writes lasts, and what may not come back."""

from __future__ import annotations

import numpy as np
import pytest

from raycache.replication.version import first_version
from raycache.resp.parse import giving
from raycache.ring.slots import SLOT_COUNT, slot_of
from tests.unit.replication.cluster import PureCluster, get, wishes


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
