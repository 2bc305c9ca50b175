"""Writes that wait for a database: what is queued, handed out, removed, kept, and out of whose reach it is."""

from __future__ import annotations

from typing import Any

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.config import ClusterConfig
from raycache.ring.records import DEAD, QUEUED, parts_of, record_key
from raycache.ring.slots import slot_of
from raycache.shard.records import Record, unpack
from raycache.store import PINNED_KIND
from tests.unit.shard.harness import Shard, parsed

DB = b"db"


def queue(shard: Shard, *words: bytes, px: bytes = b"0") -> Any:
    return said(shard, b"RC.QUEUE", DB, px, *words)


def said(shard: Shard, *words: bytes) -> Any:
    answer = parsed(shard.raw(*words))
    return str(answer) if isinstance(answer, hiredis.ReplyError) else answer


def waiting(shard: Shard, count: int = 100, writer: bytes = b"1") -> list[Any]:
    rows: list[Any] = said(shard, b"RC.QUEUED", DB, writer, b"%d" % count)
    return rows


@given(st.binary(min_size=1, max_size=40), st.sampled_from([b"db", b"a-b", b"x"]), st.sampled_from([QUEUED, DEAD]))
def test_a_record_is_in_the_slot_of_its_key_and_says_which_it_is(key: bytes, store: bytes, sort: bytes) -> None:
    record = record_key(sort, store, key)
    assert slot_of(record) == slot_of(key)
    assert parts_of(record) == (sort, store, key)


def test_what_only_looks_like_a_record_is_none() -> None:
    record = record_key(QUEUED, DB, b"a")
    for key in (b"a", b"", record[:6] + b"{zz}" + record[10:], record.partition(b"db")[0]):
        with pytest.raises(ValueError, match="no key of a record"):
            parts_of(key)


@given(st.integers(0, 2**63), st.integers(0, 2**62), st.none() | st.binary(min_size=1), st.binary(max_size=1200))
def test_a_record_comes_back_as_it_was(version: int, since: int, payload: bytes | None, reason: bytes) -> None:
    record = Record(version, since, payload, reason[:1000])
    assert unpack(Record(version, since, payload, reason).pack()) == record


def test_a_queued_write_is_in_the_cache_and_waits() -> None:
    shard = Shard()
    assert queue(shard, b"3", b"a", b"one", b"0", b"b", b"two") == b"OK"
    assert shard.run("MGET a b") == [b"one", b"two"]
    rows = waiting(shard)
    assert [(parts_of(row[0])[2], row[3]) for row in rows] == [(b"a", b"\x03one"), (b"b", b"\0two")]
    assert rows[0][1] < rows[1][1]


def test_a_later_write_takes_the_place_and_the_age_of_the_one_that_waits() -> None:
    shard = Shard()
    queue(shard, b"0", b"a", b"1")
    (first,) = waiting(shard)
    shard.advance(5000)
    queue(shard, b"0", b"b", b"x")
    queue(shard, b"0", b"a", b"2")
    (again, _) = waiting(shard)
    assert again[3] == b"\x002"
    assert again[1] > first[1]
    assert again[2] == first[2]
    assert shard.core.stats()["queued"] == 2
    assert shard.core.stats()["queue_oldest_s"] == 5.0


def test_a_deletion_waits_too() -> None:
    shard = Shard()
    queue(shard, b"0", b"a", b"1")
    queue(shard, b"-", b"a", b"")
    assert shard.run("GET a") is None
    assert [row[3] for row in waiting(shard)] == [None]
    record = record_key(QUEUED, DB, b"a")
    assert said(shard, b"RC.PENDING", record, record_key(QUEUED, DB, b"z")) == [b"", None]


