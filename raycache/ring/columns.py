"""The order of a slot's owners: who comes first, without anybody's data moving to a new shard.

What lives here: pure functions on slot tables that only permute rows, and two questions about a table. What does not:
choosing the owners (`raycache.ring.placement`), and who may lead at the moment (`raycache.router`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from raycache.ring.hashring import NOBODY
from raycache.ring.quota import fair_shares
from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import Owners

Mask = npt.NDArray[np.bool_]

TOLERANCE: Final = 1 / 64
"""So far above its fair share of primaries a shard may stay: half of what the ring's bounded load allows."""


def compacted(owners: Owners, copies: int) -> Owners:
    """Return the table with `copies` columns, each row's owners to the left and nobody to the right."""
    order = np.argsort(owners < 0, axis=1, kind="stable")
    rows = np.take_along_axis(owners, order, axis=1)[:, :copies]
    missing = copies - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, missing)), constant_values=NOBODY) if missing > 0 else rows


def led_by(owners: Owners, slots: npt.NDArray[np.int64], column: npt.NDArray[np.int64], is_lost: Mask) -> Owners:
    """Return the table in which each of `slots` is led by the owner that stands in `column`, and lost ones come last.

    Args:
        column: one for each of `slots`.
        is_lost: for each shard whether it goes to the end of the row.
    """
    rows = owners[slots]
    rank = np.where(np.append(is_lost, True)[rows], 2, 1)
    rank[rows < 0] = 3
    rank[np.arange(len(slots)), column] = 0
    result = owners.copy()
    result[slots] = np.take_along_axis(rows, np.argsort(rank, axis=1, kind="stable"), axis=1)
    return result


def evened(
    owners: Owners, weights: Sequence[int], *, may_lead: Mask | None = None, limit: int = SLOT_COUNT,
    tolerance: float = TOLERANCE,
) -> Owners:
    """Return the table with its primaries spread by weight as evenly as swaps of a primary with a replica allow.

    Args:
        may_lead: shape of `owners`; which of them may become primary. None: all.
        limit: swap so many slots at most.
        tolerance: where no shard is further above its share than this part of it, nothing is swapped.
    """
    primaries = owners[:, 0]
    loads = np.bincount(primaries[primaries >= 0], minlength=len(weights)).astype(np.float64)
    fair = np.array(fair_shares(weights, int(loads.sum())))
    most = np.where(fair > 0, fair + np.maximum(1.0, fair * tolerance), 0.0)
    if (loads <= most).all():
        return owners
    result = owners.copy()
    allowed = owners >= 0 if may_lead is None else may_lead & (owners >= 0)
    # Each round fills or empties a shard or uses up a pair, so a few times their number is plenty.
    for _ in range(8 * len(weights)):
        pairs = _pairs(result, allowed, len(weights))
        path = _path(pairs, loads - fair, loads > most)
        if path is None or limit < len(path) - 1:
            break
        giver, taker = path[0], path[-1]
        gain = loads[giver] - fair[giver] - loads[taker] + fair[taker]
        wanted = max(1, int(gain // 2)) if fair[giver] else int(loads[giver])
        steps = list(pairwise(path))
        count = min(wanted, limit // len(steps), *(len(pairs[step]) for step in steps))
        for step in steps:
            _swap(result, allowed, pairs[step][:count], step[1])
        loads[giver] -= count
        loads[taker] += count
        limit -= count * len(steps)
    return result


def _pairs(owners: Owners, allowed: Mask, shards: int) -> dict[tuple[int, int], npt.NDArray[np.int64]]:
    """Return for every pair (primary, replica that may lead), ascending, the slots that they could swap."""
    slots, columns = np.nonzero(allowed[:, 1:] & (owners[:, :1] >= 0))
    keys = owners[slots, 0].astype(np.int64) * shards + owners[slots, columns + 1]
    order = np.lexsort((slots, keys))
    found, starts = np.unique(keys[order], return_index=True)
    groups = np.split(slots[order], starts[1:]) if len(found) else []
    return {divmod(key, shards): group for key, group in zip(found.tolist(), groups, strict=True)}


def _path(
    pairs: Iterable[tuple[int, int]], excess: npt.NDArray[np.float64], is_above: Mask
) -> tuple[int, ...] | None:
    """Return the shortest way over `pairs` from a shard that leads too much to one that leads clearly less."""
    ways: dict[int, list[int]] = {}
    for giver, taker in pairs:
        ways.setdefault(giver, []).append(taker)
    for source in np.flatnonzero(is_above)[np.argsort(-excess[is_above], kind="stable")].tolist():
        seen, level = {source}, cast(list[tuple[int, ...]], [(source,)])
        while level:
            level = [(*path, step) for path in level for step in ways.get(path[-1], ()) if step not in seen]
            level = list({path[-1]: path for path in reversed(level)}.values())
            seen.update(path[-1] for path in level)
            best = min(level, key=lambda path: (excess[path[-1]], path[-1]), default=None)
            if best is not None and excess[best[-1]] <= excess[source] - 2:
                return best
    return None


def _swap(owners: Owners, allowed: Mask, slots: npt.NDArray[np.int64], leader: int) -> None:
    """Let `leader`, a replica of each of `slots`, change places with their primaries."""
    column = (owners[slots] == leader).argmax(axis=1)
    for table in (owners, allowed):
        table[slots, column], table[slots, 0] = table[slots, 0], table[slots, column]


def leveled(owners: Owners, shards: int, max_load: float) -> Owners:
    """Return the table with each shard's slots spread over all columns: what a dealer of columns should start from.

    A failover leaves the columns uneven, though the owners are not: dealing from that would move data for nothing.
    Where every column keeps bounded load anyhow, nothing changes.
    """
    held = np.bincount(owners[owners >= 0], minlength=shards)
    fair = held / max(1, owners.shape[1])
    loads = [np.bincount(column[column >= 0], minlength=shards) for column in owners.T]
    if all((load <= np.ceil(fair * (1 + max_load))).all() for load in loads):
        return owners
    result = owners.copy()
    for column in range(owners.shape[1] - 1):
        result[:, column:] = evened(result[:, column:], held.tolist(), tolerance=0.0)
    return result


def in_order_of(owners: Owners, old: Owners) -> Owners:
    """Return the table in which rows with the same owners as in `old` have the order that they have there."""
    is_same = (np.sort(owners, axis=1) == np.sort(old, axis=1)).all(axis=1)
    return np.where(is_same[:, None], old, owners)


def sharing(owners: Owners, machines: Sequence[str]) -> int:
    """Return how many slots have two of their copies on one machine; "" is a machine of its own."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(machines))}
    of_shard = np.array([numbers[name] if name else -2 - at for at, name in enumerate(machines)], dtype=np.int64)
    places = np.append(of_shard, -1)[owners]
    places = np.sort(np.where(owners < 0, -2 - len(machines) - np.arange(owners.shape[1]), places), axis=1)
    return int((places[:, 1:] == places[:, :-1]).any(axis=1).sum())
