"""numpy arrays and scalars to bytes and back.

What lives here: the frame of an array: a 4-byte big-endian header length, a msgpack header (dtype, shape, order),
then the elements. Any dtype but object: structured (offsets, titles and padding kept), datetime64, big-endian,
zero-size, 0-d; `StringDType` by its texts. A Fortran-ordered array stays one; other layouts come back C-ordered.
Dtype metadata and array subclasses are not kept (subclasses are refused).

A decoded array is **always writable**: one copy out of the received bytes, at about 10 GB/s a small part of what the
socket costs. A view into those bytes would be read-only and, behind the frame's header, unaligned. Only large arrays
that never came through a socket are views (`view_array`, for `parts.py`), and read-only. Pure functions, any thread.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import msgpack
import numpy as np

from raycache.codec.refusal import unsupported, unsupported_dtype

_LENGTH: Final = struct.Struct(">I")
# Tags of a dtype that its own short text ("<f8") does not describe.
_FIELDS: Final = "fields"
_SUBARRAY: Final = "subarray"
_STRING: Final = "string"


def _dtype_spec(dtype: np.dtype[Any]) -> Any:
    """Return what rebuilds `dtype` exactly, as msgpack-able values."""
    if dtype.hasobject and dtype.char != "T":
        raise unsupported_dtype(dtype)
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [_SUBARRAY, _dtype_spec(base), list(shape)]
    if dtype.names is not None and dtype.fields is not None:
        fields = [dtype.fields[name] for name in dtype.names]
        titles = [field[2] if len(field) > 2 else None for field in fields]
        specs, offsets = [_dtype_spec(field[0]) for field in fields], [field[1] for field in fields]
        return [_FIELDS, list(dtype.names), specs, offsets, titles, dtype.itemsize, dtype.isalignedstruct]
    if dtype.char == "T":
        return [_STRING, *_string_options(dtype)]
    if np.dtype(dtype.str) != dtype:  # such as bfloat16, whose text would read back as two void bytes
        raise unsupported_dtype(dtype)
    return dtype.str


def _dtype_from(spec: Any) -> np.dtype[Any]:
    """The inverse of `_dtype_spec`."""
    if isinstance(spec, str):
        dtype = np.dtype(spec)
    elif spec[0] == _SUBARRAY:
        dtype = np.dtype((_dtype_from(spec[1]), tuple(spec[2])))
    elif spec[0] == _FIELDS:
        _, names, specs, offsets, titles, itemsize, aligned = spec
        layout: dict[str, Any] = {"names": names, "formats": [_dtype_from(each) for each in specs]}
        layout |= {"offsets": offsets, "itemsize": itemsize}
        if any(title is not None for title in titles):
            layout["titles"] = titles
        dtype = np.dtype(layout, align=aligned)  # type: ignore[call-overload]
    else:
        return _string_dtype(*spec[1:])
    if dtype.hasobject:
        raise ValueError("an array of Python objects is never loaded")
    return dtype


def _string_options(dtype: Any) -> list[Any]:
    """Return coerce and what stands for a missing text: nothing, None or NaN (the three that numpy documents)."""
    missing = getattr(dtype, "na_object", _STRING)
    if missing is _STRING:
        return [dtype.coerce, "none"]
    if missing is None:
        return [dtype.coerce, "None"]
    if isinstance(missing, float) and missing != missing:
        return [dtype.coerce, "nan"]
    raise unsupported_dtype(dtype)


def _string_dtype(coerce: bool, missing: str) -> np.dtype[Any]:
    if missing == "none":
        return np.dtypes.StringDType(coerce=coerce)
    return np.dtypes.StringDType(coerce=coerce, na_object=None if missing == "None" else np.nan)


def _strings(array: np.ndarray[Any, Any]) -> bytes:
    texts = [text if isinstance(text, str) else None for text in array.reshape(-1).tolist()]
    packed: bytes = msgpack.packb(texts, unicode_errors="surrogatepass")
    return packed


def encode_array(array: np.ndarray[Any, Any]) -> bytes:
    """Return the frame of `array`, whose type must be exactly numpy.ndarray.

    Raises:
        UnsupportedTypeError: object dtype, anywhere inside, or a dtype of another package.
    """
    header, fortran = _header_of(array)
    body = _strings(array) if array.dtype.char == "T" else array.tobytes("F" if fortran else "C")
    return header + body


def can_be_split(array: np.ndarray[Any, Any]) -> bool:
    """Return whether the elements of `array` are plain memory: all but texts of any length are."""
    return bool(array.dtype.char != "T" and array.dtype.itemsize > 0)


def split_array(array: np.ndarray[Any, Any]) -> tuple[bytes, np.ndarray[Any, np.dtype[np.uint8]]]:
    """Return the frame of `array` in two: all but the elements, and those, without a copy if they are in one piece.

    Raises:
        UnsupportedTypeError: see `encode_array`.
    """
    header, fortran = _header_of(array)
    flat = np.ascontiguousarray(array.T if fortran else array).reshape(-1).view(np.uint8)
    return header, flat


def view_array(header: bytes, elements: Any) -> np.ndarray[Any, Any]:
    """Return the array of what `split_array` made: a read-only view of `elements`.

    Raises:
        ValueError, TypeError, struct.error and what msgpack raises: they are no such parts.
    """
    spec, shape, order = msgpack.unpackb(header[_LENGTH.size :], unicode_errors="surrogatepass")
    array: np.ndarray[Any, Any] = np.ndarray(tuple(shape), _dtype_from(spec), buffer=elements, order=order)
    if array.nbytes != len(memoryview(elements)) or list(array.shape) != shape:
        raise ValueError(f"{len(memoryview(elements))} bytes of elements, not {array.nbytes}")
    array.flags.writeable = False
    return array


def _header_of(array: np.ndarray[Any, Any]) -> tuple[bytes, bool]:
    """Return how the frame of `array` begins, and whether its elements follow in Fortran's order."""
    spec = _dtype_spec(array.dtype)
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    header = msgpack.packb([spec, list(array.shape), "F" if fortran else "C"], unicode_errors="surrogatepass")
    return _LENGTH.pack(len(header)) + header, fortran


