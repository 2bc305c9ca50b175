"""Failover: which of a lost primary's replicas leads its slots now.

What lives here: the choice, slot by slot, over a `Draft`. What does not: finding out that a shard is lost (`voting`),
and filling it again when it is back (`transferring`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt

from raycache.ring.columns import led_by
from raycache.router.draft import Draft
from raycache.router.state import RouterState

Offsets = npt.NDArray[np.int64]
_STANDING = 1 << 60


def promote(draft: Draft, applied: Callable[[int], Offsets], waiting: Collection[int]) -> Counter[tuple[int, int]]:
    """Let replicas lead where the primary is lost; return how many slots went from whom to whom.

    Those come first that have most of the slot (`Draft.standing`), then those that have applied most of what the lost
    one sent. A primary that is up but lacks something is lost in this sense, too, if somebody up has more of its slots:
    one that was only cut off stands in for a new and empty process. One that nobody can stand in for stays.

    Args:
        applied: for the index of a lost shard, how far each shard has applied its stream; -1 = not known.
        waiting: lost shards whose replicas have not all said yet how far they are: nobody leads for these now.
    """
    is_lost = ~draft.is_alive | draft.is_behind
    standing, alive = draft.standing(), draft.of_owners(draft.is_alive)
    promoted: Counter[tuple[int, int]] = Counter()
    for lost in np.flatnonzero(is_lost).tolist():
        if lost in waiting:
            continue
        may_lead = alive & (standing > standing[:, :1]) if draft.is_alive[lost] else alive
        rows = np.flatnonzero((draft.owners[:, 0] == lost) & may_lead[:, 1:].any(axis=1))
        if not len(rows):
            continue
        width = draft.owners.shape[1]
        # By rank: versions fill 63 bits, and there must be room for the columns and for standing above them.
        ranks = np.unique(applied(lost), return_inverse=True)[1].reshape(-1)
        score = np.append(ranks, -1)[draft.owners[rows]] * (width + 1)
        score += np.arange(width, 0, -1) + standing[rows] * _STANDING
        score[~may_lead[rows]] = np.iinfo(np.int64).min
        score[:, 0] = np.iinfo(np.int64).min
        best = score.argmax(axis=1)
        leaders = draft.owners[rows, best]
        draft.owners = led_by(draft.owners, rows, best, is_lost)
        for leader, count in zip(*np.unique(leaders, return_counts=True), strict=True):
            promoted[lost, int(leader)] += int(count)
        # The rows have another order now.
        standing, alive = draft.standing(), draft.of_owners(draft.is_alive)
    return promoted


def applied_offsets(state: RouterState, draft: Draft, lost: int) -> Offsets:
    """Return how far each shard of the draft has applied the stream of `lost`, by its newest report."""
    by_id = {record.id: record for record in state.shards.values()}
    found = []
    for shard_id in draft.ids:
        pong = by_id[shard_id].pong
        found.append(-1 if pong is None else pong.applied.get(draft.ids[lost], -1))
    return np.array(found, dtype=np.int64)


def not_heard_since(state: RouterState, draft: Draft, now_s: float) -> set[int]:
    """Return the lost shards for whom another moment's wait may find a better replica.

    With one living candidate there is nothing to choose. With several, what they said before the loss is too old.
    """
    if draft.owners.shape[1] < 3:
        return set()
    by_id = {record.id: record for record in state.shards.values()}
    waiting = set()
    for lost in np.flatnonzero(~draft.is_alive).tolist():
        lost_at_s = by_id[draft.ids[lost]].lost_at_s
        if now_s - lost_at_s >= state.patience.fresh_wait_s:
            continue
        others = np.unique(draft.owners[draft.owners[:, 0] == lost, 1:])
        candidates = [by_id[draft.ids[index]] for index in others.tolist() if index >= 0 and draft.is_alive[index]]
        if len(candidates) > 1 and any(one.pong_at_s <= lost_at_s for one in candidates):
            waiting.add(lost)
    return waiting
