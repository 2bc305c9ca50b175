"""numpy: dtype, shape, order and bits survive; what holds Python objects does not get in, nor out."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest

from raycache.codec import ARRAY, decode, encode
from raycache.errors import InternalError, UnsupportedTypeError

STRINGS = np.dtypes.StringDType
ARRAYS = [
    np.arange(6), np.arange(6, dtype=">u2").reshape(2, 3), np.zeros((0, 3)), np.array(1.5), np.zeros(()),
    np.array([True]), np.arange(10)[::3], np.arange(6).reshape(2, 3).T,
    np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
    np.arange(3)[::-1], np.array([np.nan, -0.0, np.inf], "f2"), np.array([1j, 2]), np.array(["a", "ü\x00"]),
    np.array([b"a\x00", b""]), np.array(["2024-01-01", "NaT"], "M8[ns]"), np.array([5], "m8[25s]"), np.zeros(2, "V3"),
    np.zeros(2, [("a", "<i4"), ("b", ">f8", (2, 3)), ("c", [("d", "U3")])]), np.zeros(2, np.dtype("i1,f8", align=True)),
    np.zeros(2, {"names": ["x", "y"], "formats": ["i4", "i2"], "offsets": [0, 2], "itemsize": 12}),
    np.zeros(1, [(("title", "name"), "i4")]), np.zeros(3, "g"), np.array(["a", "", "ü"], STRINGS()),
    np.array([["a", None]], STRINGS(na_object=None)), np.array(["a", np.nan], STRINGS(na_object=np.nan, coerce=False)),
    np.array("x", STRINGS()), np.broadcast_to(np.arange(3), (2, 3)),
]  # fmt: skip
SCALARS = [
    np.float64(1.5), np.float16("nan"), np.int8(-1), np.uint64(2**64 - 1), np.bool_(True), np.str_("a\x00"),
    np.str_(""), np.bytes_(b"a\x00"), np.datetime64("2024-01-01", "D"), np.datetime64("NaT"), np.timedelta64(5, "h"),
    np.complex64(1j), np.void(b"ab\x00"), np.zeros(1, [("a", "i4"), ("b", "U2")])[0], np.longdouble("1.1"),
]  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}-{array.shape}")
def test_an_array_comes_back_as_it_was(array: Any) -> None:
    kind, data = encode(array)
    result = decode(kind, memoryview(data))
    assert kind == ARRAY
    assert (type(result), result.dtype, result.shape) == (np.ndarray, array.dtype, array.shape)
    assert result.dtype.isalignedstruct == array.dtype.isalignedstruct
    if array.dtype.char == "T":
        assert [str(text) for text in result.flat] == [str(text) for text in array.flat]
    elif array.dtype.names is not None:
        assert repr(result.tolist()) == repr(array.tolist())  # the bytes between fields are nobody's
    else:
        assert result.tobytes() == array.tobytes()
    inside = decode(*encode([array, {"a": array}]))
    assert (inside[0].dtype, inside[1]["a"].shape) == (array.dtype, array.shape)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}-{array.shape}")
def test_a_decoded_array_is_writable_and_shares_no_memory(array: Any) -> None:
    _, data = encode(array)
    result = decode(ARRAY, data)
    before = bytes(data)
    assert result.flags.writeable
    assert result.flags.aligned
    if result.size and result.dtype.char != "T":
        result[...] = np.zeros((), result.dtype)
    assert data == before


def test_fortran_order_is_kept() -> None:
    result = decode(*encode(np.asfortranarray(np.arange(6).reshape(2, 3))))
    assert result.flags.f_contiguous
    assert not result.flags.c_contiguous


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda scalar: f"{type(scalar).__name__}-{scalar!r:.20}")
def test_a_scalar_comes_back_as_it_was(scalar: Any) -> None:
    result = decode(*encode(scalar))
    assert type(result) is type(scalar)
    assert getattr(result, "dtype", None) == getattr(scalar, "dtype", None)
    assert repr(result) == repr(scalar)


def test_scalars_are_keys_of_dicts() -> None:
    assert decode(*encode({np.int64(1): "a", np.str_("b"): 2})) == {np.int64(1): "a", np.str_("b"): 2}


@pytest.mark.parametrize(
    "array",
    [np.array([None]), np.zeros(2, [("a", "i4"), ("b", "O")]), np.array(["a"], STRINGS(na_object="gone"))],
    ids=["object", "object field", "own missing text"],
)
def test_objects_are_refused(array: Any) -> None:
    with pytest.raises(UnsupportedTypeError, match=r"astype|tolist"):
        encode(array)


@pytest.mark.parametrize("kind", [np.matrix, np.recarray, np.memmap])
def test_subclasses_are_refused(kind: Any) -> None:
    with pytest.raises(UnsupportedTypeError, match=r"np\.array\(value\)"):
        encode(np.zeros((1, 1)).view(kind))


@pytest.mark.parametrize(
    ("spec", "shape", "body"),
    [
        ("|O", [1], bytes(8)),
        (["fields", ["a"], ["|O"], [0], [None], 8, False], [1], bytes(8)),
        ("<f8", [2], bytes(8)),
        ("<f8", [1], bytes(16)),
        ("<f8", [-1], bytes(8)),
        ("<f8", [2**62], bytes(8)),
        ("nonsense", [1], bytes(8)),
        (["string", False, "none"], [2], msgpack.packb(["a"])),
        ([], [1], bytes(8)),
    ],
)
def test_frames_that_lie_are_refused(spec: Any, shape: list[int], body: bytes) -> None:
    header = msgpack.packb([spec, shape, "C"])
    with pytest.raises(InternalError):
        decode(ARRAY, len(header).to_bytes(4, "big") + header + body)
