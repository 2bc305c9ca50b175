"""Many keys: grouping by shard, rounds, and the puzzle of the replies. Pure: no sockets."""

from __future__ import annotations

import random
from typing import Any

import hiredis
import numpy as np
import pytest

from raycache.client import batches
from raycache.client.batches import Batch, DeleteMany, GetMany, SetMany
from raycache.client.discovery import candidates, search
from raycache.client.info import ConnectionInfo
from raycache.client.requests import MISSING
from raycache.client.retry import Lost, Moved
from raycache.client.routes import NOBODY, Routes, newer
from raycache.errors import AuthenticationError, ProtocolError, WrongTypeError
from raycache.ring.slots import SLOT_COUNT, slot_of
from raycache.ring.topology import ShardInfo, Topology

KEYS = [b"key:%d" % i for i in range(100)]


def routes(shards: int = 3, *, epoch: int = 1, nobody_from: int = SLOT_COUNT) -> Routes:
    infos = tuple(ShardInfo(f"s{i}", "h", 7000 + i, "n", "m", "", "up", 1, 1) for i in range(shards))
    owners = (np.arange(SLOT_COUNT) % shards).astype(np.int16)
    owners[nobody_from:] = NOBODY
    return Routes(Topology("test", epoch, infos, owners.reshape(-1, 1)))


def answer(batch: GetMany, table: Routes, *, fail: int = NOBODY) -> None:
    """Run one attempt in which every key holds its own name, and shard `fail` has moved."""
    orphans, rounds = batch.rounds(table)
    batch.failed(orphans)
    for parts in rounds:
        for part in parts:
            reply: Any = [b"\0" + batch.keys[position] for position in part.positions]
            failure = batch.take(part, hiredis.ReplyError("MOVED 1 h:1") if part.shard == fail else reply)
            assert (failure is not None) == (part.shard == fail)


def test_every_key_goes_to_its_shard_once() -> None:
    groups = routes().group(KEYS)
    assert [shard for shard, _ in groups] == [0, 1, 2]
    assert sorted(position for _, positions in groups for position in positions) == list(range(100))
    assert all(slot_of(KEYS[position]) % 3 == shard for shard, positions in groups for position in positions)
    assert routes().group([]) == []


def test_values_come_back_in_the_order_of_the_keys() -> None:
    batch = GetMany(KEYS)
    answer(batch, routes())
    assert batch.values == KEYS
    assert batch.pending == []


def test_only_what_failed_is_asked_again() -> None:
    batch = GetMany(KEYS)
    answer(batch, routes(), fail=1)
    assert {slot_of(KEYS[position]) % 3 for position in batch.pending} == {1}
    assert {value is MISSING for value in (batch.values[position] for position in batch.pending)} == {True}
    answer(batch, routes(2, epoch=2))
    assert (batch.values, batch.pending) == (KEYS, [])


def test_keys_that_nobody_serves_stay_pending() -> None:
    batch = GetMany(KEYS)
    answer(batch, routes(nobody_from=8192))
    assert batch.pending == [position for position, key in enumerate(KEYS) if slot_of(key) >= 8192]


def test_a_large_batch_is_cut_into_rounds_of_one_part_per_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_KEYS", 10)
    batch = GetMany(KEYS)
    _, rounds = batch.rounds(routes())
    taken = list(rounds)
    assert all(len(parts) == len({part.shard for part in parts}) for parts in taken)
    assert max(len(part.positions) for parts in taken for part in parts) == 10
    assert sorted(position for parts in taken for part in parts for position in part.positions) == list(range(100))
    assert batch.time_limit_s(2.0) == 22.0


def test_large_values_are_cut_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MAX_BYTES", 250)
    batch = SetMany(KEYS[:5], [b"x" * 100] * 3 + [b"y" * 1000, b""], None)
    _, rounds = batch.rounds(routes(1))
    assert [parts[0].positions for parts in rounds] == [[0, 1], [2], [3], [4]]


def test_a_key_deleted_twice_is_deleted_once() -> None:
    batch = DeleteMany([b"a", b"b", b"a"])
    _, rounds = batch.rounds(routes(1))
    for parts in rounds:
        batch.take(parts[0], 2)
    assert (batch.keys, batch.deleted) == ([b"a", b"b"], 2)


@pytest.mark.parametrize("reply", [None, b"OK", [b"\0x"], [b"\0x"] * 3, -1, 99])
@pytest.mark.parametrize("batch", [GetMany([b"a", b"b"]), DeleteMany([b"a", b"b"])])
def test_a_reply_that_does_not_fit_is_a_protocol_error(batch: Batch, reply: Any) -> None:
    batch.pending = [0, 1]
    _, rounds = batch.rounds(routes(1))
    with pytest.raises(ProtocolError):
        batch.take(next(rounds)[0], reply)


def test_a_refusal_for_good_is_raised() -> None:
    batch = SetMany([b"a"], [1], None)
    _, rounds = batch.rounds(routes(1))
    with pytest.raises(WrongTypeError):
        batch.take(next(rounds)[0], hiredis.ReplyError("WRONGTYPE no"))


def test_routes_are_replaced_only_by_newer_ones() -> None:
    new, old = routes(epoch=5), routes(epoch=4)
    assert newer(new, old.topology.to_bytes()) is None
    assert newer(new, new.topology.to_bytes()) is None
    found = newer(old, new.topology.to_bytes())
    assert found is not None
    assert (found.epoch, found.serving()) == (5, ["s0", "s1", "s2"])
    assert (found.index_of("s2"), found.index_of("s9")) == (2, NOBODY)
    with pytest.raises(ValueError, match="topology"):
        newer(None, b"rubbish")


def asked(table: Routes | None, *answers: Any) -> Any:
    """Run a search over as many addresses as there are answers; return its result."""
    hunt = search(table, [("h", i) for i in range(len(answers))])
    try:
        next(hunt)
        for each in answers:
            hunt.send(each)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it asks on")


def test_a_search_ends_with_the_first_newer_topology() -> None:
    new = routes(epoch=2).topology.to_bytes()
    found = asked(routes(), Lost("down"), None, b"rubbish", new)
    assert found.epoch == 2
    assert asked(routes(), None, Lost("down")) is None


def test_a_search_that_nobody_answers_says_why() -> None:
    with pytest.raises(Lost, match="down"):
        asked(routes(), Lost("down"), Lost("down"))
    with pytest.raises(AuthenticationError):
        asked(routes(), AuthenticationError("WRONGPASS"), Lost("down"))
    with pytest.raises(Lost, match="no address"):
        next(search(None, []))


def test_whom_to_ask_first() -> None:
    info = ConnectionInfo("test", (("seed", 1), ("h", 7000)))
    order = candidates(routes(), info, Moved("MOVED 1 new:9"), {("h", 7002)}, random.Random(1))
    assert order[:2] == [("new", 9), ("h", 7002)]
    assert sorted(order[2:]) == [("h", 7000), ("h", 7001), ("seed", 1)]
    assert candidates(None, info, Lost("x"), set(), random.Random(1))[0] in info.seeds
