"""The table builder: which shards own each slot, primary first.

What lives here: one pure function from shards (and the table before) to the table after. What does not: the ring's
walk (`raycache.ring.hashring`), how many slots each shard gets (`raycache.ring.quota`), ids, epochs and addresses
(`raycache.ring.topology`), and what changed (`raycache.ring.plan`).

What it promises, for the primaries:

- no shard above its cap, ceil(SLOT_COUNT * weight / weights * (1 + max_load));
- from nothing, every shard within one slot of its fair share;
- with the table before: a slot moves only because its owner is gone, because its owner is above the cap, or to a
  shard that is starved (new, or grown), and that one then takes no more than its fair share. So the n-th equal shard
  takes floor(SLOT_COUNT / n) slots;
- the same input gives the same table on any machine and in any process, in whatever order the shards come.

For the replicas the same column by column, but keeping a slot's copies apart comes first: on distinct machines where
there are enough (else distinct shards), and on distinct zones where the cap leaves a choice. Where the machines are so
unequal that both cannot be had, a replica goes above the cap. More copies than shards leave the last columns empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from raycache.ring.hashring import NOBODY, HashRing, Indexes, Taken, rank_within
from raycache.ring.quota import Quota, after_release, fair_shares, fill, limited_shares
from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import Owners


@dataclass(frozen=True, slots=True)
class PlacedShard:
    """What placement must know of a shard."""

    id: str
    machine: str = ""
    """What fails together. "" = not known: a machine of its own."""
    zone: str = ""
    weight: int = 1
    """Its share is proportional to this; 0 = it owns nothing."""


def build_table(
    shards: Sequence[PlacedShard],
    *,
    copies: int = 1,
    vnodes_per_shard: int = 128,
    max_load: float = 1 / 32,
    previous: Owners | None = None,
) -> Owners:
    """Return the owners of every slot: indexes into `shards`, shape (SLOT_COUNT, copies), -1 = nobody.

    Args:
        shards: distinct ids, weights of at least 0.
        vnodes_per_shard: points on the ring for a shard of average weight.
        max_load: how far above its fair share a shard may stay, as a fraction of it.
        previous: the table to start from, in indexes into this very `shards`, -1 where the owner is gone
            (`raycache.ring.plan.reindexed` makes it from an older table). None: from nothing.
    Raises:
        ValueError: ids repeat, a weight is negative, or an argument is out of range.
    Cost: 1,000 shards take some tenths of a second.
    """
    _check(shards, copies, vnodes_per_shard, max_load, previous)
    # Whatever order they come in, shards are dealt in the order of their ids.
    order = sorted(range(len(shards)), key=lambda index: shards[index].id)
    before = _in_order(previous, order, copies)
    table = _Table([shards[index] for index in order], copies, vnodes_per_shard, max_load, before).build()
    back = np.array([*order, NOBODY], dtype=np.int16)  # the last one maps -1 to -1
    return back[table]


class _Table:
    """One evaluation. Columns are dealt from the primaries on; each sees those before it."""

    def __init__(self, shards: list[PlacedShard], copies: int, vnodes: int, max_load: float, before: Indexes) -> None:
        self.weights = [shard.weight for shard in shards]
        self.max_load = max_load
        self.before = before
        self.copies = min(copies, sum(weight > 0 for weight in self.weights))
        self.ring = HashRing([shard.id for shard in shards], _vnode_counts(self.weights, vnodes))
        self.levels = _levels(shards, self.copies)
        self.owners = np.full((SLOT_COUNT, copies), NOBODY, dtype=np.int64)

    def build(self) -> Indexes:
        for column in range(self.copies):
            self._deal(column)
        return self.owners

    def _deal(self, column: int) -> None:
        """Decide one column: keep what may stay, release what is too much, let the rest walk."""
        taken = [Taken(level, self._domains(level, column)) for level in self.levels] if column else [None]
        strict = taken[-1]
        kept = self._candidates(column, strict)
        quota = self._quota(strict)
        self._release(kept, quota, strict)
        loads = self._loads(kept)
        targets = fill(loads, quota, int((kept < 0).sum()))
        room = np.array(targets, dtype=np.int64) - np.array(loads, dtype=np.int64)
        if strict is not None:
            self._fill_tight(kept, room, strict)
        for level in taken:
            slots = np.flatnonzero(kept < 0)
            kept[slots] = self.ring.walk(slots, room, level)
        if strict is not None:
            _place_stragglers(kept, room, strict, quota)
        self.owners[:, column] = kept

    def _fill_tight(self, kept: Indexes, room: Indexes, strict: Taken) -> None:
        """Give the domains that need every slot still open to them those slots before others take them."""
        for domain in np.unique(strict.domain_of[room > 0]).tolist():
            slots = np.flatnonzero((kept < 0) & ~(strict.domains == domain).any(axis=1))
            inside = np.where(strict.domain_of == domain, room, 0)
            if 0 < len(slots) <= int(inside.sum()):
                room -= inside
                kept[slots] = self.ring.walk(slots, inside, strict)
                room += inside

    def _candidates(self, column: int, strict: Taken | None) -> Indexes:
        """Return who held each slot before and may hold this column now: the same column's owner, else the first owner
        that no earlier column uses (a replica whose primary is gone moves up: it has the data)."""
        chosen = self.owners[:, :column]
        kept = np.full(SLOT_COUNT, NOBODY, dtype=np.int64)
        columns = [c for c in (column, *range(self.before.shape[1])) if c < self.before.shape[1]]
        for candidate in (self.before[:, c] for c in columns):
            is_free = (kept < 0) & (candidate >= 0) & ~(chosen == candidate[:, None]).any(axis=1)
            slots = np.flatnonzero(is_free)
            if strict is not None:
                slots = slots[~strict.blocks(slots, candidate[slots])]
            kept[slots] = candidate[slots]
        return kept

    def _domains(self, level: Indexes, column: int) -> Indexes:
        """Return the domains that hold each slot in the columns before `column`."""
        return np.append(level, NOBODY)[self.owners[:, :column]]

    def _quota(self, strict: Taken | None) -> Quota:
        if strict is None:
            return Quota.of(fair_shares(self.weights, SLOT_COUNT), self.max_load)
        # A domain cannot hold a second copy of what it holds already, however large its share would be.
        domains = strict.domains[strict.domains >= 0]
        limits = SLOT_COUNT - np.bincount(domains, minlength=int(strict.domain_of.max()) + 1)
        shares = limited_shares(self.weights, SLOT_COUNT, strict.domain_of.tolist(), limits.tolist())
        return Quota.of(shares, self.max_load)

    def _release(self, kept: Indexes, quota: Quota, strict: Taken | None) -> None:
        """Set to -1 what is above a cap and what starved shards need: a giver's slots nearest to the receivers."""
        loads = self._loads(kept)
        targets = after_release(loads, quota, int((kept < 0).sum()))
        surplus = np.array(loads, dtype=np.int64) - np.array(targets, dtype=np.int64)
        if not surplus.any():
            return
        missing = np.array(quota.fair) - np.array(targets)
        is_receiver = (missing > 0) & (surplus == 0)
        if not is_receiver.any():
            is_receiver = missing > 0
        slots = np.flatnonzero(kept >= 0)
        distance = self.ring.distances(is_receiver)[slots]
        if strict is not None:
            distance[strict.blocks_all(slots, is_receiver)] = np.iinfo(np.uint64).max
        goes = rank_within(kept[slots], distance) < surplus[kept[slots]]
        kept[slots[goes]] = NOBODY

    def _loads(self, kept: Indexes) -> list[int]:
        return np.bincount(kept[kept >= 0], minlength=len(self.weights)).tolist()  # type: ignore[no-any-return]


