"""What a stored value looks like over HTTP: its bytes and its media type.

What lives here: the choice for each kind of value. What does not: how kinds are written (`raycache.codec`). Pure; any
thread.

| stored as | comes as |
|---|---|
| written over HTTP | what was written, with its media type |
| bytes, from Python or a Redis client | application/octet-stream |
| str, int | text/plain |
| other Python values | application/json where JSON can say it exactly, else (or if preferred) application/msgpack |
| numpy arrays | application/x-npy, as `numpy.load` reads it |
"""

from __future__ import annotations

import io
import json
import math
from typing import Any, Final, NamedTuple

import numpy as np

from raycache.codec import ARRAY, DESCRIBED, INTEGER, LOADED, MSGPACK, OBJECT, PACKED, RAW, TEXT, decode
from raycache.codec.described import described
from raycache.codec.refusal import corrupt
from raycache.packed import unpack
from serve_app.rest import negotiation

OCTETS: Final = "application/octet-stream"
TEXT_TYPE: Final = "text/plain; charset=utf-8"
SHARED_BYTES: Final = 256 * 1024
NPY: Final = "application/x-npy"


class Representation(NamedTuple):
    """A body and what its headers say."""

    body: bytes | memoryview
    """A part of what the shard sent where that is large, so that it is not in memory twice."""
    media_type: str
    coding: str = ""
    """Content-Encoding; "" where there is none."""
    written_ms: int | None = None
    """Unix milliseconds; None where that is not known."""


def represent(payload: bytes, accept: str | None = None) -> Representation:
    """Return how a payload of a kind other than LOADED looks.

    Raises:
        CorruptValueError: it is not what its kind says.
    """
    kind = payload[0]
    if kind == PACKED:
        try:
            inside, unpacked = unpack(memoryview(payload)[1:])
        except ValueError as error:
            raise corrupt(PACKED, error) from error
        return represent(bytes([inside]) + unpacked, accept)
    if kind == DESCRIBED:
        try:
            return Representation(*described(_shared(payload), 1))
        except ValueError as error:
            raise corrupt(DESCRIBED, error) from error
    data: bytes | memoryview = _shared(payload)[1:]
    if kind == RAW:
        return Representation(data, OCTETS)
    if kind in (TEXT, INTEGER):
        return Representation(data, TEXT_TYPE)
    value = decode(kind, data)
    if kind == ARRAY:
        return Representation(_npy(value), NPY)
    if kind == MSGPACK and (negotiation.wanted(accept, "json") == "msgpack" or not _is_json(value)):
        return Representation(data, negotiation.MSGPACK)
    return Representation(json.dumps(value, ensure_ascii=False).encode(), negotiation.JSON)


def _shared(payload: bytes) -> bytes | memoryview:
    """Return what parts may be taken of without a copy, where copies cost more than the view does."""
    return payload if len(payload) < SHARED_BYTES else memoryview(payload)


def is_loaded(payload: bytes) -> bool:
    """Return whether only the handle can read it: `get_or_load` stored it, or it is in Ray's object store."""
    return payload[0] == LOADED or payload[0] == OBJECT


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _is_json(value: Any) -> bool:
    """Return whether JSON says exactly `value`: no bytes, tuples, sets, dates, and numbers that JSON has."""
    kind = type(value)
    if kind is str:
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    if kind is float:
        return math.isfinite(value)
    if kind is list:
        return all(map(_is_json, value))
    if kind is dict:
        return all(type(key) is str and _is_json(key) and _is_json(each) for key, each in value.items())
    return value is None or kind in (bool, int)
