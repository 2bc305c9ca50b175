"""The ring: every shard's vnodes as points on a circle, on which each slot walks clockwise to a shard with room.

What lives here: the points and the walk, vectorised over slots. What does not: how much room a shard has
(`raycache.ring.quota`) and the table that comes out (`raycache.ring.placement`). A ring is immutable.

Sources: Karger et al. 1997 (consistent hashing); Mirrokni, Thorup and Zadimoghaddam 2017 (bounded loads).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

from raycache.ring.slots import SLOT_COUNT

Indexes = npt.NDArray[np.int64]
Points = npt.NDArray[np.uint64]

NOBODY: Final = -1

# Slots stand on the circle in their own order, evenly. CRC16 has scattered the keys over them already, and neighbours
# on one arc share an owner: CLUSTER SLOTS then answers some hundred ranges and not ten thousand.
_ARC: Final = 2**64 // SLOT_COUNT
SLOT_POINTS: Final[Points] = np.arange(SLOT_COUNT, dtype=np.uint64) * np.uint64(_ARC) + np.uint64(_ARC // 2)


@dataclass(frozen=True, eq=False, slots=True)
class Taken:
    """What a walk must keep away from: per slot the domains (machines, say) that hold a copy already.

    `domain_of[shard]` is a shard's domain; `domains[slot]` are the taken ones, shape (SLOT_COUNT, copies so far),
    -1 = none.
    """

    domain_of: Indexes
    domains: Indexes

    def blocks(self, slots: Indexes, shards: Indexes) -> npt.NDArray[np.bool_]:
        """Return for each pair (slot, shard) whether the shard's domain holds that slot already."""
        result: npt.NDArray[np.bool_] = (self.domains[slots] == self.domain_of[shards][:, None]).any(axis=1)
        return result

    def blocks_all(self, slots: Indexes, is_open: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return for each slot whether every open shard is in a domain that holds it already."""
        open_domains = np.unique(self.domain_of[is_open])
        rows = self.domains[slots]
        hit = np.zeros(len(slots), dtype=np.int64)
        for column in range(rows.shape[1]):
            is_repeat = (rows[:, :column] == rows[:, column : column + 1]).any(axis=1)
            hit += np.isin(rows[:, column], open_domains) & ~is_repeat
        result: npt.NDArray[np.bool_] = hit == len(open_domains)
        return result


class HashRing:
    """Vnodes in order. Shards are indexes into the sequence that the ring was built from."""

    __slots__ = ("_points", "_shards")

    def __init__(self, ids: Sequence[str], vnode_counts: Sequence[int]) -> None:
        """Build the ring; `vnode_counts[i]` points for the shard `ids[i]`, 0 for one that takes no part."""
        counts = np.asarray(vnode_counts, dtype=np.int64)
        shards = np.repeat(np.arange(len(ids), dtype=np.int64), counts)
        ordinals = np.arange(len(shards), dtype=np.int64) - np.repeat(np.cumsum(counts) - counts, counts)
        seeds = np.array([_seed(shard_id) for shard_id in ids], dtype=np.uint64)
        points = _mix(seeds[shards] + ordinals.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        order = np.lexsort((shards, points))
        self._points: Points = points[order]
        self._shards: Indexes = shards[order]

    def distances(self, receivers: npt.NDArray[np.bool_]) -> Points:
        """Return how far clockwise each slot is from the next vnode of any of `receivers` (at least one has vnodes)."""
        points = self._points[receivers[self._shards]]
        at = np.searchsorted(points, SLOT_POINTS) % len(points)
        result: Points = points[at] - SLOT_POINTS  # wraps at 2**64, as the circle does
        return result

    def walk(self, slots: Indexes, room: Indexes, taken: Taken | None = None) -> Indexes:
        """Return for each of `slots` the first shard clockwise that has room and is not blocked, or -1.

        Args:
            room: how many more slots each shard takes; this is counted down in place.
            taken: what blocks which shard for which slot; None = nothing does.

        Where more slots reach a shard than it has room for, the nearest win and the others walk on.
        Cost: a few vectorised rounds; each fills at least one shard or ends the walk.
        """
        result = np.full(len(slots), NOBODY, dtype=np.int64)
        waiting = np.arange(len(slots), dtype=np.int64)
        while len(waiting):
            is_open = room > 0
            mask = is_open[self._shards]
            points, shards = self._points[mask], self._shards[mask]
            if not len(points):
                break
            if taken is not None:
                waiting = waiting[~taken.blocks_all(slots[waiting], is_open)]
            at = np.searchsorted(points, SLOT_POINTS[slots[waiting]]) % len(points)
            if taken is not None:
                _step_over_blocked(at, shards, slots[waiting], taken)
            reached = shards[at]
            distance = points[at] - SLOT_POINTS[slots[waiting]]
            won = rank_within(reached, distance) < room[reached]
            result[waiting[won]] = reached[won]
            room -= np.bincount(reached[won], minlength=len(room))
            waiting = waiting[~won]
        return result


def rank_within(groups: Indexes, distance: Points) -> Indexes:
    """Return each element's rank by `distance` among those of its group, from 0; ties go to the earlier element."""
    order = np.lexsort((distance, groups))
    ordered = groups[order]
    starts = np.searchsorted(ordered, ordered)
    ranks = np.empty(len(groups), dtype=np.int64)
    ranks[order] = np.arange(len(groups), dtype=np.int64) - starts
    return ranks


def _step_over_blocked(at: Indexes, shards: Indexes, slots: Indexes, taken: Taken) -> None:
    """Move each position in `at` on to the next vnode that is not blocked. Every slot must have one."""
    jump = _next_run(taken.domain_of[shards])
    blocked = np.flatnonzero(taken.blocks(slots, shards[at]))
    while len(blocked):
        at[blocked] = jump[at[blocked]]
        blocked = blocked[taken.blocks(slots[blocked], shards[at[blocked]])]


def _next_run(domains: Indexes) -> Indexes:
    """Return for each position of the circle the first one after it with another domain."""
    count = len(domains)
    starts = np.flatnonzero(domains != np.roll(domains, 1))
    if not len(starts):
        return np.arange(count, dtype=np.int64)
    following = np.searchsorted(starts, np.arange(count), side="right") % len(starts)
    result: Indexes = starts[following]
    return result


def _seed(shard_id: str) -> int:
    return int.from_bytes(blake2b(shard_id.encode(), digest_size=8, person=b"raycache/vnode").digest(), "little")


def _mix(values: Points) -> Points:
    """Return 64 well-mixed bits for each of `values`: the finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
