"""In which order copies are asked, and who takes the place of shards that do not answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from raycache.client.info import Place
from raycache.client.routes import NOBODY, Routes
from raycache.ring.slots import SLOT_COUNT, slot_of
from raycache.ring.topology import ShardInfo, Topology

KEYS = [b"k%d" % number for number in range(300)]


def routes(row: list[int], *, down: tuple[int, ...] = (), place: Place | None = None,
           mode: str = "primary-replica") -> Routes:
    """Five shards on the machines m0, m0, m1, m1, m2, each on a node of its own; every slot has the owners `row`."""
    shards = tuple(
        ShardInfo(f"s{i}", "127.0.0.1", 1 + i, f"n{i}", f"m{i // 2}", "", "down" if i in down else "up", 1, 1)
        for i in range(5)
    )
    return Routes(Topology("x", 1, shards, np.tile(np.array(row, dtype=np.int16), (SLOT_COUNT, 1)), replication=mode),
                  place)


@pytest.mark.parametrize(("read_from", "order"), [("primary", [4, 1, 2]), ("replica", [1, 2, 4]),
                                                  ("nearest", [4, 1, 2])])
def test_the_order_is_what_the_caller_wants_and_then_that_of_the_columns(read_from: Any, order: list[int]) -> None:
    assert routes([4, 1, 2]).in_order(7, read_from) == order


@pytest.mark.parametrize(("node", "machine", "order"), [
    ("n2", "m1", [2, 4, 1]),  # the node's own
    ("n3", "m1", [2, 4, 1]),  # another node of the same machine
    ("n4", "m2", [4, 1, 2]),  # the primary is the nearest
    ("n9", "m9", [4, 1, 2]),  # nobody is near: the primary
    ("n1", "m0", [1, 4, 2]),
])
def test_the_nearest_is_on_the_node_then_on_the_machine_then_the_primary(
        node: str, machine: str, order: list[int]) -> None:
    assert routes([4, 1, 2], place=Place(node, machine)).in_order(0, "nearest") == order


def test_those_that_are_down_come_last_and_nobody_not_at_all() -> None:
    assert routes([4, 1, 2], down=(4,)).in_order(0, "primary") == [1, 2, 4]
    assert routes([4, 1, 2], down=(1,), place=Place("n1", "m0")).in_order(0, "nearest") == [4, 2, 1]
    assert routes([4, -1, 2]).in_order(0, "replica") == [2, 4]
    assert routes([-1, -1]).in_order(0, "primary") == []


def test_a_place_by_itself_changes_nothing_but_nearest() -> None:
    assert routes([4, 1, 2], place=Place("n2", "m1")).in_order(0, "replica") == [1, 2, 4]


def test_around_takes_the_next_in_order_for_every_key() -> None:
    table = np.stack([np.arange(SLOT_COUNT) % 3, (np.arange(SLOT_COUNT) + 1) % 3], axis=1).astype(np.int16)
    shards = routes([0]).topology.shards
    some = Routes(Topology("x", 1, shards, table))
    for avoided, expected in ((frozenset[int](), 0), (frozenset({0}), None), (frozenset({0, 1, 2}), NOBODY)):
        chosen = {KEYS[at]: shard for shard, places in some.around("primary", avoided).group(KEYS) for at in places}
        for key in KEYS:
            first, second = table[slot_of(key)].tolist()
            if expected == NOBODY:
                assert chosen[key] == NOBODY
            else:
                assert chosen[key] == (second if first in avoided else first)
    assert some.around("primary", frozenset({1})) is some.around("primary", frozenset({1}))


def test_a_shard_is_retired_when_it_is_down_or_gone_or_serves_nothing() -> None:
    some = routes([0, 1], down=(1,))
    assert [some.is_retired(("127.0.0.1", port)) for port in (1, 2, 3, 9)] == [False, True, True, True]


def test_who_takes_writes_depends_on_the_mode() -> None:
    assert not routes([0, 1]).takes_writes_anywhere
    assert routes([0, 1], mode="quorum").takes_writes_anywhere
    assert routes([0, 1], mode="multi-primary").takes_writes_anywhere
    assert not routes([0], mode="quorum").takes_writes_anywhere
