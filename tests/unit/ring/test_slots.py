"""Slots are Redis Cluster's: the values here come from its specification and from `CLUSTER KEYSLOT`."""

from __future__ import annotations

from binascii import crc_hqx

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.ring.slots import (
    BITMAP_BYTES,
    SLOT_COUNT,
    bitmap_of,
    hash_tag,
    mask_of_bitmap,
    slot_of,
    slots_of,
    slots_of_bitmap,
)


def test_crc_is_the_one_of_the_specification() -> None:
    assert crc_hqx(b"123456789", 0) == 0x31C3


@pytest.mark.parametrize(("key", "slot"), [
    (b"123456789", 0x31C3), (b"foo", 12182), (b"bar", 5061), (b"hello", 866), (b"", 0), (b"user1000", 3443),
])
def test_known_slots(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


@pytest.mark.parametrize(("key", "tag"), [
    (b"{user1000}.following", b"user1000"),
    (b"foo{}{bar}", b"foo{}{bar}"),  # nothing between the first braces: the whole key
    (b"foo{{bar}}zap", b"{bar"),  # up to the first closing brace
    (b"foo{bar}{zap}", b"bar"),
    (b"foo{bar", b"foo{bar"),
    (b"foo}bar{", b"foo}bar{"),
    (b"}{a}", b"a"),
    (b"{", b"{"),
    (b"{}", b"{}"),
])
def test_hash_tags(key: bytes, tag: bytes) -> None:
    assert hash_tag(key) == tag
    assert slot_of(key) == crc_hqx(tag, 0) % SLOT_COUNT


@given(st.lists(st.binary(max_size=40) | st.text("{}ab", max_size=8).map(str.encode), max_size=50))
def test_a_batch_has_the_slots_of_its_keys(keys: list[bytes]) -> None:
    slots = slots_of(keys)
    assert slots.tolist() == [slot_of(key) for key in keys]
    assert slots.dtype == np.int32
    assert all(0 <= slot < SLOT_COUNT for slot in slots.tolist())


@given(st.binary(min_size=1).filter(lambda tag: b"}" not in tag), st.binary(max_size=9), st.binary(max_size=9))
def test_keys_with_one_tag_share_a_slot(tag: bytes, before: bytes, after: bytes) -> None:
    before = before.replace(b"{", b"")
    assert slot_of(before + b"{" + tag + b"}" + after) == crc_hqx(tag, 0) % SLOT_COUNT


@given(st.sets(st.integers(0, SLOT_COUNT - 1), max_size=50))
def test_a_set_of_slots_survives_as_bytes(slots: set[int]) -> None:
    packed = bitmap_of(slots)
    assert len(packed) == BITMAP_BYTES
    assert slots_of_bitmap(packed).tolist() == sorted(slots)
    assert np.flatnonzero(mask_of_bitmap(packed)).tolist() == sorted(slots)
    assert bitmap_of(np.array(sorted(slots), dtype=np.int32)) == packed


def test_the_order_of_bits_is_fixed() -> None:
    assert bitmap_of([0, 9])[:3] == b"\x80\x40\x00"
    with pytest.raises(ValueError, match="bytes"):
        slots_of_bitmap(b"short")
    with pytest.raises(IndexError):
        bitmap_of([SLOT_COUNT])
