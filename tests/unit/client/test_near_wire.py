"""What a near cache says to shards: which commands count as writes, and how answers read."""

from __future__ import annotations

import pytest

from raycache.client import leasing, near_wire, requests
from raycache.client.batches import GetMany, Part
from raycache.client.near_wire import NearAgedMany, NearMany, answer_of, may_write
from raycache.client.requests import MISSING
from raycache.errors import ProtocolError
from raycache.near import UNTRACKED, Source

TOKEN = b"0123456789abcdef"


@pytest.mark.parametrize("frame", [
    requests.store(b"k", 1, None).frame, requests.store_if(b"NX", b"k", 1, 5).frame, requests.delete(b"k").frame,
    requests.increment(b"k", 1, None).frame, requests.touch(b"k", None).frame, requests.touch(b"k", 5).frame,
    requests.compare_and_set(b"k", 1, 0, None).frame, requests.clear().frame,
    requests.acknowledged(requests.delete(b"k"), 1, 0, 1.0).frame,
])
def test_what_changes_values_is_a_write(frame: bytes) -> None:
    assert may_write(frame)


@pytest.mark.parametrize("frame", [
    requests.get(b"k").frame, requests.get_with_version(b"k").frame, requests.get_result(b"k", 1.0).frame,
    requests.exists(b"k").frame, requests.time_left(b"k").frame, requests.scan(0, b"", 10).frame,
    requests.stats().frame, requests.clock().frame, requests.topology(0).frame, leasing.fetch(b"k").frame,
    GetMany([b"k"]).frame([0]), near_wire.read(b"k", Source(TOKEN, 0.0)).frame, near_wire.read(b"k", None).frame,
])
def test_what_only_looks_is_none(frame: bytes) -> None:
    assert not may_write(frame)


def test_answers() -> None:
    assert answer_of(None)[:2] == (None, UNTRACKED)
    aged = (250).to_bytes(8, "big") + b"\x00v"
    assert answer_of(b"\x01" + aged)[:2] == (b"\x00v", 250)
    assert answer_of(b"\x01" + b"\xff" * 8 + b"\x00v")[:2] == (b"\x00v", -1)
    assert answer_of(b"\x00" + aged)[:2] == (b"\x00v", UNTRACKED)
    assert [answer_of(said).aged for said in (b"\x00" + aged, b"\x01" + aged, None)] == [aged, aged, None]
    for reply in (b"", b"\x01short", 7):
        with pytest.raises(ProtocolError):
            answer_of(reply)


def test_a_batch_names_the_token_of_each_shard() -> None:
    source = Source(TOKEN, 0.0)
    batch = NearMany([b"a", b"b", b"c"], lambda shard: source if shard == 1 else None)
    (parts,) = batch._rounds([(0, [2]), (1, [0, 1])])
    assert [part.frame.split(b"\r\n")[2:5:2] for part in parts] == [[b"RC.MNEAR", b""], [b"RC.MNEAR", TOKEN]]
    assert batch.sources == [source, source, None]
    batch.accept(parts[1], [b"\x01" + b"\xff" * 8 + b"\x00v", None])
    assert (batch.values, batch.answers[0][:2]) == ([b"v", MISSING, MISSING], (b"\x00v", -1))
    with pytest.raises(ProtocolError):
        batch.accept(Part(0, [2], batch.frame), b"something else")


def test_a_batch_for_loading_keeps_lifetimes() -> None:
    batch = NearAgedMany([b"a", b"b"], lambda shard: None)
    aged = (250).to_bytes(8, "big") + b"\x06 not decoded"
    batch.accept(Part(0, [0, 1], batch.frame), [b"\x00" + aged, None])
    assert batch.values == [aged, MISSING]
    assert batch.read([b"\x00v", None]) == [b"\xff" * 8 + b"\x00v", MISSING]  # of another copy


def test_what_is_read_for_no_source_tells_its_lifetime() -> None:
    decode = near_wire.read(b"k", None).decode
    assert decode(None) == (None, UNTRACKED, b"\xff" * 8)
    assert decode((5).to_bytes(8, "big") + b"\x00v") == (b"\x00v", UNTRACKED, (5).to_bytes(8, "big"))
    for reply in (b"\x00v", 7):
        with pytest.raises(ProtocolError):
            decode(reply)


def test_announcements() -> None:
    assert near_wire.announced([b"invalidate", [b"a", b"b"]]) == [b"a", b"b"]
    assert near_wire.announced([b"invalidate", None]) is None
    with pytest.raises(ProtocolError):
        near_wire.announced([b"message", b"channel", b"text"])