def decode_array(data: bytes | memoryview) -> np.ndarray[Any, Any]:
    """The inverse of `encode_array`: a new array, writable, sharing no memory with `data`.

    Raises:
        ValueError, TypeError, struct.error and what msgpack raises: the bytes are no such frame.
    """
    view = memoryview(data)
    start = _LENGTH.size + _LENGTH.unpack_from(view)[0]
    spec, shape, order = msgpack.unpackb(view[_LENGTH.size : start], unicode_errors="surrogatepass")
    dtype = _dtype_from(spec)
    if dtype.char == "T":
        texts = msgpack.unpackb(view[start:], unicode_errors="surrogatepass")
        missing = getattr(dtype, "na_object", None)
        return np.array([missing if text is None else text for text in texts], dtype=dtype).reshape(shape)
    array: np.ndarray[Any, Any] = np.ndarray(tuple(shape), dtype, buffer=view, offset=start, order=order)
    if array.nbytes != len(view) - start or list(array.shape) != shape:  # numpy takes -1 for "as many as fit"
        raise ValueError(f"{len(view) - start} bytes of elements, not {array.nbytes}")
    return array.copy(order="K")


def encode_scalar(value: np.generic) -> bytes:
    """Return the frame of a numpy scalar.

    Raises:
        UnsupportedTypeError: a scalar type of another package.
    """
    # As an array these two would lose trailing NULs.
    if type(value) is np.str_:
        return b"U" + str.encode(value, "utf-8", "surrogatepass")
    if type(value) is np.bytes_:
        return b"S" + bytes(value)
    array = np.asarray(value)
    if array.dtype.type is not type(value):
        raise unsupported(value)
    return b"A" + encode_array(array)


def decode_scalar(data: bytes | memoryview) -> np.generic:
    """The inverse of `encode_scalar`."""
    tag, body = bytes(data[:1]), data[1:]
    if tag == b"U":
        return np.str_(str(body, "utf-8", "surrogatepass"))
    if tag == b"S":
        return np.bytes_(bytes(body))
    scalar: Any = decode_array(body)[()]
    assert isinstance(scalar, np.generic)
    return scalar
