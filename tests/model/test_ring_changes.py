"""A cluster whose shards come and go for a long time: the promises hold after every change.

The model is the promise itself: caps, how much may move at each change, and to whom.
"""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raycache.ring.placement import PlacedShard, build_table
from raycache.ring.plan import reindexed
from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import Owners

MAX_LOAD = 1 / 32


def caps(shards: list[PlacedShard]) -> np.ndarray:
    whole = sum(shard.weight for shard in shards)
    return np.array([math.ceil(SLOT_COUNT * shard.weight / whole * (1 + MAX_LOAD)) for shard in shards])


class Cluster:
    """A slot table that is only ever changed, never made anew; each change is checked."""

    def __init__(self, count: int) -> None:
        self.shards = [PlacedShard(f"s{i}") for i in range(count)]
        self.table = build_table(self.shards, max_load=MAX_LOAD)

    @property
    def loads(self) -> np.ndarray:
        return np.bincount(self.table[:, 0], minlength=len(self.shards))

    def add(self, shard: PlacedShard) -> None:
        old, shards = self._after([*self.shards, shard])
        table, moved = self.table, self.table[:, 0] != old[:, 0]
        weight = shard.weight / sum(each.weight for each in shards)
        forced = self._forced(old, shards)
        elsewhere = int((moved & (table[:, 0] != len(shards) - 1)).sum())
        assert elsewhere <= forced
        assert moved.sum() <= max(1.05 * weight * SLOT_COUNT, forced)
        if len({each.weight for each in shards}) == 1:
            assert moved.sum() <= 1.05 * SLOT_COUNT / len(shards)

    def remove(self, index: int) -> None:
        gone = self.loads[index]
        old, shards = self._after([*self.shards[:index], *self.shards[index + 1 :]])
        assert (self.table != old).sum() <= gone + self._forced(old, shards)
        assert (old == -1).sum() == gone

    def _after(self, shards: list[PlacedShard]) -> tuple[Owners, list[PlacedShard]]:
        old = reindexed(self.table, [each.id for each in self.shards], [each.id for each in shards])
        self.table, self.shards = build_table(shards, max_load=MAX_LOAD, previous=old), shards
        return old, shards

    @staticmethod
    def _forced(old: Owners, shards: list[PlacedShard]) -> int:
        loads = np.bincount(old[old >= 0], minlength=len(shards))
        return int(np.maximum(loads - caps(shards), 0).sum())

    def check(self) -> None:
        assert (self.table >= 0).all()
        assert (self.loads <= caps(self.shards)).all()


class RingMachine(RuleBasedStateMachine):
    @initialize(count=st.integers(1, 40))
    def begin(self, count: int) -> None:
        self.cluster = Cluster(count)
        self.removed: list[PlacedShard] = []
        self.next = count

    @rule(weight=st.integers(1, 5))
    def add(self, weight: int) -> None:
        self.cluster.add(PlacedShard(f"s{self.next}", weight=weight))
        self.next += 1

    @precondition(lambda self: len(self.cluster.shards) > 1)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.cluster.shards) - 1))
        self.removed.append(self.cluster.shards[index])
        self.cluster.remove(index)

    @precondition(lambda self: self.removed)
    @rule()
    def bring_back(self) -> None:
        self.cluster.add(self.removed.pop())

    @invariant()
    def caps_hold(self) -> None:
        if hasattr(self, "cluster"):
            self.cluster.check()


RingMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestRing = RingMachine.TestCase


@pytest.mark.parametrize(("start", "changes"), [(1, 200), (60, 200), (960, 60)])
def test_equal_shards_keep_every_promise_and_a_fair_share(start: int, changes: int) -> None:
    rng = random.Random(start)
    cluster = Cluster(start)
    for number in range(changes):
        if len(cluster.shards) > 1 and rng.random() < 0.4:
            cluster.remove(rng.randrange(len(cluster.shards)))
        else:
            cluster.add(PlacedShard(f"t{number}"))
        cluster.check()
        # More than the promise: with equal shards no rounding gathers, however many changes there were.
        assert cluster.loads.max() - cluster.loads.min() <= 1
