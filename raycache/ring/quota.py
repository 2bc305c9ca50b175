"""How many slots each shard shall hold: fair shares by weight, the cap above them, and whole numbers near both.

What lives here: arithmetic on loads, no ring and no slots. What does not: which slots these are
(`raycache.ring.placement`). Pure functions on lists; shards are indexes, and ties go to the lower one.

A table aims at fair shares (bounded load with epsilon 0) and tolerates up to the cap, so that growth rarely has to
move a slot for the cap's sake, and every shard's share of the keys is its share of the memory.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """What each shard shall hold, in slots."""

    fair: Sequence[float]
    """Its exact share."""
    cap: Sequence[int]
    """The most it may hold: ceil(fair * (1 + max_load)); 0 without weight."""
    low: Sequence[int]
    """Below this it is starved (new, or grown) and takes slots from others; between the two it is left alone."""

    @classmethod
    def of(cls, fair: Sequence[float], max_load: float) -> Quota:
        """Return the quota around `fair` shares."""
        # One slot below the rounded share is what rounding leaves behind after many changes; it is not worth a move.
        low = [max(math.floor(share * (1 - max_load)) - 1, min(1, math.floor(share))) for share in fair]
        return cls(fair, [math.ceil(share * (1 + max_load)) for share in fair], low)


def fair_shares(weights: Sequence[int], total: int) -> list[float]:
    """Return `total` divided in proportion to `weights`. All zero without any weight."""
    # Division of two ints is rounded correctly by Python, so equal inputs give equal shares on every machine.
    whole = sum(weights)
    return [total * weight / whole if whole else 0.0 for weight in weights]


def limited_shares(weights: Sequence[int], total: int, domain_of: Sequence[int], limits: Sequence[int]) -> list[float]:
    """Return fair shares of `total` where the shards of domain `d` together take at most `limits[d]`.

    A domain at its limit shares that limit by weight; the others share what is left.
    """
    shares = [0.0] * len(weights)
    free = [index for index, weight in enumerate(weights) if weight]
    while free:
        trial = dict(zip(free, fair_shares([weights[index] for index in free], total), strict=True))
        sums = [0.0] * len(limits)
        for index, share in trial.items():
            sums[domain_of[index]] += share
        # Half a slot of tolerance: a limit met exactly is not exceeded by rounding.
        full = {domain for domain, load in enumerate(sums) if load > limits[domain] + 0.5}
        if not full:
            for index, share in trial.items():
                shares[index] = share
            return shares
        for domain in full:
            members = [index for index in free if domain_of[index] == domain]
            for index, share in zip(members, fair_shares([weights[m] for m in members], limits[domain]), strict=True):
                shares[index] = share
            total -= limits[domain]
        free = [index for index in free if domain_of[index] not in full]
    return shares


def fill(loads: Sequence[int], quota: Quota, amount: int) -> list[int]:
    """Return `loads` with up to `amount` more slots, each given where most is missing, nobody above its cap."""
    targets = list(loads)
    floors = [max(load, math.floor(share)) for load, share in zip(loads, quota.fair, strict=True)]
    lift = sum(floors) - sum(targets)
    if lift <= amount:
        # The greedy loop would do the same one by one: whoever is below its floor misses at least a whole slot.
        targets, amount = floors, amount - lift
    heap = [(target - share, index) for index, (target, share) in enumerate(zip(targets, quota.fair, strict=True))
            if target < quota.cap[index]]
    heapq.heapify(heap)
    while amount and heap:
        _, index = heap[0]
        targets[index] += 1
        amount -= 1
        if targets[index] < quota.cap[index]:
            heapq.heapreplace(heap, (targets[index] - quota.fair[index], index))
        else:
            heapq.heappop(heap)
    return targets


def drain(loads: Sequence[int], quota: Quota, amount: int) -> list[int]:
    """Return `loads` with up to `amount` fewer slots, each taken where most is in excess, nobody below its floor."""
    targets = list(loads)
    floors = [math.floor(share) for share in quota.fair]
    heap = [(share - target, index) for index, (target, share) in enumerate(zip(targets, quota.fair, strict=True))
            if target > floors[index]]
    heapq.heapify(heap)
    while amount and heap:
        _, index = heap[0]
        targets[index] -= 1
        amount -= 1
        if targets[index] > floors[index]:
            heapq.heapreplace(heap, (quota.fair[index] - targets[index], index))
        else:
            heapq.heappop(heap)
    return targets


def after_release(loads: Sequence[int], quota: Quota, pending: int) -> list[int]:
    """Return what each shard keeps before slots without an owner are dealt.

    Nobody keeps more than its cap; and where starved shards need more than the `pending` slots that have no owner
    yet and those above the caps, the shards with the largest excess give the rest.
    """
    kept = [min(load, cap) for load, cap in zip(loads, quota.cap, strict=True)]
    lack = sum(share - load for load, share, low in zip(kept, quota.fair, quota.low, strict=True) if load < low)
    return drain(kept, quota, max(0, math.floor(lack) - pending - (sum(loads) - sum(kept))))
