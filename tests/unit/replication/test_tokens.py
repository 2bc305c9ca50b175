"""Reads with tokens: which copy may answer."""

from __future__ import annotations

import pytest

from tests.unit.replication.cluster import PureCluster, wishes


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