def _place_stragglers(kept: Indexes, room: Indexes, strict: Taken, quota: Quota) -> None:
    """Give every slot that found all room blocked to somebody: by a swap where that helps, else above the cap."""
    waiting = np.flatnonzero(kept < 0)
    rows, kind = np.unique(np.sort(strict.domains[waiting], axis=1), axis=0, return_inverse=True)
    for number in range(len(rows)):
        # Slots with copies in the same domains are alike, so they are placed together.
        slots = _swap_in(waiting[kind.reshape(-1) == number], kept, room, strict)
        shards = np.flatnonzero(np.array(quota.cap) > 0)
        allowed = shards[~np.isin(strict.domain_of[shards], rows[number])].tolist()
        loads = np.bincount(kept[kept >= 0], minlength=len(room)).tolist()
        for slot in slots.tolist():
            lightest = min(allowed, key=lambda shard: (loads[shard] / quota.cap[shard], shard))
            kept[slot] = lightest
            loads[lightest] += 1


def _swap_in(slots: Indexes, kept: Indexes, room: Indexes, strict: Taken) -> Indexes:
    """Move other slots to the shards with room, so that `slots` (all alike) can have their places. Return the rest."""
    for shard in np.flatnonzero(room > 0).tolist():
        if not len(slots):
            break
        placed = np.flatnonzero(kept >= 0)
        placed = placed[~strict.blocks(placed, np.full(len(placed), shard))]
        placed = placed[~np.isin(strict.domain_of[kept[placed]], strict.domains[slots[0]])]
        count = min(len(slots), len(placed), int(room[shard]))
        kept[slots[:count]] = kept[placed[:count]]
        kept[placed[:count]] = shard
        room[shard] -= count
        slots = slots[count:]
    return slots


