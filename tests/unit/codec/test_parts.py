"""Large values in buffers of their own: joined they are what `encode` returns, and restored they are views."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from raycache.codec import ARRAY, MSGPACK, RAW, TEXT, decode, encode
from raycache.codec.parts import Parts, restore, split
from raycache.errors import CorruptValueError, UnsupportedTypeError

DTYPES = st.one_of(
    arrays.boolean_dtypes(), arrays.integer_dtypes(), arrays.floating_dtypes(sizes=(16, 32, 64)),
    arrays.datetime64_dtypes(), arrays.byte_string_dtypes(min_len=1), arrays.array_dtypes(max_size=3),
)  # fmt: skip


def parts_of(value: Any, at_least: int = 1) -> Parts:
    parts = split(value, at_least)
    assert parts is not None
    return parts


@given(arrays.arrays(DTYPES, arrays.array_shapes(min_dims=0, max_dims=3, max_side=4)), st.booleans())
def test_an_array_comes_back_as_a_read_only_view_of_its_buffer(array: np.ndarray[Any, Any], fortran: bool) -> None:
    given_array = np.asfortranarray(array) if fortran else array
    parts = split(given_array, 0)
    assert parts is not None
    assert (parts.kind, parts.data) == encode(given_array)
    assert parts.size_bytes == len(parts.data)
    again = restore(*parts)
    assert (again.dtype, again.shape, again.flags.f_contiguous) == (
        given_array.dtype, given_array.shape, given_array.flags.f_contiguous)  # fmt: skip
    assert again.tobytes() == given_array.tobytes()
    assert not again.flags.writeable
    if array.nbytes:
        assert np.shares_memory(again, np.asarray(parts.buffers[1]))


def test_a_contiguous_array_is_split_without_a_copy_and_another_with_one() -> None:
    array = np.arange(1000.0)
    assert np.shares_memory(np.asarray(parts_of(array).buffers[1]), array)
    table = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    assert np.shares_memory(np.asarray(parts_of(table).buffers[1]), table)
    strided = array[::2]
    assert not np.shares_memory(np.asarray(parts_of(strided).buffers[1]), array)
    assert np.array_equal(restore(*parts_of(strided)), strided)


def test_values_are_large_by_their_own_size() -> None:
    assert split(b"x" * 9, 10) is None
    assert split("ä" * 9, 10) is None
    assert split(np.zeros(9, np.uint8), 10) is None
    assert split(7, 0) is None
    assert split(None, 0) is None
    assert parts_of(b"x" * 10, 10) == Parts(RAW, (b"x" * 10,))
    assert parts_of("ä" * 10, 10).kind == TEXT
    assert parts_of(np.zeros(10, np.uint8), 10).kind == ARRAY


@pytest.mark.parametrize("value", [b"bytes", "täxt", [1, 2], {"a": np.arange(3).tolist()}, (1,), {2}, bytearray(b"x")])
def test_what_owns_its_memory_comes_back_equal_and_of_its_type(value: Any) -> None:
    parts = parts_of(value)
    assert (parts.kind, parts.data) == encode(value)
    shared = tuple(np.frombuffer(each, np.uint8) for each in parts.buffers)  # as an object store gives them back
    again = restore(parts.kind, shared)
    assert again == value
    assert type(again) is type(value)


def test_texts_of_any_length_are_one_buffer() -> None:
    texts = np.array(["a", "bcd"], dtype=np.dtypes.StringDType())
    parts = parts_of(texts)
    assert len(parts.buffers) == 1
    assert restore(*parts).tolist() == ["a", "bcd"]


def test_objects_are_refused_as_ever() -> None:
    with pytest.raises(UnsupportedTypeError):
        split(np.array([object()]), 1)
    with pytest.raises(UnsupportedTypeError):
        split([object()], 1)


def test_parts_of_something_else_are_corrupt() -> None:
    kind, (header, _) = parts_of(np.arange(10))
    for buffers in ((header, b"short"), (b"\0", b""), (b"", b"", b"")):
        with pytest.raises(CorruptValueError):
            restore(kind, buffers)
    with pytest.raises(CorruptValueError):
        restore(MSGPACK, (b"\xc9\0\0\0\0\x01", b""))



@pytest.mark.parametrize("form", ["table", "batch"])
def test_an_arrow_table_comes_back_as_one_that_shares_the_buffer(form: str) -> None:
    batch = pa.RecordBatch.from_pydict({"n": list(range(20_000)), "t": ["é"] * 20_000})
    value = pa.Table.from_batches([batch, batch]) if form == "table" else batch
    parts = parts_of(value)
    again = restore(*parts)
    assert type(again) is type(value)
    assert again.equals(value)
    column = again["n"].chunk(0) if form == "table" else again["n"]
    start = np.asarray(parts.buffers[1]).ctypes.data
    assert start <= column.buffers()[1].address < start + len(parts.buffers[1])
    assert decode(MSGPACK, parts.data).equals(value)


def test_small_arrow_tables_are_values_like_others_even_inside_containers() -> None:
    table = pa.table({"a": [1, 2, None]})
    kind, data = encode({"table": table, "n": 1})
    again = decode(kind, data)
    assert again["table"].equals(table)
    assert again["n"] == 1