def test_only_the_version_that_was_written_is_removed() -> None:
    shard = Shard()
    queue(shard, b"0", b"a", b"1")
    ((record, version, *_),) = waiting(shard)
    queue(shard, b"0", b"a", b"2")
    assert said(shard, b"RC.DEQUEUE", DB, b"1", record, b"%d" % version) == 0
    ((record, version, *_),) = waiting(shard)
    assert said(shard, b"RC.DEQUEUE", DB, b"1", record, b"%d" % version) == 1
    assert waiting(shard) == []
    assert shard.run("GET a") == b"2"
    assert shard.core.stats()["queue_oldest_s"] == 0.0
    assert shard.core.whole.pinned.bytes == 0


def test_an_older_writer_is_not_answered_any_more() -> None:
    shard = Shard()
    queue(shard, b"0", b"a", b"1")
    ((record, version, *_),) = waiting(shard, writer=b"7")
    assert said(shard, b"RC.DEQUEUE", DB, b"6", record, b"%d" % version).startswith("FENCED")
    assert said(shard, b"RC.QUEUED", DB, b"6", b"10").startswith("FENCED")
    assert len(waiting(shard, writer=b"7")) == 1


def test_nothing_that_a_client_can_say_touches_what_waits() -> None:
    shard = Shard()
    queue(shard, b"0", b"a", b"1")
    record = record_key(QUEUED, DB, b"a")
    for words in ([b"GET", record], [b"DEL", record], [b"SET", record, b"x"], [b"RENAME", record, b"y"],
                  [b"RC.SET", record, b"0", b"x", b"0"], [b"EXPIRE", record, b"1"], [b"FLUSHALL"]):
        shard.raw(*words)
    assert said(shard, b"RC.SET", record, b"%d" % PINNED_KIND, b"x", b"0").startswith("ERR kind")
    assert [row[3] for row in waiting(shard)] == [b"\x001"]
    shard.core.store.check_invariants()


def test_nobody_sees_it() -> None:
    shard = Shard()
    queue(shard, b"-", b"a", b"")
    assert shard.run("DBSIZE") == 0
    assert shard.run("KEYS *") == []
    assert shard.run("SCAN 0") == [b"0", []]
    assert shard.run("RANDOMKEY") is None
    assert shard.run("INFO keyspace").strip() == b"# Keyspace"
    assert b"raycache_queued:1" in shard.run("INFO raycache")


def test_clearing_forgets_entries_and_no_write_that_waits() -> None:
    shard = Shard()
    queue(shard, b"0", b"a", b"1")
    shard.run("FLUSHALL")
    while shard.core.step(shard.core.now_ms):
        pass
    assert shard.run("DBSIZE") == 0
    assert len(waiting(shard)) == 1
    shard.core.store.check_invariants()
    assert shard.core.store.used_bytes == shard.core.whole.pinned.bytes > 0


def test_entries_make_room_for_what_waits_and_it_is_never_evicted() -> None:
    shard = Shard(capacity_bytes=200_000)
    for number in range(2000):
        shard.raw(b"SET", b"key%d" % number, b"x" * 50)
    for number in range(100):
        assert queue(shard, b"0", b"q%d" % number, b"y" * 50) == b"OK"
    for number in range(2000):
        shard.raw(b"SET", b"other%d" % number, b"x" * 50)
    assert len(waiting(shard, 1000)) == 100
    assert shard.core.store.used_bytes <= 200_000
    shard.core.store.check_invariants()


@pytest.mark.parametrize("policy", ["lru", "noeviction", "ttl", "random"])
def test_a_full_queue_refuses_and_changes_nothing(policy: str) -> None:
    shard = Shard(capacity_bytes=1_000_000, policy=policy)
    shard.core.queues.limit_bytes = 20_000
    count = 0
    while (answer := queue(shard, b"0", b"k%d" % count, b"v" * 100)) == b"OK":
        count += 1
    assert answer.startswith("QUEUEFULL")
    assert shard.run(f"EXISTS k{count}") == 0
    assert 20 < count == len(waiting(shard, 1000))
    assert queue(shard, b"0", b"k0", b"w" * 100) == b"OK", "what takes no more room is taken"
    assert shard.core.stats()["queue_refused"] == 1
    ((record, version, *_), *_) = waiting(shard)
    said(shard, b"RC.DEQUEUE", DB, b"1", record, b"%d" % version)
    assert queue(shard, b"0", b"k%d" % count, b"v" * 100) == b"OK"


