"""Writes that wait for a database, at several owners: they are where they should be, whoever is lost."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest

from raycache.replication.mutation import CLEAR
from raycache.ring.records import QUEUED, record_key
from raycache.ring.slots import SLOT_COUNT, bitmap_of
from raycache.shard.records import unpack
from tests.unit.replication.cluster import PureCluster

ALL = range(SLOT_COUNT)
KEYS = [f"key:{number}".encode() for number in range(200)]


def said(reply: bytes) -> Any:
    reader = hiredis.Reader()
    reader.feed(reply)
    answer = reader.gets()
    return str(answer) if isinstance(answer, hiredis.ReplyError) else answer


def queue(cluster: PureCluster, shard: str, *keys: bytes, value: bytes = b"v") -> None:
    for key in keys:
        assert cluster.run(shard, "RC.QUEUE", "db", 0, 0, key, value) == b"+OK\r\n"


def waiting(cluster: PureCluster, shard: str) -> dict[bytes, tuple[int, bytes | None]]:
    rows = said(cluster.run(shard, "RC.QUEUED", "db", 1, 10_000))
    return {row[0]: (row[1], row[3]) for row in rows}


def closing(cluster: PureCluster, shard: str) -> Any:
    return said(cluster.run(shard, "RC.QUEUED", "db", 1, 10_000, "CLOSE"))


def held(cluster: PureCluster, shard: str) -> dict[bytes, bytes | None]:
    """Return what a shard keeps, whether or not it leads it."""
    queues = cluster.cores[shard].queues
    return {key: unpack(entry.value).payload for key, entry in queues.of(b"db").waiting.items()}


def dequeue_all(cluster: PureCluster, shard: str) -> int:
    words = [word for key, (version, _) in waiting(cluster, shard).items() for word in (key, version)]
    return int(said(cluster.run(shard, "RC.DEQUEUE", "db", 1, *words)))


@pytest.mark.parametrize("mode", ["primary-replica", "multi-primary", "quorum"])
def test_every_owner_keeps_what_waits_and_forgets_what_is_done(mode: str) -> None:
    cluster = PureCluster(2, copies=2, replication=mode)
    cluster.publish([0, 1])
    cluster.step(0.5)
    queue(cluster, "s0", *KEYS)
    queue(cluster, "s0", *KEYS[:50], value=b"later")
    cluster.step(0.2)
    assert held(cluster, "s0") == held(cluster, "s1")
    assert len(held(cluster, "s1")) == len(KEYS)
    assert waiting(cluster, "s1") == {}, "only who leads a slot hands out"
    assert dequeue_all(cluster, "s0") == len(KEYS)
    cluster.step(0.2)
    assert held(cluster, "s1") == {}
    assert all(not core.whole.pinned.bytes for core in cluster.cores.values())


def test_a_promoted_replica_goes_on_where_the_lost_primary_was() -> None:
    cluster = PureCluster(3, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.5)
    queue(cluster, "s0", *KEYS)
    before = waiting(cluster, "s0")
    cluster.step(0.2)
    del cluster.cores["s0"]
    cluster.publish([1, 0])
    cluster.step(1.5)
    assert waiting(cluster, "s1") == before
    assert cluster.cores["s1"].stats()["queued"] == len(KEYS)
    assert dequeue_all(cluster, "s1") == len(KEYS)


def test_removing_an_old_write_takes_no_later_one_that_is_on_its_way() -> None:
    """Two owners take writes: one removes what the database has while the other takes a newer write."""
    cluster = PureCluster(2, copies=2, replication="multi-primary")
    cluster.publish([0, 1])
    cluster.step(0.5)
    queue(cluster, "s0", b"a", value=b"old")
    cluster.step(0.2)
    cluster.cut.add(frozenset(("s0", "s1")))
    queue(cluster, "s1", b"a", value=b"new")
    cluster.now_s += 5
    assert dequeue_all(cluster, "s0") == 1
    cluster.cut.clear()
    cluster.step(1.0)
    record = record_key(QUEUED, b"db", b"a")
    assert held(cluster, "s0") == held(cluster, "s1") == {record: b"\0new"}


@pytest.mark.parametrize("copies", [1, 2])
def test_what_waits_moves_with_its_slots(copies: int) -> None:
    cluster = PureCluster(3, copies=copies)
    cluster.publish([0, 1][:copies])
    cluster.step(0.5)
    queue(cluster, "s0", *KEYS)
    before = waiting(cluster, "s0")
    cluster.step(0.2)
    cluster.publish([2, 1][:copies], [("s0", "s2", ALL)])
    record, (version, _) = next(iter(before.items()))
    assert said(cluster.run("s2", "RC.PENDING", record)) == [b"\0v"], "before it has arrived"
    queue(cluster, "s2", KEYS[7], value=b"later")
    cluster.step(3)
    cluster.publish([2, 1][:copies])
    cluster.step(1)
    after = waiting(cluster, "s2")
    later = record_key(QUEUED, b"db", KEYS[7])
    assert after.keys() == before.keys()
    assert after.pop(later)[1] == b"\0later"
    before.pop(later)
    assert after == before
    assert len(cluster.cores["s0"].whole) == 0
    assert cluster.cores["s0"].stats()["queued"] == 0
    assert version


@pytest.mark.parametrize("copies", [1, 2])
def test_a_closing_writer_finds_what_waits_wherever_it_is(copies: int) -> None:
    """Before it has come to the shard that leads its slot nobody else would hand it out, and all would seem done."""
    cluster = PureCluster(3, copies=copies)
    cluster.publish([0, 1][:copies])
    cluster.step(0.5)
    queue(cluster, "s0", *KEYS)
    cluster.step(0.2)
    before = waiting(cluster, "s0")
    cluster.publish([2, 1][:copies], [("s0", "s2", ALL)])
    assert waiting(cluster, "s0") == waiting(cluster, "s2") == {}
    found = {row[0]: row[1] for shard in cluster.cores for row in closing(cluster, shard)}
    assert found == {record: version for record, (version, _) in before.items()}
    words = [word for one in found.items() for word in one]
    assert said(cluster.run("s2", "RC.DEQUEUE", "db", 1, *words)) == len(KEYS), "though none has arrived there"
    cluster.step(3)
    cluster.publish([2, 1][:copies])
    cluster.step(1)
    assert [closing(cluster, shard) for shard in cluster.cores] == [[], [], []]


@pytest.mark.parametrize("copies", [1, 2])
def test_clearing_takes_no_write_that_waits_nor_one_that_is_on_its_way(copies: int) -> None:
    cluster = PureCluster(3, copies=copies)
    cluster.publish([0, 1][:copies])
    cluster.step(0.5)
    queue(cluster, "s0", *KEYS)
    cluster.run("s0", "SET", "plain", "x")
    cluster.step(0.2)
    cluster.publish([2, 1][:copies], [("s0", "s2", ALL)])
    cluster.step(0.05)
    cluster.run("s2", "RC.CLEAR")
    cluster.step(3)
    assert len(waiting(cluster, "s2")) == len(KEYS)
    assert len(cluster.cores["s2"].store) == 0
    if copies == 2:
        assert len(held(cluster, "s1")) == len(KEYS)
        assert len(cluster.cores["s1"].store) == 0


def test_a_write_older_than_a_clearing_is_taken_all_the_same() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.5)
    queue(cluster, "s0", b"a")
    mutation = cluster.cores["s0"].replicator.copies.mutation_of(record_key(QUEUED, b"db", b"a"))
    copies = cluster.cores["s1"].replicator.copies
    copies.merge((b"", mutation[1] + (1 << 40), CLEAR, 0, bitmap_of(list(ALL))))
    assert copies.merge(mutation)
    cluster.step(1)
    assert len(held(cluster, "s1")) == 1


def test_a_full_replica_takes_what_waits_all_the_same() -> None:
    cluster = PureCluster(2, copies=2, capacity_bytes=100_000)
    cluster.publish([0, 1])
    cluster.step(0.5)
    for core in cluster.cores.values():
        core.queues.limit_bytes = 60_000
    for number in range(500):
        cluster.run("s0", "SET", f"x{number}", "y" * 100)
    queue(cluster, "s0", *KEYS[:100])
    cluster.step(0.5)
    assert held(cluster, "s1") == held(cluster, "s0")
    for core in cluster.cores.values():
        core.store.check_invariants()


def test_an_owner_that_comes_back_empty_is_given_what_waits() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.5)
    queue(cluster, "s0", *KEYS)
    cluster.step(0.2)
    cluster.start("s1")
    cluster.publish([0, 1], [("s0", "s1", ALL)])
    cluster.step(3)
    assert held(cluster, "s1") == held(cluster, "s0")


def test_deleting_a_key_that_only_looks_like_a_record_concerns_no_other_owner() -> None:
    cluster = PureCluster(2, copies=2)
    cluster.publish([0, 1])
    cluster.step(0.5)
    queue(cluster, "s0", b"a")
    cluster.step(0.2)
    record = record_key(QUEUED, b"db", b"a")
    cluster.run("s0", "SET", record, "x")
    cluster.run("s0", "DEL", record)
    cluster.step(0.5)
    assert held(cluster, "s1") == held(cluster, "s0") == {record: b"\0v"}
