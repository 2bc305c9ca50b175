"""Merge rules, in particular what one failed part does to the whole."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from raycache.gateway import merge
from raycache.gateway.merge import Merge

DOWN = b"-CLUSTERDOWN s1 is unreachable\r\n"


@pytest.mark.parametrize(
    ("rule", "good"),
    [
        (merge.all_ok, b"+OK\r\n"),
        (merge.total, b":1\r\n"),
        (merge.concatenated, b"*1\r\n$1\r\na\r\n"),
        (merge.in_order([[0], [1]], 2), b"*1\r\n$1\r\na\r\n"),
    ],
)
def test_one_failed_part_fails_the_whole(rule: Merge, good: bytes) -> None:
    assert rule([good, DOWN]) == DOWN
    assert rule([DOWN, good]) == DOWN
    assert rule([good, good]) != DOWN


def test_sums_and_concatenations() -> None:
    assert merge.total([b":1\r\n", b":0\r\n", b":41\r\n"]) == b":42\r\n"
    assert merge.concatenated([b"*1\r\n$1\r\na\r\n", b"*0\r\n", b"*2\r\n$1\r\nb\r\n$1\r\nc\r\n"]) == (
        b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"
    )
    assert merge.all_ok([b"+OK\r\n", b"+OK\r\n"]) == b"+OK\r\n"


def test_elements_keep_their_type_whatever_it_is() -> None:
    rule = merge.in_order([[2, 0], [1]], 3)
    assert (
        rule([b"*2\r\n_\r\n*1\r\n:1\r\n", b"*1\r\n%1\r\n+a\r\n#t\r\n"]) == b"*3\r\n*1\r\n:1\r\n%1\r\n+a\r\n#t\r\n_\r\n"
    )


def test_a_part_with_too_few_elements_is_an_error_not_a_hole() -> None:
    with pytest.raises(ValueError, match="zip"):
        merge.in_order([[0, 1]], 2)([b"*1\r\n:1\r\n"])


def test_random_key_is_weighted_by_size() -> None:
    rule = merge.weighted_choice(random.Random(7), 2)
    replies = [b"$1\r\na\r\n", b":1\r\n", b"$-1\r\n", b":0\r\n", b"$1\r\nb\r\n", b":3\r\n"]
    counts = Counter(rule(replies) for _ in range(400))
    assert set(counts) == {b"$1\r\na\r\n", b"$1\r\nb\r\n"}
    assert 200 < counts[b"$1\r\nb\r\n"] < 380


def test_random_key_of_an_empty_cluster_is_null_in_the_clients_protocol() -> None:
    assert merge.weighted_choice(random.Random(1), 2)([b"$-1\r\n", b":0\r\n"]) == b"$-1\r\n"
    assert merge.weighted_choice(random.Random(1), 3)([b"_\r\n", b":0\r\n"]) == b"_\r\n"
    assert merge.weighted_choice(random.Random(1), 3)([b"$1\r\na\r\n", DOWN]) == DOWN
