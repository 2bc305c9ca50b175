"""The format of recordings, and traces beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.demo.workload import read_trace
from raycache.warming.read_log import HEADER, TRACE_SIZE, Access, InOrder, accesses, hashed, header, line_of

ACCESS = st.builds(Access, st.integers(0, 10**9), st.sampled_from("rmwd"), st.integers(0, 10**9),
                   st.integers(0, 10**12), st.binary(min_size=1, max_size=40))  # fmt: skip


@given(st.lists(ACCESS, max_size=20))
def test_what_is_written_is_read(recorded: list[Access]) -> None:
    lines = [header("c", 0.1), *map(line_of, recorded)]
    assert "".join(lines).isascii()
    assert list(accesses(lines)) == recorded
    assert len("".join(lines).splitlines()) == len(lines)


def test_a_line_is_for_people_too() -> None:
    assert header("features", 0.25) == "# raycache reads 1 sample=0.25 cluster=features\n"
    assert line_of(Access(12, "w", 80, 60_000, b"user:{17}/a b\xff%")) == "12 w 80 60000 user:{17}/a%20b%FF%25\n"


def test_a_hash_is_one_word_and_always_the_same() -> None:
    assert hashed(b"user:1") == hashed(b"user:1") != hashed(b"user:2")
    assert len(hashed(b"user:1")) == 16
    assert line_of(Access(0, "r", 1, 0, hashed(b"user:1"))).split()[-1].encode() == hashed(b"user:1")


def test_a_line_that_was_cut_off_ends_it() -> None:
    assert list(accesses([header("c", 1), "1 r 5 0 a\n", "2 r 5 0 long-na"])) == [Access(1, "r", 5, 0, b"a")]


@pytest.mark.parametrize("line", ["", "1 r 5 0", "1 x 5 0 k", "x r 5 0 k", "-1 r 5 0 k", "1 r -5 0 k", "1 r 5 0 k k"])
def test_a_line_that_is_none_is_named(line: str) -> None:
    with pytest.raises(ValueError, match=r"reads\.gz, line 3"):
        list(accesses([header("c", 1), "1 r 5 0 a\n", line + "\n"], "reads.gz"))


def test_another_version_and_nothing_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="another version"):
        list(accesses([HEADER[:-1] + "2 sample=1\n"]))
    with pytest.raises(ValueError, match="empty"):
        list(accesses([]))
    assert list(accesses([header("c", 1)])) == []  # nobody read anything


def test_traces_with_and_without_sizes(tmp_path: Path) -> None:
    assert list(accesses(["7\n", "8 250\n", "7 x y"])) == [
        Access(0, "r", TRACE_SIZE, 0, b"7"), Access(0, "r", 250, 0, b"8"), Access(0, "r", TRACE_SIZE, 0, b"7")
    ]  # fmt: skip
    path = tmp_path / "trace.txt"
    path.write_text("7\n8 250\n7 x y\n")
    assert read_trace(path).keys.tolist() == [7, 8, 7]  # the demo reads the same
    with pytest.raises(ValueError, match="line 2"):
        list(accesses(["7\n", "seven\n"]))


def test_events_of_several_shards_come_in_one_order() -> None:
    order = InOrder(1000)
    order.add([(1005, "r", 1, 0, b"a"), (1020, "r", 1, 0, b"b")])
    order.add([(990, "m", 0, 0, b"early"), (1005, "d", 0, 0, b"a"), (1010, "w", 2, 0, b"c")])
    assert [access.key for access in order.until(1010)] == [b"early", b"a", b"a"]
    order.add([(1015, "r", 1, 0, b"d")])
    assert [(access.at_ms, access.key) for access in order.until(None)] == [(10, b"c"), (15, b"d"), (20, b"b")]
    assert order.until(None) == []
