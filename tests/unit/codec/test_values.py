"""Values to bytes and back: the types one by one, the bytes that other doors see, and what is refused."""

from __future__ import annotations

import dataclasses
import enum
import math
import struct
import threading
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import numpy as np
import pytest

from raycache.codec import ARRAY, INTEGER, MSGPACK, RAW, TEXT, decode, decode_payload, decode_payloads, encode
from raycache.codec.frames import MAX_DEPTH
from raycache.errors import InternalError, UnsupportedTypeError


def again(value: Any) -> Any:
    kind, data = encode(value)
    assert decode(kind, memoryview(data)) is not NotImplemented
    return decode_payload(bytes([kind]) + data)


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    ("value", "kind", "data"),
    [
        (b"\x00raw", RAW, b"\x00raw"),
        ("grüß", TEXT, "grüß".encode()),
        (-42, INTEGER, b"-42"),
        (2**63 - 1, INTEGER, b"9223372036854775807"),
        (True, MSGPACK, b"\xc3"),
        (None, MSGPACK, b"\xc0"),
        ({"a": [1]}, MSGPACK, b"\x81\xa1a\x91\x01"),
    ],
)
def test_what_other_doors_see(value: Any, kind: int, data: bytes) -> None:
    assert encode(value) == (kind, data)


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, 1, -1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, 10**4000, 0.0, -0.0, 1e308,
        math.inf, -math.inf, 1j, "", "a", "\ud800", "\udcff\U0001f600", b"", b"\xff", bytearray(b"x"), [], (), {},
        set(), frozenset(), [()], ([],), {(): []}, [[1, (2, [3, (4,)])]], {1: "a", (1, 2): (3,), None: 0},
        {frozenset({1}): {4}},
        {"\ud800": "\udfff"}, {1.5: 2, b"b": b"", 2**70: 2**80}, [True, 1, 1.0, "1", b"1"], [2**64, -(2**64)],
        [bytearray(b"in"), (bytearray(b"side"),)], Decimal("-0"), Decimal("1E+999999"), Decimal("sNaN12"),
        Decimal("3.1400"), UUID(int=7), timedelta(days=-1, microseconds=1), timedelta.max, date.min, date.max,
        time(1, 2, 3, 4, fold=1), time(1, tzinfo=UTC), datetime.min, datetime(2024, 10, 27, 2, 30, fold=1),
        UTC, ZoneInfo("Europe/Berlin"), [datetime(2024, 1, 1), {date(2024, 1, 1): (time(1),)}],
    ],
    ids=lambda value: f"{value!r:.40}",
)  # fmt: skip
def test_a_value_comes_back_equal_and_of_its_type(value: Any) -> None:
    result = again(value)
    assert type(result) is type(value)
    assert repr(result) == repr(value)  # -0.0, sNaN, tuples inside lists: equality alone does not see them


@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=-3, seconds=1)), timezone(timedelta(0), "named"), ZoneInfo("Asia/Tokyo")]
)
def test_a_zone_is_kept(zone: tzinfo) -> None:
    value = datetime(2024, 5, 6, 7, 8, 9, 10, tzinfo=zone, fold=1)
    result = again(value)
    assert (result, result.fold, repr(result.tzinfo), result.tzname()) == (value, 1, repr(zone), value.tzname())


def test_nan_keeps_its_bits() -> None:
    assert struct.pack(">d", again(math.nan)) == struct.pack(">d", math.nan)
    assert math.isnan(again([math.nan])[0])


def test_a_list_of_plain_values_is_not_copied_to_be_packed() -> None:
    value = [1, "a", None]
    assert again(value) is not value
    assert value == [1, "a", None]


class Colour(enum.IntEnum):
    RED = 1


class Named(str):
    pass


class ForeignZone(tzinfo):
    pass


@dataclasses.dataclass
class Point:
    x: int


Pair = namedtuple("Pair", "a b")


@pytest.mark.parametrize(
    ("value", "name", "way_out"),
    [
        (Colour.RED, "Colour", ".value"),
        (Named("x"), "Named", "str(value)"),
        (Point(1), "Point", "asdict"),
        (Pair(1, 2), "Pair", "_asdict"),
        (defaultdict(int), "collections.defaultdict", "dict(value)"),
        (OrderedDict(), "collections.OrderedDict", "dict(value)"),
        (memoryview(b"x"), "memoryview", "bytes(value)"),
        ((each for each in "ab"), "generator", "list(value)"),
        (datetime(2024, 1, 1, tzinfo=ForeignZone()), "ForeignZone", "zoneinfo"),
        (np.ma.masked_array([1]), "MaskedArray", "np.array(value)"),
        (msgpack.ExtType(1, b""), "ExtType", "tuple(value)"),
        (msgpack.Timestamp(1), "Timestamp", "convert it"),
        (object(), "object", "convert it"),
        (type, "type", "convert it"),
    ],
    ids=lambda value: f"{value!r:.30}".partition(" at 0x")[0],
)
def test_what_would_change_is_refused_with_the_way_out(value: Any, name: str, way_out: str) -> None:
    for wrapped in (value, [value], {"k": (1, value)}):
        with pytest.raises(UnsupportedTypeError) as caught:
            encode(wrapped)
        assert name in str(caught.value)
        assert way_out in str(caught.value)


@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: (v,), lambda v: {"k": v}, lambda v: frozenset({v})])
def test_nesting_has_a_limit(wrap: Callable[[Any], Any]) -> None:
    assert again(nested(MAX_DEPTH, wrap)) == nested(MAX_DEPTH, wrap)
    with pytest.raises(UnsupportedTypeError, match="nested deeper"):
        encode(nested(MAX_DEPTH + 1, wrap))


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(UnsupportedTypeError, match="contains itself"):
        encode(value)


def test_hostile_nesting_is_an_error_even_on_a_small_stack() -> None:
    data = b"\x90"
    for _ in range(1000):
        data = msgpack.packb(msgpack.ExtType(1, data))
    errors: list[BaseException] = []

    def read() -> None:
        try:
            decode(MSGPACK, data)
        except InternalError as error:
            errors.append(error)

    before = threading.stack_size(1024 * 1024)
    try:
        thread = threading.Thread(target=read)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    assert "nested deeper" in str(errors[0])


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (MSGPACK, b""), (MSGPACK, b"\xc1"), (MSGPACK, b"\x01\x02"), (MSGPACK, b"\x81\x90\x01"),
        (MSGPACK, b"\xd4\x63\x00"), (MSGPACK, b"\xa1\xff"), (INTEGER, b""),
        (MSGPACK, msgpack.packb(msgpack.ExtType(6, b"\x90"))),
        (INTEGER, b"1x"), (INTEGER, b"9" * 5000), (TEXT, b"\xff"), (ARRAY, b""), (ARRAY, b"\x00\x00\x00\x01\x90"),
        (6, b""), (255, b"x"),
    ],
)  # fmt: skip
def test_rubbish_is_one_class_of_error(kind: int, data: bytes) -> None:
    with pytest.raises(InternalError, match=f"kind {kind}"):
        decode(kind, data)


def test_payloads_of_a_batch() -> None:
    payloads = [b"\x00raw", None, b"\x022", b"\x03text", b"\x01\xc0", b"\x00"]
    assert decode_payloads(payloads, "absent") == [b"raw", "absent", 2, "text", None, b""]
    for rubbish in (b"", 7, [], "x"):
        with pytest.raises(InternalError):
            decode_payloads([b"\x00ok", rubbish])  # type: ignore[list-item]
    with pytest.raises(InternalError):
        decode_payload(b"")
