"""Compressed values: they come back, only what pays is compressed, and nothing else is unpacked."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from raycache.codec import MSGPACK, PACKED, RAW, decode, decode_payload, encode
from raycache.errors import CorruptValueError
from raycache.packed import pack, unpack


@given(st.binary(max_size=300), st.integers(0, 8), st.integers(1, 2000))
def test_what_is_packed_comes_back(data: bytes, kind: int, times: int) -> None:
    packed_kind, packed = pack(kind, data * times, 1)
    assert (unpack(packed) if packed_kind == PACKED else (packed_kind, packed)) == (kind, data * times)
    assert len(packed) <= len(data * times)


def test_only_what_is_long_enough_and_pays_is_packed() -> None:
    text = b"all work and no play " * 1000
    assert pack(RAW, text, len(text) + 1) == (RAW, text)
    kind, packed = pack(RAW, text, len(text))
    assert kind == PACKED
    assert len(packed) < len(text) / 20
    for noise in (os.urandom(5000), os.urandom(1 << 20)):
        assert pack(RAW, noise, 1) == (RAW, noise)


@pytest.mark.parametrize("value", ["täxt" * 1000, {"a": [1, 2] * 1000}, np.arange(10_000), b"x" * 10_000])
def test_every_kind_of_value_is_decoded_through_it(value: Any) -> None:
    kind, data = pack(*encode(value), 100)
    assert kind == PACKED
    for again in (decode(kind, data), decode_payload(bytes([kind]) + data)):
        assert type(again) is type(value)
        assert np.array_equal(again, value)


def test_what_nobody_packed_is_corrupt() -> None:
    frame = zstandard.ZstdCompressor().compress(b"x")
    for data in (b"", b"\0", b"\0no frame", bytes([PACKED]) + frame, bytes([MSGPACK]) + frame[:-1],
                 bytes([6]) + frame, b"\0\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\0\0"):
        with pytest.raises(CorruptValueError):
            decode(PACKED, data)
