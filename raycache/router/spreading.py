"""Shards that stand together on a machine while another one has none: they are moved apart.

What lives here: when that is so. What does not: where a shard should be (`placing`), and moving it (`upgrading`, of
that one shard). Ray starts a lost machine's shard again where it likes; it knows the nodes that there were when the
shard was made, and a machine that comes back is another node. Left so, the next loss takes two shards at once: copies,
and votes. A full shard moves only for that: where others would still be a majority, a node that joins for some other
work is no reason to carry gigabytes there.
"""

from __future__ import annotations

from collections import Counter

from raycache.router import upgrading
from raycache.router.changes import Change
from raycache.router.lifecycle import best_place
from raycache.router.records import Phase, ShardRecord
from raycache.router.state import RouterState
from raycache.router.status import is_settled


def spread(state: RouterState, now_s: float) -> None:
    """Have one crowded shard be elsewhere: an empty one is made anew there, a full one is moved once all is quiet."""
    if state.config.copies == 1 or state.upgrading:
        return
    crowded = _crowded(state)
    for record in crowded:
        if record.is_up and record.is_blank and record.is_member:
            state.note("change", f"{record.id} is made anew on another machine than {record.machine}, which has others")
            record.enter(Phase.REMOVING, now_s)
            return
    if not crowded or state.change is not None or now_s - state.unrest_at_s < state.patience.spread_wait_s:
        return
    if is_settled(state) and (risky := [record for record in crowded if _is_at_risk(state, record)]):
        record = risky[-1]
        text = f"move of {record.id} away from {record.machine}, which has others"
        state.change = Change(text, now_s, True, state.config.shards, state.draining)
        state.note("change", text)
        upgrading.begin(state, [record.id])


def _is_at_risk(state: RouterState, record: ShardRecord) -> bool:
    """Say whether the loss of a shard's machine would take both copies of a slot, or half of the votes."""
    together = sum(other.machine == record.machine for other in state.shards.values())
    return bool(state.shared_slots) or 2 * together >= len(state.shards)


def _crowded(state: RouterState) -> list[ShardRecord]:
    """Return the shards that share a machine, and would be placed on one without any."""
    there = [record for record in state.shards.values() if record.node_id and record.phase is not Phase.WANTED]
    counts = Counter(record.machine for record in there)
    if max(counts.values(), default=0) < 2:
        return []
    found = []
    for record in there:
        if counts[record.machine] > 1 and not record.gives_away and not record.is_leaving:
            best = best_place(state, record)
            if best is not None and not counts[best.machine]:
                found.append(record)
    return found
