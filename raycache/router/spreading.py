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
    there = [record for record in state.shards.values() if record.node_id and record.phase is not Phase.WANTED]
    counts = Counter(record.machine for record in there)
    empty = {node.machine for node in state.nodes.values() if node.takes_shards} - counts.keys()
    if not empty or max(counts.values(), default=0) < 2:  # this is asked at every step, of clusters of any size
        return
    crowded = [one for one in there if counts[one.machine] > 1 and not one.gives_away and not one.is_leaving]
    for record in crowded:
        if record.is_up and record.is_blank and record.is_member and _belongs_in(state, record, empty):
            state.note("change", f"{record.id} is made anew on another machine than {record.machine}, which has others")
            record.enter(Phase.REMOVING, now_s)
            return
    if state.change is not None or now_s - state.unrest_at_s < state.patience.spread_wait_s or not is_settled(state):
        return
    # The loss of its machine would take both copies of a slot, or half of the votes.
    at_risk = [one for one in crowded if state.shared_slots or 2 * counts[one.machine] >= len(state.shards)]
    if at_risk and _belongs_in(state, at_risk[-1], empty):
        record = at_risk[-1]
        text = f"move of {record.id} away from {record.machine}, which has others"
        state.change = Change(text, now_s, True, state.config.shards, state.draining)
        state.note("change", text)
        upgrading.begin(state, [record.id])


def _belongs_in(state: RouterState, record: ShardRecord, empty: set[str]) -> bool:
    """Say whether a shard would be placed on one of the empty machines, were it not there."""
    best = best_place(state, record)
    return best is not None and best.machine in empty
