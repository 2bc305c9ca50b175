"""Requests from bytes: complete commands, limits, inline commands, and bytes cut anywhere."""

from __future__ import annotations

import itertools
import pathlib
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.config import MIB, Limits
from raycache.errors import ProtocolError
from raycache.resp.parse import BROKEN, RequestParser, is_command, split_inline

SMALL = Limits(max_arguments=1000, max_value_bytes=100_000)


def frame(*argv: bytes) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv)


def take(parser: RequestParser) -> list[list[bytes]]:
    """Take what is complete, as a shard does."""
    found: list[list[bytes]] = []
    while True:
        before, has_all = len(found), True
        try:
            found.extend(argv for argv in parser.commands() if is_command(argv))
        except BROKEN as error:
            has_all = not parser.fail(error)
        if not parser.finish(has_taken=len(found) > before, has_all=has_all):
            return found


def parse(chunks: list[bytes], limits: Limits = SMALL) -> tuple[list[list[bytes]], str | None]:
    parser = RequestParser(limits)
    commands = []
    for chunk in filter(None, chunks):
        parser.feed(chunk)
        commands += take(parser)
    return commands, None if parser.error is None else str(parser.error)


def every_cut(data: bytes) -> list[list[bytes]]:
    return [[data[:cut], data[cut:]] for cut in range(len(data) + 1)] + [[bytes([byte]) for byte in data]]


def test_several_commands_in_one_chunk_come_out_in_order() -> None:
    commands, error = parse([frame(b"SET", b"k", b"v") + frame(b"GET", b"k")])
    assert commands == [[b"SET", b"k", b"v"], [b"GET", b"k"]]
    assert error is None


LOOKALIKES = [b"*99999999\r\n", b"$999999999\r\n", b"\r\n*1\r\n$4\r\nPING\r\n", b"x*1234", b"$12345678", b""]
ARGUMENTS = st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(LOOKALIKES)), min_size=1, max_size=4)


