"""One Python value to (kind, bytes) and back; the fast forms of bytes, str and int are here.

What lives here: which kind a value gets, and the dispatch on the kind byte. The formats themselves are in
`frames.py` and `arrays.py`. Pure functions; any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from raycache.codec import frames
from raycache.codec.arrays import decode_array, encode_array
from raycache.codec.described import described
from raycache.codec.kinds import ARRAY, INTEGER, MSGPACK, PICKLE, RAW, TEXT
from raycache.codec.loaded import header_of
from raycache.codec.refusal import corrupt
from raycache.codec.sealed import Sealed
from raycache.errors import InternalError
from raycache.packed import unpack

_INT64_MIN: Final = -(2**63)
_INT64_MAX: Final = 2**63 - 1
_INT64_TEXT_BYTES: Final = 20


def encode(value: Any) -> tuple[int, bytes]:
    """Return (kind, bytes) for `value`, such that `decode` gives an equal value of the same type.

    Exact types only: None, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset,
    datetime, date, time, timedelta, timezone, ZoneInfo, Decimal, UUID, numpy arrays of any dtype but object, numpy
    scalars, Arrow tables and record batches, torch tensors in plain memory; containers of these, nested up to 64
    levels, with any of the hashable ones as dict keys.

    Raises:
        UnsupportedTypeError: any other type, or a subclass of these; the text names the type and the way out.
    """
    kind = type(value)
    if kind is bytes:
        return RAW, value
    if kind is str:
        return TEXT, _encode_text(value)
    if kind is int and _INT64_MIN <= value <= _INT64_MAX:
        return INTEGER, b"%d" % value
    if kind is np.ndarray:
        return ARRAY, encode_array(value)
    return MSGPACK, frames.pack(value)


def _encode_text(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:  # lone surrogates, such as in undecodable file names
        return text.encode("utf-8", "surrogatepass")


def _decode_text(data: bytes | memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return str(data, "utf-8", "surrogatepass")


def _decode_integer(data: bytes | memoryview) -> int:
    if len(data) > _INT64_TEXT_BYTES:
        raise ValueError(f"{len(data)} bytes are no 64-bit integer")
    return int(bytes(data))


def _decode_pickle(data: bytes | memoryview) -> Any:
    raise Sealed(bytes(data))


def _decode_loaded(data: bytes | memoryview) -> Any:
    header = header_of(data)
    return _DECODERS[header.kind](data[header.start :])


def _decode_described(data: bytes | memoryview) -> bytes:
    return bytes(described(data).body)


def _decode_packed(data: bytes | memoryview) -> Any:
    kind, unpacked = unpack(data)
    if kind >= PICKLE:
        raise ValueError(f"compressed, and of kind {kind}")
    return _DECODERS[kind](unpacked)


def _decode_object(data: bytes | memoryview) -> Any:
    raise ValueError("the value is in an object store, and has to be fetched")


_DECODERS: Final[tuple[Callable[[bytes | memoryview], Any], ...]] = (
    bytes, frames.unpack, _decode_integer, _decode_text, decode_array, _decode_pickle,
    _decode_loaded, _decode_described, _decode_object, _decode_packed,
)  # fmt: skip


def decode(kind: int, data: bytes | memoryview) -> Any:
    """Return the value that `encode` wrote as (kind, data).

    Raises:
        InternalError: the kind is not known here (a newer version wrote it), or the bytes are not of that kind.
        Sealed: it is a pickle, which is not loaded here.
    """
    if kind >= len(_DECODERS):
        raise corrupt(kind, "this version does not know the kind; a newer one wrote it")
    try:
        return _DECODERS[kind](data)
    except Sealed:
        raise
    except Exception as error:
        raise corrupt(kind, error) from error


def decode_payload(payload: bytes) -> Any:
    """Return the value of a payload: one kind byte, then the bytes of `encode`. The hot path of every read.

    Raises:
        InternalError: as `decode`, or the payload is empty.
    """
    if not payload:
        raise corrupt(RAW, "an empty payload")
    kind = payload[0]
    if kind == RAW:
        return payload[1:]
    return decode(kind, memoryview(payload)[1:] if len(payload) > 256 else payload[1:])


def decode_payloads(payloads: list[bytes | None], missing: object = None,
                    open_payload: Callable[[bytes], Any] = decode_payload) -> list[Any]:
    """Return `open_payload` of each, `missing` for each None. Cost: about 60 ns a key of raw bytes.

    Raises:
        InternalError: one of them cannot be decoded, or is no payload at all.
    """
    try:
        # payload[0] == RAW without a call: nearly every value in a large batch is bytes or text.
        return [
            missing if payload is None else payload[1:] if payload[0] == RAW else open_payload(payload)
            for payload in payloads
        ]
    except (InternalError, Sealed):
        raise
    except (IndexError, TypeError) as error:
        raise corrupt(RAW, f"no payload: {error}") from error
