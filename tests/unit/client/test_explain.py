"""What follows from the shards' accounts of one key."""

from __future__ import annotations

import json

import msgpack
import numpy as np
import pytest

from raycache.client.explain import Explanation, KeyAtShard, KeyEntry, invalidated, of_answers, record, span
from raycache.errors import ShardUnavailableError
from raycache.ring.slots import slot_of
from raycache.ring.topology import ShardInfo, Topology

SHARDS = tuple(ShardInfo(f"s{at}", "h", at + 1, "n", "m", "", "up", 1, 1) for at in range(3))
TABLE = Topology("features", 7, SHARDS, np.tile(np.array([0, 1], dtype=np.int16), (16384, 1)))
ENTRY = KeyEntry(5, "text", 3, 120, None)


def at(shard: str, left: str = "", left_s: float | None = None, entry: KeyEntry | None = None,
       known_s: float = 60.0) -> KeyAtShard:  # fmt: skip
    return KeyAtShard(shard, "", entry, left, left_s, known_s)


def of(*answers: KeyAtShard) -> Explanation:
    return of_answers(TABLE, b"k", list(answers))


def test_owners_come_first_with_their_roles_and_strangers_only_if_they_know_something() -> None:
    found = of(at("s2"), at("s1", entry=ENTRY), at("s0", entry=ENTRY))
    assert [(one.shard_id, one.role) for one in found.shards] == [("s0", "primary"), ("s1", "replica")]
    assert (found.owners, found.copies, found.slot, found.entry) == (("s0", "s1"), 2, slot_of(b"k"), ENTRY)
    assert (found.is_present, found.missed, found.unreachable) == (True, "", ())
    assert found.sentence == "it is there, and has not left in the last 60 s"


@pytest.mark.parametrize(("answers", "missed", "where"), [
    ([at("s0"), at("s1"), at("s2")], "never", ""),
    ([at("s0", "evicted", 9.0), at("s1", "evicted", 8.9), at("s2")], "evicted", "s1"),
    ([at("s0", "expired", 50.0), at("s1", "deleted", 1.0), at("s2", "evicted", 0.5)], "deleted", "s1"),
    ([at("s0"), at("s1"), at("s2", "expired", 30.0)], "expired", "s2"),
    ([at("s0"), at("s1"), at("s2", "moved", 30.0)], "moved", "s2"),
    ([at("s0", "evicted", 90.0), at("s1"), at("s2", "moved", 30.0)], "evicted", "s0"),
    ([at("s0", entry=ENTRY), at("s1"), at("s2", "moved", 30.0)], "", ""),
    ([at("s0", "expired", 4.0, ENTRY), at("s1", entry=ENTRY)], "expired", "s0"),
])  # fmt: skip
def test_why_it_was_missed_last(answers: list[KeyAtShard], missed: str, where: str) -> None:
    found = of(*answers)
    assert (found.missed, found.missed_at) == (missed, where)


def test_sentences_say_what_is_known_and_for_how_long() -> None:
    assert of(at("s0", known_s=7200.0), at("s1", known_s=90.0)).sentence == (
        "never written, as far as is known: it has not left in the last 90 s")
    assert of(at("s0", "evicted", 12.0), at("s1")).sentence == "it was evicted at s0 12 s ago"
    assert of(at("s0", "expired", 300.0, ENTRY), at("s1")).sentence == (
        "it expired at s0 5.0 min ago, and written again since")
    assert "does not count" in invalidated(of(at("s0", entry=ENTRY))).sentence
    assert not invalidated(of(at("s0", entry=ENTRY))).is_present


def test_who_does_not_answer_is_named_and_nobody_is_an_error() -> None:
    assert of(at("s1")).unreachable == ("s0", "s2")
    with pytest.raises(ShardUnavailableError, match="s0, s1, s2"):
        of()


def test_what_a_shard_says_is_read_with_its_clock() -> None:
    account = {"shard_id": "s0", "now_ms": 10_000, "started_ms": 1_000, "entry": None, "cause": "", "at_ms": 4_000}
    assert KeyAtShard.from_bytes(msgpack.packb(account)).known_s == 6.0
    account |= {"cause": "evicted", "entry": {"version": 3, "kind": 6, "size": 1, "charge": 2, "ttl_ms": 1500}}
    found = KeyAtShard.from_bytes(msgpack.packb(account))
    assert (found.left_s, found.known_s, found.entry) == (6.0, 9.0, KeyEntry(3, "loaded value", 1, 2, 1.5))


def test_the_record_is_json_whatever_the_key() -> None:
    found = of_answers(TABLE, b"\xff<script>\n", [at("s0", "evicted", 12.0), at("s1", entry=ENTRY)])
    plain = json.loads(json.dumps(record(found)))
    assert plain["key"] == "\\xff<script>\\n"
    assert (plain["missed"], plain["copies"], plain["shards"][1]["entry"]["version"]) == ("evicted", 1, "5")


@pytest.mark.parametrize(("seconds", "text"), [
    (0.04, "0.0 s"), (9.96, "10.0 s"), (12.4, "12 s"), (300, "5.0 min"), (10_800, "3.0 h"), (259_200, "3.0 d")])
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text
