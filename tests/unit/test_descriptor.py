"""What an entry holds whose value is in Ray's object store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.descriptor import DESCRIPTOR_BYTES, NAME_BYTES, Descriptor, descriptor_of

NAMES = st.binary(min_size=NAME_BYTES, max_size=NAME_BYTES)


@given(NAMES, st.integers(0, 254), st.integers(1, 1 << 40), st.integers(0, 999), st.binary(max_size=400))
def test_it_comes_back_and_has_one_length(name: bytes, kind: int, size: int, shard: int, where: bytes) -> None:
    descriptor = Descriptor(name, kind, size, f"s{shard}", where)
    data = descriptor.pack()
    assert len(data) == DESCRIPTOR_BYTES
    assert descriptor_of(data) == descriptor_of(memoryview(data)) == descriptor


def test_a_place_that_does_not_fit_is_left_out_as_a_whole() -> None:
    descriptor = Descriptor(b"n" * NAME_BYTES, 4, 9, "s0", b"w" * DESCRIPTOR_BYTES)
    assert descriptor_of(descriptor.pack()) == descriptor._replace(where=b"")


@given(st.binary(max_size=DESCRIPTOR_BYTES))
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"descriptor"):
        descriptor_of(data.ljust(DESCRIPTOR_BYTES, b"\0"))
    with pytest.raises(ValueError, match=r"512 bytes"):
        descriptor_of(data[: DESCRIPTOR_BYTES - 1])
