"""Reads over several copies, driven by hand: whom they ask, with what, and what they make of refusals."""

from __future__ import annotations

from typing import Any

import hiredis
import msgpack
import numpy as np
import pytest

from raycache.client import frames
from raycache.client.batches import Part
from raycache.client.reading import MAX_KEYS, ManyReads, OneRead
from raycache.client.results import Result, presence_of, result_of, rows_of, versioned_of
from raycache.client.retry import ClusterLoadingError, Moved, Refusals
from raycache.client.routes import Routes
from raycache.client.token import Token
from raycache.client.wishes import PLAIN, ReadWishes
from raycache.errors import NotEnoughReplicasError, ProtocolError, WrongTypeError
from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import ShardInfo, Topology

ROW = [b"\x00hello", 7, b"s1", 1500]
MISS = [None, 0, b"s1", -1]


def routes(row: tuple[int, ...] = (0, 1, 2), down: int = -1) -> Routes:
    shards = tuple(ShardInfo(f"s{i}", "h", 1 + i, "n", "m", "", "down" if i == down else "up", 1, 1) for i in range(3))
    return Routes(Topology("x", 1, shards, np.tile(np.array(row, dtype=np.int16), (SLOT_COUNT, 1))))


def options_in(frame: bytes) -> Any:
    reader = hiredis.Reader()
    reader.feed(frame)
    name, options, *_ = reader.gets()
    assert name == b"RC.READ"
    return msgpack.unpackb(options, strict_map_key=False)


def asked(read: OneRead[Any], some: Routes, suspects: tuple[int, ...] = ()) -> list[tuple[int, Any]]:
    return [(index, options_in(request.frame)) for index, request in read.round(some, 0, suspects.__contains__)]


def test_one_read_asks_the_primary_as_such_and_the_others_as_replicas() -> None:
    read = OneRead(b"k", presence_of, PLAIN, 0.1, 5.0)
    assert asked(read, routes()) == [(0, {"from": "primary"}), (1, {"from": "replica"}), (2, {"from": "replica"})]
    assert [index for index, _ in asked(read, routes(), suspects=(0, 1))] == [2, 0, 1]


def test_each_round_is_twice_as_patient_and_a_token_gets_time_of_its_own() -> None:
    read = OneRead(b"k", presence_of, ReadWishes(token=Token(((1, 5),))), 0.1, 5.0)
    assert read.patience_s == pytest.approx(0.35)
    asked(read, routes())
    assert read.patience_s == pytest.approx(0.7)
    assert (read.can_wait, OneRead(b"k", presence_of, PLAIN, 0.1, 5.0).can_wait) == (True, False)


def test_nobody_waits_for_what_a_lost_shard_wrote_and_the_primary_is_asked_first() -> None:
    read = OneRead(b"k", presence_of, ReadWishes("replica", Token(((0, 9), (1, 5)))), 0.1, 5.0)
    assert asked(read, routes((1, 2, 0), down=0))[0] == (1, {"from": "primary", "token": {1: 5}, "timeout_ms": 250})
    assert asked(read, routes((1, 2, 0)))[0][0] == 2


def test_many_reads_go_round_those_that_fail_and_start_again_with_everybody() -> None:
    reads, some = ManyReads([b"a", b"b"], PLAIN, 0.1, 5.0), routes()
    reads.start(set())
    order = []
    for _ in range(3):
        ((part,),) = list(reads.next_parts(some))
        order.append((part.shard, options_in(part.frame)["from"]))
        reads.refused(part, Moved("MOVED 1 h:2"))
    assert order == [(0, "primary"), (1, "replica"), (2, "replica")]
    assert list(reads.next_parts(some)) == []
    assert sorted(reads.pending) == [0, 1]
    reads.end()
    reads.start(set())
    ((part,),) = list(reads.next_parts(some))
    assert part.shard == 0
    assert reads.take_or_refuse(part, [ROW, MISS]) is None
    assert (reads.rows, reads.pending, reads.patience_s) == ([ROW, MISS], [], 0.2)


def test_suspects_are_asked_when_there_is_nobody_else() -> None:
    reads = ManyReads([b"a"], PLAIN, 0.1, 5.0)
    reads.start({0, 1, 2})
    ((part,),) = list(reads.next_parts(routes()))
    assert part.shard == 0


def test_one_command_has_a_thousand_keys_at_most() -> None:
    reads = ManyReads([b"%d" % number for number in range(MAX_KEYS + 1)], PLAIN, 0.1, 5.0)
    reads.start(set())
    assert [len(part.positions) for parts in reads.next_parts(routes()) for part in parts] == [MAX_KEYS, 1]


@pytest.mark.parametrize(("reply", "kind"), [
    ("MOVED 1 h:2", Moved), ("TRYAGAIN this copy is behind the token", ClusterLoadingError),
    ("NOREPLICAS 1 of the 2 copies needed are alive", NotEnoughReplicasError)])
def test_what_one_copy_refuses_another_may_answer(reply: str, kind: type[Exception]) -> None:
    reads = ManyReads([b"a"], PLAIN, 0.1, 5.0)
    reads.pending = []
    error = reads.take_or_refuse(Part(0, [0], b""), hiredis.ReplyError(reply))
    assert isinstance(error, kind)
    assert (reads.pending, bool(reads.refusals)) == ([0], True)


def test_what_no_copy_would_answer_is_raised() -> None:
    with pytest.raises(WrongTypeError):
        ManyReads([b"a"], PLAIN, 0.1, 5.0).take_or_refuse(Part(0, [0], b""), hiredis.ReplyError("WRONGTYPE no"))


def test_the_verdict_is_the_refusal_that_says_most() -> None:
    few, moved, again = NotEnoughReplicasError("few"), Moved("MOVED 1 h:2"), ClusterLoadingError("TRYAGAIN")
    refusals = Refusals()
    for error in (again, moved, few, again):
        refusals.add(error)
    assert refusals.verdict() is few


def test_rows_say_value_version_source_and_age() -> None:
    assert result_of(ROW) == Result(b"hello", 7, "s1", 1.5)
    assert result_of([b"\x00x", 7, b"s0", -1]) == Result(b"x", 7, "s0", None)
    assert (result_of(MISS), versioned_of(MISS), presence_of(MISS), presence_of(ROW)) == (None, None, False, True)


@pytest.mark.parametrize("reply", [None, b"x", [], [ROW, ROW], [[b"x", 1, b"s"]], [[b"", 1, b"s", 1]],
                                   [[1, 1, b"s", 1]], [[None, None, b"s", 1]], [[None, 1, "s", 1]], [None]])
def test_rubbish_is_a_protocol_error(reply: Any) -> None:
    with pytest.raises(ProtocolError, match=r"RC\.READ"):
        rows_of(reply, 1)


def test_a_command_is_put_into_another() -> None:
    inner = frames.command(b"PERSIST", b"k") + frames.command(b"EXISTS", b"k")
    assert frames.wrapped(inner, b"RC.WRITE", b"opt") == (
        frames.command(b"RC.WRITE", b"opt", b"PERSIST", b"k") + frames.command(b"EXISTS", b"k"))
    assert frames.inner([b"OK", 1]) == b"OK"
    for rubbish in (b"OK", [b"OK"], [b"OK", b"1"]):
        with pytest.raises(ProtocolError):
            frames.inner(rubbish)
