"""Runs: whatever looks like one is taken apart exactly as it would be frame by frame."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raycache.config import Limits
from raycache.resp.parse import RequestParser, is_command
from raycache.resp.runs import NO_MORE, NO_SHAPE, RUN_BYTES, Run, run_of, shape_of

LIMITS = Limits()


def frame(*argv: bytes) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv)


def taken(parser: RequestParser, count: int = 1 << 20) -> list[list[bytes]]:
    """Take up to `count` commands, as a turn does."""
    found: list[list[bytes]] = []
    while True:
        take, before = parser.start(), len(found)
        while len(found) < count and (argv := take()) is not NO_MORE:
            assert is_command(argv)
            found.append(argv)
        if len(found) == count:
            parser.finish(has_taken=True, has_all=False)
            return found
        if not parser.finish(has_taken=len(found) > before, has_all=True):
            return found


def whole(sent: bytes) -> list[list[bytes]] | None:
    """Return the commands of a chunk that is a run."""
    shape = shape_of(sent)
    run = run_of(shape, sent) if sent.startswith(shape.prefix) else None
    return None if run is None else list(iter(run.take(), NO_MORE))


def alike(*arguments: Callable[[int], bytes], name: bytes = b"GET", count: int = 20) -> list[list[bytes]]:
    return [[name, *(argument(number) for argument in arguments)] for number in range(count)]


def number_of(number: int) -> bytes:
    return b"key:%08d" % number


def bytes_of(commands: list[list[bytes]]) -> bytes:
    return b"".join(frame(*argv) for argv in commands)


LOOKALIKES = [b"*2\r\n$3\r\nGET\r\n$12\r\n", b"\r\n", b"\r\n*2\r\n$3\r\nGET\r\n$12\r\nabcdefghijkl", b"$4\r\n", b""]


@given(st.sampled_from([b"GET", b"SET", b"RC.GET", b"x"]), st.integers(1, 40), st.none() | st.integers(0, 40),
       st.integers(1, 12), st.data())
def test_commands_of_one_shape_come_out_as_they_were_sent(name: bytes, key_size: int, value_size: int | None,
                                                          count: int, data: st.DataObject) -> None:
    sizes = [key_size] if value_size is None else [key_size, value_size]

    def argument(size: int) -> bytes:
        if data.draw(st.integers(0, 9)):
            return b"k" * size
        return (data.draw(st.sampled_from(LOOKALIKES)) + data.draw(st.binary(max_size=size)) + b"k" * size)[:size]

    commands = [[name, *map(argument, sizes)] for _ in range(count)]
    sent = bytes_of(commands)
    found = whole(sent)
    assert found is None or found == commands
    parser = RequestParser(LIMITS)
    parser.feed(sent)
    assert taken(parser) == commands


@pytest.mark.parametrize("commands", [alike(number_of), alike(number_of, number_of, name=b"SET"),
                                      alike(number_of, lambda number: b"", name=b"set")])
def test_a_run_is_recognised(commands: list[list[bytes]]) -> None:
    sent = bytes_of(commands)
    assert len(sent) >= RUN_BYTES
    assert whole(sent) == commands


@given(st.binary(min_size=1, max_size=3), st.integers(0, 10_000), st.integers(0, 3))
@example(b"\r\n", 40, 0)
@example(b"*", 35, 1)
@example(b"\0", 0, 0)
def test_a_changed_run_reads_as_it_does_frame_by_frame(change: bytes, at: int, removed: int) -> None:
    sent = bytes_of(alike(number_of, number_of, name=b"SET", count=8))
    at %= len(sent)
    sent = sent[:at] + change + sent[at + removed :]
    found = whole(sent)
    assert found is None or bytes_of(found) == sent


@pytest.mark.parametrize("sent", [
    b"", b"PING\r\n", frame(b"PING"), frame(b"GET", b""), frame(b"A", b"b", b"c", b"d"),
    b"*2\r\n$4\r\nGET\r\n$1\r\nk\r\n", b"*2\r\n$03\r\nGET\r\n$1\r\nk\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nkk\r\n$1\r\nv\r\n",
    frame(b"G\nT", b"k"), frame(b"SET", b"k", b"v" * 200_000),
])  # fmt: skip
def test_what_cannot_begin_a_run_has_no_shape(sent: bytes) -> None:
    assert shape_of(sent) is NO_SHAPE


@pytest.mark.parametrize("other", [
    frame(b"GET", b"key:1"), frame(b"PING"), frame(b"TTL", b"key:00000001"), frame(b"SET", b"key:00000001", b"v"),
])  # fmt: skip
def test_one_that_differs_sends_all_the_usual_way(other: bytes) -> None:
    sent = bytes_of(alike(number_of)) + other + bytes_of(alike(number_of))
    parser = RequestParser(LIMITS)
    parser.feed(sent)
    assert whole(sent) is None
    assert len(taken(parser)) == 41


def test_a_run_may_be_taken_in_turns_and_what_follows_comes_after_it() -> None:
    run, later = alike(number_of), alike(number_of, name=b"TTL", count=3)
    parser = RequestParser(LIMITS)
    parser.feed(bytes_of(run))
    assert taken(parser, 7) == run[:7]
    assert parser.has_partial
    parser.feed(bytes_of(later)[:30])
    assert taken(parser) == run[7:]
    assert taken(parser) == later[:0]
    parser.feed(bytes_of(later)[30:])
    assert taken(parser) == later
    assert not parser.has_partial


def test_a_run_that_is_cut_waits_for_its_rest() -> None:
    run = alike(number_of)
    for cut in range(RUN_BYTES, len(bytes_of(run))):
        parser = RequestParser(LIMITS)
        parser.feed(bytes_of(run)[:cut])
        found = taken(parser)
        parser.feed(bytes_of(run)[cut:])
        assert found + taken(parser) == run
        assert (parser.has_partial, parser.error) == (False, None)


def test_a_run_may_be_drained() -> None:
    run = alike(number_of)
    parser = RequestParser(LIMITS)
    parser.feed(bytes_of(run))
    assert parser.drain()
    assert list(parser.ready) == run
    assert not parser.has_partial


def test_a_broken_frame_behind_runs_is_found() -> None:
    parser = RequestParser(LIMITS)
    parser.feed(bytes_of(alike(number_of)))
    assert len(taken(parser)) == 20
    parser.feed(b"*1\r\n:5\r\n" + bytes_of(alike(number_of)))
    assert not parser.drain()
    assert parser.error is not None


@pytest.mark.parametrize("text", [b"*99999999", b"*2\r\n$99999999\r\n", b"*70000\r\n*70000\r\n"])
def test_what_values_say_is_no_header(text: bytes) -> None:
    """All of a run is known, so that nothing in it need be looked at as if hiredis were to read it."""
    commands = [[b"SET", b"key:%d" % (100 + number), text + b"v" * 20] for number in range(20)]
    parser = RequestParser(LIMITS)
    parser.feed(bytes_of(commands))
    assert isinstance(parser.take, Run)
    assert taken(parser) == commands
    assert not parser.has_partial
    parser.feed(bytes_of(commands[:3]) + b"*70000\r\n$1\r\nx\r\n")  # and outside of one it is
    assert taken(parser) == commands[:3]
    assert parser.error is not None