def _levels(shards: list[PlacedShard], copies: int) -> list[Indexes]:
    """Return the domains to keep copies apart in, the most wished for first; the last one is never given up."""
    weighted = [shard.weight > 0 for shard in shards]
    machines = [shard.machine or f" {shard.id}" for shard in shards]
    # A machine stands in one zone, that of its first shard: what is apart by zone is then apart by machine.
    zone_of = {machine: shard.zone for machine, shard in reversed([*zip(machines, shards, strict=True)])}
    levels = []
    for names in ([zone_of[machine] for machine in machines], machines, [shard.id for shard in shards]):
        numbers = np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)
        count = len(set(numbers[weighted].tolist()))
        if count > 1 or names is not machines:
            levels.append(numbers)
        if names is machines and count >= copies:
            return levels
    return levels


def _vnode_counts(weights: Sequence[int], vnodes_per_shard: int) -> list[int]:
    """Return how many points each shard gets: in proportion to its weight, `vnodes_per_shard` on average."""
    weighted = [weight for weight in weights if weight]
    whole, count = sum(weighted), len(weighted)
    return [max(1, round(vnodes_per_shard * count * weight / whole)) if weight else 0 for weight in weights]


def _in_order(previous: Owners | None, order: list[int], copies: int) -> Indexes:
    """Return `previous` in positions of `order`."""
    if previous is None:
        return np.full((SLOT_COUNT, copies), NOBODY, dtype=np.int64)
    position = np.full(len(order) + 1, NOBODY, dtype=np.int64)
    position[order] = np.arange(len(order))
    result: Indexes = position[previous.astype(np.int64)]
    return result


def _check(
    shards: Sequence[PlacedShard], copies: int, vnodes_per_shard: int, max_load: float, previous: Owners | None
) -> None:
    if len({shard.id for shard in shards}) != len(shards):
        raise ValueError("two shards have the same id")
    if any(shard.weight < 0 for shard in shards):
        raise ValueError("a shard's weight must not be negative")
    if copies < 1 or vnodes_per_shard < 1 or max_load <= 0:
        raise ValueError(f"{copies=}, {vnodes_per_shard=} and {max_load=} must be positive")
    if previous is not None:
        if previous.ndim != 2 or previous.shape[0] != SLOT_COUNT:
            raise ValueError(f"previous must have the shape ({SLOT_COUNT}, copies), not {previous.shape}")
        if int(previous.min()) < NOBODY or int(previous.max()) >= len(shards):
            raise ValueError("previous names a shard that is not there")
