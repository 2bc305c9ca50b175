"""Each reply type in both protocols, byte for byte."""

from __future__ import annotations

import math

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.resp import encode


def parsed(reply: bytes) -> object:
    reader = hiredis.Reader()
    reader.feed(reply)
    return reader.gets()


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 100_000])
def test_bulk_of_any_size_reads_back(size: int) -> None:
    assert parsed(encode.bulk(b"x" * size)) == b"x" * size


@given(st.binary(max_size=50))
def test_bulk_carries_any_bytes(value: bytes) -> None:
    assert encode.bulk(value) == b"$%d\r\n%b\r\n" % (len(value), value)


def test_null_is_each_protocols_own() -> None:
    assert (encode.bulk(None, 2), encode.bulk(None, 3)) == (b"$-1\r\n", b"_\r\n")
    assert (encode.null(2), encode.null(3)) == (b"$-1\r\n", b"_\r\n")
    assert (encode.null_array(2), encode.null_array(3)) == (b"*-1\r\n", b"_\r\n")


def test_an_error_cannot_break_the_framing() -> None:
    assert encode.error("ERR unknown command 'a\r\nb'") == b"-ERR unknown command 'a  b'\r\n"
    assert encode.error(b"ERR \xff") == b"-ERR \xff\r\n"


def test_integers_and_status_lines() -> None:
    assert encode.integer(-(1 << 63)) == b":-9223372036854775808\r\n"
    assert encode.simple(b"string") == b"+string\r\n"


def test_a_map_is_flat_in_resp2() -> None:
    pairs = [(encode.bulk(b"a"), encode.integer(1)), (encode.bulk(b"b"), encode.EMPTY_ARRAY)]
    assert encode.map_(pairs, 2) == b"*4\r\n$1\r\na\r\n:1\r\n$1\r\nb\r\n*0\r\n"
    assert parsed(encode.map_(pairs, 3)) == {b"a": 1, b"b": []}


def test_sets_and_pushes_are_arrays_in_resp2() -> None:
    members = [encode.integer(1), encode.integer(2)]
    assert encode.set_(members, 2) == encode.push(members, 2) == encode.array(members) == b"*2\r\n:1\r\n:2\r\n"
    assert encode.set_(members, 3) == b"~2\r\n:1\r\n:2\r\n"
    assert encode.push(members, 3) == b">2\r\n:1\r\n:2\r\n"


@pytest.mark.parametrize(("number", "text"),
                         [(1.5, b"1.5"), (3.0, b"3"), (-0.1, b"-0.1"), (math.inf, b"inf"), (-math.inf, b"-inf"),
                                              (math.nan, b"nan"), (1e300, b"1e+300")])
def test_doubles(number: float, text: bytes) -> None:
    assert encode.double(number, 3) == b",%b\r\n" % text
    assert encode.double(number, 2) == encode.bulk(text)


def test_booleans_and_verbatim_text() -> None:
    assert (encode.boolean(True, 3), encode.boolean(False, 3)) == (b"#t\r\n", b"#f\r\n")
    assert (encode.boolean(True, 2), encode.boolean(False, 2)) == (b":1\r\n", b":0\r\n")
    assert encode.verbatim(b"hi", 3) == b"=6\r\ntxt:hi\r\n"
    assert encode.verbatim(b"hi", 2) == b"$2\r\nhi\r\n"


def test_bulks_holds_nulls_too() -> None:
    assert encode.bulks([b"a", None], 3) == b"*2\r\n$1\r\na\r\n_\r\n"
