"""What a look at a piece of input sees."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.client.frames import command
from raycache.shard.core import _keys_among
from raycache.usage.looks import FADE, MAX_KEY_BYTES, MOST_ARGUMENTS, Usage, arguments_at


def usage() -> Usage:
    return Usage(_keys_among, random.Random(7))


def seen(one: Usage) -> dict[bytes, float]:
    return {heavy.key: heavy.count for heavy in one.sketch.top(128)}


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.binary(max_size=30))
def test_a_whole_command_is_read_as_it_was_written(argv: list[bytes], more: bytes) -> None:
    assert arguments_at(command(*argv) + more, 0) == argv


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=6), st.data())
def test_of_a_cut_one_only_whole_arguments(argv: list[bytes], data: st.DataObject) -> None:
    frame = command(*argv)
    found = arguments_at(frame[: data.draw(st.integers(0, len(frame) - 1))], 0)
    assert found == argv[: len(found)]


@given(st.binary(max_size=60))
def test_whatever_comes_a_look_raises_nothing(data: bytes) -> None:
    one = usage()
    for piece in (data, b"*2\r\n" + data, b"*3\r\n$3\r\nGET\r\n" + data, b"x" * 70 + b"\r\n*" + data):
        if piece:
            one.look(piece)


@pytest.mark.parametrize(
    ("argv", "keys"),
    [
        ((b"GET", b"k"), {b"k"}),
        ((b"rc.get", b"k"), {b"k"}),
        ((b"SET", b"k", b"v", b"EX", b"9"), {b"k"}),
        ((b"MSET", b"k1", b"v", b"k2", b"v"), {b"k1", b"k2"}),
        ((b"RC.MGET", b"k1", b"k2"), {b"k1", b"k2"}),
        ((b"RC.READ", b"\x80", b"k1"), {b"k1"}),
        ((b"PING",), set()),
        ((b"NOSUCH", b"k"), set()),
    ],
)
def test_keys_are_seen_and_nothing_else(argv: tuple[bytes, ...], keys: set[bytes]) -> None:
    one = usage()
    for _ in range(50):
        one.look(command(*argv))
    assert seen(one).keys() == keys


def test_each_command_of_a_pipeline_may_be_seen() -> None:
    one, pipeline = usage(), b"".join(command(b"GET", b"key:%02d" % number) for number in range(20))
    for _ in range(2000):
        one.look(pipeline)
    assert seen(one).keys() == {b"key:%02d" % number for number in range(20)}
    assert max(seen(one).values()) < 3 * 2000 / 20


def test_of_a_large_batch_the_first_keys_are_seen() -> None:
    one, batch = usage(), command(b"RC.MGET", *[b"%04d" % number for number in range(5000)])
    for _ in range(200):
        one.look(batch)
    assert set(seen(one)) <= {b"%04d" % number for number in range(MOST_ARGUMENTS - 1)}
    assert len(seen(one)) > 20


def test_shares_are_those_of_the_requests() -> None:
    one, rng, truth = usage(), random.Random(1), Counter[bytes]()
    for _ in range(5000):
        key = b"hot" if rng.random() < 0.3 else b"cold:%d" % rng.randrange(10_000)
        truth[key] += 1
        one.look(command(b"GET", key))
    (hottest, *_) = one.sketch.top(1)
    assert hottest.key == b"hot"
    assert hottest.count - hottest.error <= truth[b"hot"] <= hottest.count
    assert hottest.error <= 5000 / 128


def test_a_long_key_is_kept_in_part() -> None:
    one = usage()
    one.look(command(b"GET", b"k" * 1000))
    assert list(seen(one)) == [b"k" * MAX_KEY_BYTES]


def test_looks_fade_with_time_and_not_with_steps() -> None:
    one = usage()
    for _ in range(64):
        one.look(command(b"GET", b"k"))
    one.step(10_000)
    for now_ms in range(10_100, 20_001, 100):
        one.step(now_ms)
    assert seen(one)[b"k"] == pytest.approx(64 * FADE**10) == pytest.approx(32)
    one.step(5_000)  # the clock was set back
    one.step(5_900)
    assert seen(one)[b"k"] == pytest.approx(32)
    one.step(10**9)
    assert seen(one) == {}
