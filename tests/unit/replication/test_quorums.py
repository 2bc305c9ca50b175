"""Quorums: whom reads ask and writes wait for, and what a copy that was filled may say."""

from __future__ import annotations

from raycache.ring.slots import SLOT_COUNT, slot_of
from tests.unit.replication.cluster import PureCluster, get


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
