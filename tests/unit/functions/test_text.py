"""The text of an argument: one for each value, and the same one everywhere."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.functions.text import NoStableText, text_of

HERE = __name__


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Bits(enum.Flag):
    A = 1
    B = 2


@dataclass(frozen=True)
class Place:
    x: int
    y: float = 0.5
    seen: int = field(default=0, compare=False)


@dataclass
class Open:
    x: list[int]


Pair = namedtuple("Pair", "left right")


class Keyed:
    def __init__(self, number: int) -> None:
        self.number = number

    def __cache_key__(self) -> Any:
        return ("no", self.number)


class Labelled:
    __cache_key__ = "label"


def plain() -> None: ...


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"), (True, "True"), (1, "1"), (-(2**70), str(-(2**70))), (1.0, "1.0"), (-0.0, "-0.0"),
        (float("nan"), "nan"), (float("inf"), "inf"), (1 + 2j, "(1+2j)"), ("a b", "'a b'"), ("it's", '"it\'s"'),
        ("{x}", "'\\x7bx\\x7d'"), ("\\x7b", "'\\\\x7b'"), ("ä\n", "'ä\\n'"), ("\udcff", "'\\udcff'"),
        (b"\x00a{", "b'\\x00a\\x7b'"), (bytearray(b"a"), "bytearray(b'a')"),
        ((), "()"), ((1,), "(1,)"), ((1, "a"), "(1,'a')"), ([1, [2]], "[1,[2]]"),
        ({"b": 1, "a": (2,)}, "dict('a':(2,),'b':1)"), ({3, 1, 2}, "set(1,2,3)"),
        (frozenset("ba"), "frozenset('a','b')"),
        (range(3), "range(0, 3)"), (date(2026, 1, 2), "date(2026-01-02)"), (time(1, 2), "time(01:02:00)"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "datetime(2026-01-02T03:00:00+00:00)"),
        (datetime(2026, 1, 2, 3), "datetime(2026-01-02T03:00:00)"),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=1))), "datetime(2026-01-02T03:00:00+01:00)"),
        (datetime(2026, 1, 2, 3, tzinfo=ZoneInfo("Europe/Berlin")),
         "datetime(2026-01-02T03:00:00+01:00,Europe/Berlin)"),
        (timedelta(days=1, microseconds=5), "timedelta(86400000005us)"), (Decimal("1.50"), "Decimal(1.50)"),
        (Fraction(1, 3), "Fraction(1/3)"), (UUID(int=5), f"UUID({UUID(int=5)})"),
        (PurePosixPath("/a/{b}"), "PurePosixPath('/a/\\x7bb\\x7d')"),
        (Color.RED, f"{HERE}.Color.RED"), (Level.LOW, f"{HERE}.Level.LOW"), (Bits.A | Bits.B, f"{HERE}.Bits.A|B"),
        (Place(1, seen=9), f"{HERE}.Place(x=1,y=0.5)"), (Open([1]), f"{HERE}.Open(x=[1])"),
        (Pair(1, "r"), f"{HERE}.Pair(left=1,right='r')"),
        (Keyed(7), f"{HERE}.Keyed(('no',7))"), (Labelled(), f"{HERE}.Labelled('label')"),
        (np.int64(3), "<i8('3')"), (np.float32(0.5), "<f4('0.5')"),
        (np.datetime64("2026-01-02"), "<M8[D]('2026-01-02')"),
        (int, "builtins.int"), (Keyed, f"{HERE}.Keyed"), (plain, f"{HERE}.plain"), (..., "..."),
    ],
    ids=lambda value: None,
)  # fmt: skip
def test_every_known_type_has_its_text(value: Any, text: str) -> None:
    assert text_of(value) == text


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=80)
    | st.dates() | st.timedeltas() | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple)
    | st.dictionaries(st.text(max_size=5), inner, max_size=4) | st.frozensets(st.integers(), max_size=4),
    max_leaves=12,
)


def form(value: Any) -> Any:
    """What `==` takes for the same although it is not: types, and the sign of zero."""
    if isinstance(value, dict):
        return dict, {key: form(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [form(each) for each in value]
    return type(value), repr(value) if isinstance(value, float | Decimal) else value


@given(VALUES, VALUES)
def test_equal_values_of_one_type_and_no_others_share_a_text(one: Any, other: Any) -> None:
    assert (text_of(one) == text_of(other)) == (form(one) == form(other))


@given(VALUES)
def test_no_text_has_braces_or_what_a_terminal_would_obey(value: Any) -> None:
    text = text_of(value)
    assert not set("{}\n\r\x1b\0") & set(text)


def test_the_order_of_a_dict_or_set_is_not_seen() -> None:
    assert text_of({"a": 1, "b": 2}) == text_of({"b": 2, "a": 1})
    assert text_of({8, 0, 16}) == text_of({16, 8, 0})


def test_arrays_have_the_text_of_what_is_in_them() -> None:
    array = np.arange(12, dtype=np.float64).reshape(3, 4)
    assert text_of(array) == text_of(array.copy(order="F")) == text_of(np.vstack([array, array])[:3])
    others = [array.astype(np.float32), array.reshape(4, 3), array + 1, array.astype(">f8"), array[:0]]
    assert len({text_of(each) for each in [array, *others]}) == 6
    assert text_of(np.array(5)) != text_of(np.array([5]))


def test_long_bytes_become_a_digest() -> None:
    assert text_of(b"x" * 65).startswith("bytes(65:")
    assert text_of(b"x" * 65) != text_of(b"x" * 66) != text_of(bytearray(b"x" * 66))


def loop() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    ("value", "part", "reason"),
    [
        (object(), object, "no text that is the same"), ([1, object()], object, "no text that is the same"),
        (lambda: 1, type(lambda: 1), "lambda"), (loop(), list, "contains itself"),
        (iter([]), type(iter([])), "no text"),
        (np.array([None]), np.ndarray, "array of object"), (np.zeros(1, dtype=[("a", "i4")]), np.ndarray, "array of"),
        (np.ma.masked_array([1]), np.ma.MaskedArray, "no text"), (OrderedDict(a=1), OrderedDict, "no text"),
    ],
)  # fmt: skip
def test_anything_else_has_none(value: Any, part: type, reason: str) -> None:
    with pytest.raises(NoStableText, match=reason) as refused:
        text_of(value)
    assert isinstance(refused.value.value, part)


PROGRAM = """
from raycache.functions.text import text_of
import datetime, numpy
print(text_of([{"a", "b", "c", "longer"}, frozenset("xyz"), {"k": {1, 2}, "j": None}, numpy.arange(5), "text",
               datetime.date(2026, 1, 1), int]))
"""


def test_other_processes_have_the_same_text_whatever_their_hash_seed() -> None:
    texts = set()
    for seed in ("0", "1", "12345"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True,
                              env=environment, cwd=Path(__file__).parents[3])
        texts.add(done.stdout)
    assert len(texts) == 1
