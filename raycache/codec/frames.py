"""Python containers and scalars as msgpack, with extension types for what msgpack lacks.

What lives here: msgpack with an exact round trip. What does not: the fast forms of a bare bytes, str or int
(`values.py`) and the inside of numpy arrays (`arrays.py`).

A value is first made plain: what msgpack knows stays itself (not even copied, when a list or dict holds nothing
else), the rest becomes `ExtType`. msgpack's own hook is not enough: it never sees a bytearray, a memoryview, an
`ExtType` or a `Timestamp`, and packs them as something else. Thread-safe: an idle packer is taken and put back.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import partial
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import numpy as np
from msgpack import ExtType, fallback, unpackb

from raycache.codec import arrays, foreign, temporal
from raycache.codec.refusal import too_deep, unsupported

# Beyond what people nest by hand; it makes a value that contains itself an error instead of a full stack.
MAX_DEPTH: Final = 64
# Each level of a tuple or set is one more unpacking, and msgpack's C unpacker takes 40 KiB of stack for each: 64 of
# them would kill a thread that has 1 MiB. So the deepest go through its Python twin, which is slow and takes none.
_C_UNPACKER_LEVELS: Final = 8

_NATIVE: Final = frozenset({type(None), bool, int, float, str, bytes})
_TUPLE, _SET, _FROZENSET, _INT, _BYTEARRAY = 1, 2, 3, 4, 5
_DATETIME, _DATE, _TIME, _TIMEDELTA, _ZONE = 6, 7, 8, 9, 10
_DECIMAL, _UUID, _COMPLEX, _ARRAY, _SCALAR = 11, 12, 13, 14, 15
_KEEP_PACKER_BYTES: Final = 256 * 1024
_idle: list[msgpack.Packer] = []


def _big_int(value: object) -> ExtType:
    """What msgpack calls for an int beyond 64 bits, and for nothing else: all other types are plain by then."""
    assert type(value) is int
    return ExtType(_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def _pack(plain: object) -> bytes:
    try:
        packer = _idle.pop()
    except IndexError:
        packer = msgpack.Packer(default=_big_int, strict_types=True, unicode_errors="surrogatepass")
    data: bytes = packer.pack(plain)
    if len(data) <= _KEEP_PACKER_BYTES:  # a packer keeps its largest buffer
        _idle.append(packer)
    return data


def _plain_list(values: Iterable[Any], depth: int) -> list[Any]:
    kinds = set(map(type, values))
    if kinds <= _NATIVE:
        return values if type(values) is list else list(values)
    return [value if type(value) in _NATIVE else _plain(value, depth) for value in values]


def _plain_dict(value: dict[Any, Any], depth: int) -> dict[Any, Any]:
    if _NATIVE.issuperset(map(type, value)) and _NATIVE.issuperset(map(type, value.values())):
        return value
    return {_plain(key, depth): _plain(each, depth) for key, each in value.items()}


def _plain(value: Any, depth: int) -> Any:
    """Return `value` made of what msgpack packs exactly."""
    kind = type(value)
    if kind in _NATIVE:
        return value
    if kind in _CONTAINERS:
        if depth == 0:
            raise too_deep(MAX_DEPTH)
        if kind is list:
            return _plain_list(value, depth - 1)
        if kind is dict:
            return _plain_dict(value, depth - 1)
        return ExtType(_CONTAINERS[kind], _pack(_plain_list(value, depth - 1)))
    extend = _EXTEND.get(kind)
    if extend is not None:
        code, to_bytes = extend
        return ExtType(code, to_bytes(value))
    if isinstance(value, np.generic):
        return ExtType(_SCALAR, arrays.encode_scalar(value))
    if foreign.is_foreign(value):
        return ExtType(*foreign.extension(value))
    raise unsupported(value)


def _fields(split: Callable[[Any], list[Any]]) -> Callable[[Any], bytes]:
    return lambda value: _pack(split(value))


_CONTAINERS: Final[dict[type, int]] = {list: 0, dict: 0, tuple: _TUPLE, set: _SET, frozenset: _FROZENSET}
_EXTEND: Final[dict[type, tuple[int, Callable[[Any], bytes]]]] = {
    bytearray: (_BYTEARRAY, bytes),
    datetime: (_DATETIME, _fields(temporal.datetime_fields)),
    date: (_DATE, _fields(temporal.date_fields)),
    time: (_TIME, _fields(temporal.time_fields)),
    timedelta: (_TIMEDELTA, _fields(temporal.delta_fields)),
    timezone: (_ZONE, _fields(lambda zone: [temporal.zone_fields(zone)])),
    ZoneInfo: (_ZONE, _fields(lambda zone: [temporal.zone_fields(zone)])),
    Decimal: (_DECIMAL, lambda value: str(value).encode()),
    UUID: (_UUID, lambda value: value.bytes),
    complex: (_COMPLEX, lambda value: struct.pack(">dd", value.real, value.imag)),
    np.ndarray: (_ARRAY, arrays.encode_array),
}


def _unpack_fields(data: bytes) -> Any:
    return unpackb(data, unicode_errors="surrogatepass")


def _unpack(data: bytes | memoryview, depth: int) -> Any:
    unpack_frame = unpackb if depth > MAX_DEPTH - _C_UNPACKER_LEVELS else fallback.unpackb
    return unpack_frame(data, ext_hook=_HOOKS[depth], strict_map_key=False, unicode_errors="surrogatepass")


def _restore(depth: int, code: int, data: bytes) -> Any:
    container = _FROM_LIST.get(code)
    if container is not None:
        if depth == 0:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        return container(_unpack(data, depth - 1))
    from_bytes = _RESTORE.get(code)
    if from_bytes is None:
        raise ValueError(f"extension type {code} is not known to this version")
    return from_bytes(data)


_HOOKS: Final = tuple(partial(_restore, depth) for depth in range(MAX_DEPTH + 1))
_FROM_LIST: Final[dict[int, Callable[[list[Any]], Any]]] = {_TUPLE: tuple, _SET: set, _FROZENSET: frozenset}
_RESTORE: Final[dict[int, Callable[[bytes], Any]]] = {
    _INT: lambda data: int.from_bytes(data, "big", signed=True),
    _BYTEARRAY: bytearray,
    _DATETIME: lambda data: temporal.datetime_from(_unpack_fields(data)),
    _DATE: lambda data: temporal.date_from(_unpack_fields(data)),
    _TIME: lambda data: temporal.time_from(_unpack_fields(data)),
    _TIMEDELTA: lambda data: temporal.delta_from(_unpack_fields(data)),
    _ZONE: lambda data: temporal.zone_from(_unpack_fields(data)[0]),
    _DECIMAL: lambda data: Decimal(data.decode()),
    _UUID: lambda data: UUID(bytes=data),
    _COMPLEX: lambda data: complex(*struct.unpack(">dd", data)),
    _ARRAY: arrays.decode_array,
    _SCALAR: arrays.decode_scalar,
    foreign.ARROW: partial(foreign.decode, foreign.ARROW),
    foreign.TENSOR: partial(foreign.decode, foreign.TENSOR),
}


def pack(value: object) -> bytes:
    """Return `value` as one msgpack frame. Cost: linear; in C where a container holds only what msgpack knows.

    Raises:
        UnsupportedTypeError: a type that would not come back as it was, or nesting beyond 64 levels.
    """
    return _pack(_plain(value, MAX_DEPTH))


def unpack(data: bytes | memoryview) -> Any:
    """Return the value that `pack` wrote. Nothing is unpickled or executed.

    Raises:
        Exception: of many classes; the bytes are no such frame (`values.py` turns them into one class).
    """
    return _unpack(data, MAX_DEPTH)
