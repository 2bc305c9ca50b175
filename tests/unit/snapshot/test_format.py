"""A snapshot's bytes: what was written comes back, and a file that was torn or changed anywhere does not."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.replication.mutation import Mutation
from raycache.snapshot.format import (
    Head,
    SnapshotError,
    Sums,
    pack_head,
    pack_records,
    read_blocks,
    read_head,
    seal_block,
    unpack_records,
)

HEAD = Head(cluster="c", shard_id="s1", incarnation=5, epoch=7, began_ms=1_700_000_000_000, is_versioned=True)


def written(*blocks: list[Mutation]) -> bytes:
    sums = Sums()
    out = [pack_head(HEAD)]
    for block in blocks:
        parts = pack_records(block)
        out += [seal_block(len(block), parts, sums), *parts]
    return b"".join([*out, sums.trailer()])


def read(data: bytes) -> list[Mutation]:
    file = io.BytesIO(data)
    assert read_head(file) == HEAD
    return [mutation for entries, payload in read_blocks(file) for mutation in unpack_records(entries, payload)]


SMALL: list[list[Mutation]] = [
    [(b"a", 1 << 40, 0, 0, b"value"), (b"b\x00\xff", 2, 200, 1_800_000_000_000, b"")],
    [(b"gone", 3, 0, 0, None)],
]
FILE = written(*SMALL)


def test_what_was_written_comes_back() -> None:
    assert read(FILE) == [mutation for block in SMALL for mutation in block]
    assert read(written()) == []


mutations = st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 2**63 - 1), st.integers(0, 255),
                      st.integers(0, 2**50), st.none() | st.binary(max_size=60))


@given(st.lists(st.lists(mutations, max_size=8), max_size=4))
def test_anything_comes_back(blocks: list[list[Mutation]]) -> None:
    assert read(written(*blocks)) == [mutation for block in blocks for mutation in block]


@pytest.mark.parametrize("length", range(len(FILE)))
def test_a_file_torn_anywhere_is_refused(length: int) -> None:
    with pytest.raises(SnapshotError):
        read(FILE[:length])


@pytest.mark.parametrize("place", range(len(FILE)))
def test_a_single_changed_bit_is_found_wherever_it_is(place: int) -> None:
    for bit in range(8):
        damaged = bytearray(FILE)
        damaged[place] ^= 1 << bit
        with pytest.raises(SnapshotError):
            read(bytes(damaged))


@pytest.mark.parametrize("what", ["appended", "doubled block", "block left out", "blocks exchanged", "other trailer"])
def test_whole_parts_in_the_wrong_place_are_found(what: str) -> None:
    head = len(pack_head(HEAD))
    sums = Sums()
    first, second = (b"".join([seal_block(len(block), parts, sums), *parts])
                     for block in SMALL for parts in [pack_records(block)])
    trailer = FILE[head + len(first) + len(second):]
    assert FILE[:head] + first + second + trailer == FILE
    changed = {
        "appended": FILE + b"\x00", "doubled block": FILE[:head] + first + first + second + trailer,
        "block left out": FILE[:head] + first + trailer, "blocks exchanged": FILE[:head] + second + first + trailer,
        "other trailer": FILE[:head] + first + second + written(SMALL[0])[head + len(first):],
    }
    with pytest.raises(SnapshotError):
        read(changed[what])


def test_random_damage_is_never_taken_for_a_snapshot() -> None:
    rng = random.Random(3)
    for _ in range(2_000):
        damaged = bytearray(FILE)
        for _ in range(rng.randint(1, 6)):
            start = rng.randrange(len(damaged))
            damaged[start : start + rng.randint(1, 8)] = rng.randbytes(rng.randint(0, 8))
        if bytes(damaged) != FILE:
            with pytest.raises(SnapshotError):
                read(bytes(damaged))


def test_another_format_is_named_as_such() -> None:
    with pytest.raises(SnapshotError, match="another format"):
        read(b"RCSNAP\x00\x02" + FILE[8:])
    with pytest.raises(SnapshotError, match="no snapshot"):
        read(b"REDIS0009" + FILE)


def test_large_values_are_not_copied() -> None:
    value = bytes(1024 * 1024)
    assert any(part is value for part in pack_records([(b"k", 1, 0, 0, value)]))
