"""Keys, times to live and numbers as callers pass them."""

from __future__ import annotations

from datetime import timedelta

import hiredis
import pytest

from raycache.client import frames
from raycache.client.arguments import encode_key, encode_keys, integer, several, ttl_ms
from raycache.errors import KeyTooLargeError, NotANumberError, UnsupportedTypeError


def parsed(frame: bytes) -> list[bytes]:
    reader = hiredis.Reader()
    reader.feed(frame)
    argv: list[bytes] = reader.gets()
    assert not reader.has_data()
    return argv


@pytest.mark.parametrize(
    ("key", "wire"),
    [("a", b"a"), (b"\xff\x00", b"\xff\x00"), ("é", "é".encode()), ("\udcff", b"\xff")],
)
def test_a_key_is_its_bytes(key: str | bytes, wire: bytes) -> None:
    assert encode_key(key) == wire
    assert encode_keys([key, key]) == [wire, wire]


@pytest.mark.parametrize("key", ["", b""])
def test_an_empty_key_is_refused(key: str | bytes) -> None:
    with pytest.raises(KeyTooLargeError, match="empty"):
        encode_key(key)
    with pytest.raises(KeyTooLargeError, match="empty"):
        encode_keys(["a", key])


def test_another_type_is_named() -> None:
    with pytest.raises(UnsupportedTypeError, match="not int"):
        encode_key(7)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedTypeError, match="not NoneType"):
        encode_keys(["a", None])  # type: ignore[list-item]
    for one in ("abc", b"abc"):
        with pytest.raises(UnsupportedTypeError, match="one key"):
            several(one)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ttl", "milliseconds"),
    [(None, 0), (1, 1000), (0.0001, 1), (1.5, 1500), (timedelta(minutes=1), 60_000), (2.0005, 2001)],
)
def test_a_ttl_is_whole_milliseconds_rounded_up(ttl: float | timedelta | None, milliseconds: int) -> None:
    assert ttl_ms(ttl) == milliseconds


@pytest.mark.parametrize("ttl", [0, -1, 0.0, float("nan"), timedelta(0), timedelta(seconds=-1)])
def test_a_ttl_is_positive(ttl: float | timedelta) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ttl_ms(ttl)


@pytest.mark.parametrize("ttl", [float("inf"), 1e300, 10**18])
def test_a_ttl_has_an_end(ttl: float) -> None:
    with pytest.raises(ValueError, match="None"):
        ttl_ms(ttl)


@pytest.mark.parametrize("ttl", ["5", True, [1]])
def test_a_ttl_is_a_number(ttl: object) -> None:
    with pytest.raises(TypeError, match=type(ttl).__name__):
        ttl_ms(ttl)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 1.0, "1", True])
def test_a_number_is_an_int_of_64_bits(value: object) -> None:
    with pytest.raises(NotANumberError, match="delta"):
        integer("delta", value)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 100_000])
def test_frames_carry_any_bytes(size: int) -> None:
    part = b"\r\n$" * size
    assert parsed(frames.command(b"SET", part, b"")) == [b"SET", part, b""]
    assert parsed(frames.get(part)) == [b"RC.GET", part]
    assert parsed(frames.get_many([b"k", part])) == [b"RC.MGET", b"k", part]
    assert parsed(frames.get_many([part, part])) == [b"RC.MGET", part, part]


@pytest.mark.parametrize("size", [1, 1023, 1024])
def test_a_read_of_a_key_of_any_length(size: int) -> None:
    assert parsed(frames.get(b"k" * size)) == [b"RC.GET", b"k" * size]
