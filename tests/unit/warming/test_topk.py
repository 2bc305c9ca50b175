"""Counting keys: exact as long as they fit, and within the bound of the paper when they do not."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.warming.topk import Counted, TopKeys

KEYS = st.lists(st.integers(0, 30).map(lambda number: b"k%d" % number), max_size=300)


@given(KEYS)
def test_with_enough_counters_every_count_is_exact(keys: list[bytes]) -> None:
    top = TopKeys(31)
    top.add_all(keys)
    assert top.is_exact
    assert top.error_bound == 0
    assert {one.key: one.count for one in top.top()} == Counter(keys)
    assert all(one.error == 0 for one in top.top())


@given(KEYS, st.integers(1, 12))
def test_a_sketch_is_never_too_low_and_too_high_by_its_error_at_most(keys: list[bytes], counters: int) -> None:
    top, true = TopKeys(counters), Counter(keys)
    top.add_all(keys)
    found = top.top()
    assert len(found) == min(counters, len(true))
    assert sum(one.count for one in found) == len(keys)  # no occurrence is lost or invented
    for one in found:
        assert one.at_least <= true[one.key] <= one.count
        assert one.error <= top.error_bound <= len(keys) / counters
    # Whatever occurred more often than the bound is there.
    assert {key for key, count in true.items() if count > len(keys) / counters} <= {one.key for one in found}


def test_the_top_of_a_skewed_log_is_found_with_a_tenth_of_the_counters() -> None:
    rng = random.Random(5)
    weights = [1 / rank for rank in range(1, 5001)]
    keys = [b"key:%d" % number for number in rng.choices(range(5000), weights, k=60_000)]
    top = TopKeys(500)
    top.add_all(keys)
    assert not top.is_exact
    truly = [key for key, _ in Counter(keys).most_common(50)]
    found = [one.key for one in top.top(50)]
    assert len(set(truly) & set(found)) >= 48
    assert found[:10] == truly[:10]


def test_equals_are_in_the_order_of_their_bytes_so_that_the_list_is_always_the_same() -> None:
    one, two = TopKeys(10), TopKeys(10)
    one.add_all([b"b", b"a", b"c", b"c"])
    two.add_all([b"c", b"a", b"c", b"b"])
    assert one.top() == two.top() == [Counted(b"c", 2, 0), Counted(b"a", 1, 0), Counted(b"b", 1, 0)]
    assert one.top(1) == [Counted(b"c", 2, 0)]


def test_there_must_be_a_counter() -> None:
    with pytest.raises(ValueError, match="at least one"):
        TopKeys(0)
