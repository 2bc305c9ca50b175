"""RC.EXPLAIN: what a shard knows of a key, whether or not the key is its own."""

from __future__ import annotations

import hiredis
import pytest

from raycache.client.explain import KeyAtShard, KeyEntry
from raycache.errors import ProtocolError
from raycache.ring.topology import ShardInfo, Topology
from tests.unit.shard.harness import START_MS, Shard, parsed


def explained(shard: Shard, key: bytes | str) -> KeyAtShard:
    return KeyAtShard.from_bytes(parsed(shard.raw("RC.EXPLAIN", key)))


def test_a_key_that_is_there_is_shown_without_being_used() -> None:
    shard = Shard()
    shard.raw("SET", "k", "value", "PX", "5000")
    shard.core.now_ms += 1000
    before = shard.store.stats.as_dict()
    found = explained(shard, "k")
    assert found == KeyAtShard("s0", "", found.entry, "", None, 1.0)
    assert found.entry == KeyEntry(found.entry.version, "bytes", 5, found.entry.charged_bytes, 4.0)  # type: ignore[union-attr]
    assert found.entry.charged_bytes > 100  # type: ignore[union-attr]
    assert shard.store.stats.as_dict() == before


def test_the_version_is_the_one_that_writes_may_name() -> None:
    shard = Shard()
    shard.raw("SET", "k", "v")
    entry = explained(shard, "k").entry
    assert entry is not None
    assert parsed(shard.raw("RC.CAS", "k", str(entry.version), "0", "new", "0")) == 1


def test_why_it_left_comes_with_how_long_ago() -> None:
    shard = Shard()
    shard.raw("SET", "k", "v", "PX", "10")
    shard.core.step(START_MS + 20)
    shard.core.now_ms = START_MS + 2020
    assert explained(shard, "k") == KeyAtShard("s0", "", None, "expired", 2.0, 2.02)


def test_a_key_found_dead_has_expired_now() -> None:
    shard = Shard()
    shard.raw("SET", "k", "v", "PX", "10")
    shard.core.now_ms += 10
    assert explained(shard, "k").left == "expired"


def test_a_shard_answers_for_slots_that_are_not_its_own() -> None:
    shard = Shard()
    other = ShardInfo("s1", "h", 1, "n", "m", "", "up", 1, 1)
    shard.raw("SET", "k", "v")
    shard.core.set_topology(Topology("c", 1, (other,), [[0]] * 16384))  # type: ignore[arg-type]
    assert isinstance(parsed(shard.raw("GET", "k")), hiredis.ReplyError)
    while shard.core.step(START_MS + 50):
        pass
    assert (explained(shard, "k").entry, explained(shard, "k").left) == (None, "moved")


def test_too_large_a_key_and_a_broken_answer_are_refused() -> None:
    assert isinstance(parsed(Shard().raw("RC.EXPLAIN", b"k" * 70_000)), hiredis.ReplyError)
    with pytest.raises(ProtocolError):
        KeyAtShard.from_bytes(b"\xc1")