@given(st.lists(ARGUMENTS, min_size=1, max_size=4), st.data())
def test_cut_anywhere_the_commands_are_the_same(commands: list[list[bytes]], data: st.DataObject) -> None:
    stream = b"".join(frame(*argv) for argv in commands)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parse(chunks) == (commands, None)


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_rubbish_gives_commands_or_the_one_documented_error(data: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    commands, error = parse([data[a:b] for a, b in itertools.pairwise(bounds)])
    assert all(argv and all(type(argument) is bytes for argument in argv) for argv in commands)
    assert error is None or error.startswith("Protocol error")


@pytest.mark.parametrize(("header", "text"), [
    (b"*1001\r\n", "Protocol error: invalid multibulk length"),
    (b"*2000000000\r\n", "Protocol error: invalid multibulk length"),
    (b"*1\r\n$100001\r\n", "Protocol error: invalid bulk length"),
    (b"*2\r\n$3\r\nGET\r\n$4000000000\r\n", "Protocol error: invalid bulk length"),
])
def test_a_header_over_the_limit_is_refused_however_it_is_cut(header: bytes, text: str) -> None:
    before = frame(b"PING")
    for chunks in every_cut(before + header):
        assert parse(chunks) == ([[b"PING"]], text)


def test_what_only_looks_like_a_long_header_is_a_value() -> None:
    value = b"*2000000000\r\n$4000000000\r\n*1001\r\n"
    for chunks in every_cut(frame(b"SET", b"k", value) + frame(b"PING")):
        assert parse(chunks) == ([[b"SET", b"k", value], [b"PING"]], None)


def test_sizes_at_the_limit_pass() -> None:
    assert parse([frame(*[b"a"] * 1000)]) == ([[b"a"] * 1000], None)
    commands, error = parse([frame(b"SET", b"k", b"v" * 100_000)])
    assert (len(commands[0][2]), error) == (100_000, None)


@pytest.mark.parametrize("data", [
    b"*1\r\n:5\r\n", b"*1\r\n*1\r\n$1\r\na\r\n",
    b"*1\r\n$-1\r\n", b"$3\r\nabc\r\n", b"*1\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n",
    b"*abc\r\n", b"*1\r\n$x\r\n", b"*2\r\n$3\r\nGET\r\nPING\r\n",
    b"*1\r\n" * 9 + b"*10\r\n", b"*2\r\n$1\r\na\r\n*11\r\n",
])
def test_anything_but_an_array_of_bulk_strings_is_an_error(data: bytes) -> None:
    for chunks in every_cut(data):
        commands, error = parse(chunks)
        assert commands == []
        assert error is not None
        assert error.startswith("Protocol error")


def test_commands_before_an_error_stand_and_what_follows_is_ignored() -> None:
    parser = RequestParser(SMALL)
    parser.feed(frame(b"PING") + b"*5000\r\n")
    parser.feed(frame(b"FLUSHALL"))
    assert parser.error is None
    assert take(parser) == [[b"PING"]]
    assert str(parser.error) == "Protocol error: invalid multibulk length"
    assert take(parser) == []


def test_commands_may_be_taken_one_by_one() -> None:
    parser = RequestParser(SMALL)
    parser.feed(frame(b"GET", b"a") + frame(b"GET", b"b"))
    assert next(parser.commands()) == [b"GET", b"a"]
    parser.feed(frame(*[b"c"] * 20) + frame(b"GET", b"d"))
    assert take(parser) == [[b"GET", b"b"], [b"c"] * 20, [b"GET", b"d"]]
    assert not parser.has_partial


def test_drained_commands_come_some_at_a_time() -> None:
    parser, commands = RequestParser(SMALL), [[b"GET", b"%d" % number] for number in range(5000)]
    parser.feed(b"".join(frame(*argv) for argv in commands))
    drained = []
    while parser.drain():
        assert len(parser.ready) < 1000
        drained += parser.ready
        parser.ready.clear()
    assert drained == commands
    assert not parser.has_partial


VALUES = [b"*1\r\n$3\r\nabc\r\n$9999999999\r\n", b"*1\r\nfoo\r\n$9999999999\r\n", b"PING\r\n", b"*9\r\n*9\r\n"]


@pytest.mark.parametrize("value", VALUES)
def test_what_comes_while_commands_wait_is_read_as_what_it_is(value: bytes) -> None:
    parser = RequestParser(SMALL)
    parser.feed(frame(b"PING") * 3 + frame(b"SET", b"k", value)[: -len(value) - 2])
    first = next(parser.commands())
    assert parser.finish(has_taken=True, has_all=False)
    parser.feed(value)
    parser.feed(b"\r\n" + frame(b"PING"))
    assert [first, *take(parser)] == [[b"PING"]] * 3 + [[b"SET", b"k", value], [b"PING"]]
    assert parser.error is None
    assert not parser.has_partial


def test_all_that_waits_is_pending() -> None:
    parser, pings = RequestParser(SMALL), frame(b"PING") * 10_000
    for _ in range(5):
        parser.feed(pings)
        next(parser.commands())
        parser.finish(has_taken=True, has_all=False)
    assert parser.pending_bytes == 5 * len(pings)
    assert len(take(parser)) == 5 * 10_000 - 5
    assert parser.pending_bytes == 0


def test_the_memory_of_a_large_command_is_given_back() -> None:
    parser, value = RequestParser(Limits()), b"x" * 64 * MIB
    before = resident_bytes()
    parser.feed(frame(b"SET", b"k", value))
    assert len(take(parser)) == 1
    assert resident_bytes() - before < 16 * MIB


def resident_bytes() -> int:
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_empty_and_null_arrays_are_skipped() -> None:
    assert parse([b"*0\r\n*-1\r\n" + frame(b"PING")]) == ([[b"PING"]], None)


def test_inline_commands_are_split_and_mix_with_frames() -> None:
    data = b"PING\r\n\r\nset  a 'b c'\n" + frame(b"GET", b"a")
    for chunks in every_cut(data):
        assert parse(chunks) == ([[b"PING"], [b"set", b"a", b"b c"], [b"GET", b"a"]], None)


def test_inline_commands_may_stand_behind_frames() -> None:
    data = frame(b"GET", b"a") * 2 + b"PING\r\n" + frame(b"GET", b"b") + b":5\r\n%1\r\n\r\n" + frame(b"GET", b"c")
    found = [[b"GET", b"a"]] * 2 + [[b"PING"], [b"GET", b"b"], [b":5"], [b"%1"], [b"GET", b"c"]]
    for chunks in every_cut(data):
        assert parse(chunks) == (found, None)


def test_inline_commands_come_some_at_a_time() -> None:
    parser = RequestParser(SMALL)
    parser.feed(b"PING\n" * 10_000)
    parser.drain()
    assert 100 <= len(parser.ready) < 1000
    assert len(take(parser)) == 10_000 - len(parser.ready)


def test_an_inline_command_inside_a_frame_is_an_error() -> None:
    for chunks in every_cut(frame(b"PING") + b"*2\r\n$3\r\nGET\r\nPING\r\n"):
        commands, error = parse(chunks)
        assert commands == [[b"PING"]]
        assert error == "Protocol error: expected '$', got 'P'"


def test_an_endless_inline_command_is_refused() -> None:
    limits = Limits(max_inline_bytes=100)
    assert parse([b"x" * 60, b"x" * 60 + b"\r\n"], limits) == ([], "Protocol error: too big inline request")


def test_an_inline_command_without_an_end_is_refused_before_its_end() -> None:
    limits = Limits(max_inline_bytes=100)
    assert parse([b"x" * 60, b"x" * 60], limits)[1] == "Protocol error: too big inline request"


@pytest.mark.parametrize(("line", "arguments"), [
    (rb'set "a b" \x', [b"set", b"a b", rb"\x"]),
    (rb'"\x41\n\t\"\\" end', [b'A\n\t"\\', b"end"]),
    (rb"'it\'s' 'a\nb'", [b"it's", rb"a\nb"]),
    (b'""', [b""]),
    (b"   ", []),
])
def test_quotes_are_those_of_redis(line: bytes, arguments: list[bytes]) -> None:
    assert split_inline(line) == arguments


@pytest.mark.parametrize("line", [b'"abc', b"'abc", b'"abc"def', b'"abc\\'])
def test_unbalanced_quotes_are_an_error(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="unbalanced quotes"):
        split_inline(line)


def test_a_half_sent_command_shows_and_ends() -> None:
    parser = RequestParser(SMALL)
    assert not parser.has_partial
    parser.feed(frame(b"GET", b"k")[:-3])
    assert parser.has_partial
    assert parser.pending_bytes == len(frame(b"GET", b"k")) - 3
    parser.feed(b"k\r\n")
    assert take(parser) == [[b"GET", b"k"]]
    assert not parser.has_partial


def test_a_command_larger_than_the_limit_is_refused_while_it_comes() -> None:
    limits = Limits(max_value_bytes=1000, max_inline_bytes=100)
    parser = RequestParser(limits)
    parser.feed(b"*9\r\n$4\r\nMSET\r\n")
    for _ in range(2):
        parser.feed(b"$900\r\n" + b"x" * 900 + b"\r\n")
    parser.drain()
    assert parser.error is None
    parser.feed(b"$900\r\n" + b"x" * 900 + b"\r\n")
    parser.drain()
    assert parser.error is not None
    assert "larger than the limit" in str(parser.error)


def test_arrays_nested_without_end_are_refused_early() -> None:
    parser = RequestParser(SMALL)
    fed = 0
    while parser.error is None and fed < 1_000_000:
        parser.feed(b"*9\r\n" * 1000)
        parser.drain()
        fed += 4000
    assert parser.error is not None
    assert fed <= 72_000


def test_a_large_command_full_of_stars_passes() -> None:
    argv = [b"MSET", *[b"*5\r\n*9\r\n*12\r\n" * 20] * 900]
    stream = frame(*argv) + frame(b"PING")
    for size in (100, 4096, 70_000, len(stream)):
        assert parse([stream[at : at + size] for at in range(0, len(stream), size)]) == ([argv, [b"PING"]], None)