def test_a_store_that_is_being_stopped_takes_no_more() -> None:
    shard = Shard()
    queue(shard, b"0", b"a", b"1")
    assert len(said(shard, b"RC.QUEUED", DB, b"1", b"10", b"CLOSE")) == 1
    assert queue(shard, b"0", b"b", b"1").startswith("QUEUECLOSED")
    waiting(shard)
    assert queue(shard, b"0", b"b", b"1") == b"OK"


def test_a_dead_letter_is_kept_listed_and_brought_back() -> None:
    shard = Shard()
    queue(shard, b"0", b"a", b"1")
    ((record, version, since, payload),) = waiting(shard)
    assert said(shard, b"RC.BURY", DB, b"1", record, b"%d" % version, b"too long") == 1
    assert waiting(shard) == []
    (letter,) = said(shard, b"RC.DEADLETTERS", DB, b"10")
    assert letter[1:] == [version, since, payload, b"too long"]
    assert shard.core.stats()["dead_letters"] == 1
    assert said(shard, b"RC.REVIVE", letter[0]) == 1
    assert waiting(shard) == [[record, version, since, payload]]
    assert said(shard, b"RC.DEADLETTERS", DB, b"10") == []


def test_a_dead_letter_does_not_overtake_a_later_write() -> None:
    shard = Shard()
    queue(shard, b"0", b"a", b"1")
    ((record, version, *_),) = waiting(shard)
    said(shard, b"RC.BURY", DB, b"1", record, b"%d" % version, b"no")
    queue(shard, b"0", b"a", b"2")
    ((name, *_),) = said(shard, b"RC.DEADLETTERS", DB, b"10")
    assert said(shard, b"RC.REVIVE", name) == 0
    assert [row[3] for row in waiting(shard)] == [b"\x002"]
    assert said(shard, b"RC.DISCARD", record) .startswith("ERR no dead letter")


def test_many_and_large_writes_come_in_steps() -> None:
    shard = Shard()
    words: list[bytes | str] = ["RC.QUEUE", "db", "0"]
    for number in range(1500):
        words += ["0", f"k{number}", "v"]
    reply, steps = shard.drive(words)
    assert (parsed(reply), steps > 2) == (b"OK", True)
    assert len(waiting(shard, 5000)) == 1500
    reply, steps = shard.drive(["RC.QUEUE", "db", "0", "0", "large", b"x" * 500_000])
    assert (parsed(reply), steps > 1) == (b"OK", True)


def test_words_that_make_no_sense_are_refused() -> None:
    shard = Shard()
    for words in ([b"RC.QUEUE", b"", b"0", b"0", b"a", b"1"], [b"RC.QUEUE", b"a\0b", b"0", b"0", b"a", b"1"],
                  [b"RC.QUEUE", b"db", b"0", b"256", b"a", b"1"], [b"RC.QUEUE", b"db", b"0", b"0", b"a", b"1", b"0"],
                  [b"RC.QUEUED", b"db", b"1", b"1", b"OPEN"], [b"RC.DISCARD", b"a"]):
        assert said(shard, *words).startswith("ERR"), words
    assert shard.run("DBSIZE") == 0


def test_the_limit_is_the_clusters_where_it_says_one() -> None:
    shard = Shard()
    shard.core.replicate(ClusterConfig(name="c", queue_bytes=5000), 0.0)
    assert shard.core.queues.limit_bytes == 5000
    with pytest.raises(ValueError, match="queue_bytes"):
        ClusterConfig(name="c", queue_bytes=-1)
