"""What the next topology says of slots: the rules, in their order.

What lives here: the order, and when it is worth going through. What does not: each rule (`promoting`, `transferring`,
`raycache.ring`).

A failover comes first and is never held up by a move: dealing and evening run only in steps without one, and while
nothing is on its way.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from raycache.ring.columns import evened, in_order_of
from raycache.ring.plan import dealt
from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import ShardInfo
from raycache.router.draft import Draft
from raycache.router.promoting import applied_offsets, not_heard_since, promote
from raycache.router.state import RouterState
from raycache.router.transferring import refill, replace_givers, shift


def is_due(state: RouterState, shards: tuple[ShardInfo, ...], now_s: float) -> bool:
    """Say whether the rules could find anything to do, though the shards are the same."""
    if state.is_dirty or _finished(state):
        return True
    return not state.topology.transfers and (_must_deal(state, shards, now_s) or _must_even(state, shards, now_s))


def decide(state: RouterState, draft: Draft, shards: tuple[ShardInfo, ...], now_s: float) -> None:
    """Bring the draft's slots up to date with what was observed."""
    finished = _finished(state)
    draft.flows = [flow for flow in draft.flows if flow.id not in finished]
    lost_slots = replace_givers(draft)
    if lost_slots:
        state.note("transfer", f"the giver of {lost_slots} slots is lost, and nobody else has them")
    waiting = not_heard_since(state, draft, now_s)
    promoted = promote(draft, partial(applied_offsets, state, draft), waiting)
    for (lost, leader), count in promoted.items():
        state.note("failover", f"{draft.ids[leader]} leads {count} slots of {draft.ids[lost]}")
    refill(draft)
    _settle_returns(state)
    draft.drop_unowned()
    state.is_dirty = bool(waiting or promoted)
    is_orphaned = bool((draft.owners < 0).all(axis=1).any())
    # Who leads comes first, and nothing moves to or from a shard that may be lost.
    is_unsure = any(record.suspected_at_s is not None for record in state.members() if record.is_up)
    is_calm = not (draft.flows or promoted or waiting or is_unsure)
    if is_orphaned or (is_calm and _must_deal(state, shards, now_s)):
        _deal(state, draft, shards, now_s)
    if is_calm and not draft.flows and _must_even(state, shards, now_s):
        _even(state, draft, shards, now_s)


def _finished(state: RouterState) -> set[str]:
    """Return the transfers that their receivers call done."""
    by_id = state.by_id()
    found = set()
    for one in state.topology.transfers:
        record = by_id.get(one.receiver)
        if record is not None and record.is_up and record.pong is not None and record.pong.has_received(one.id):
            found.add(one.id)
    return found


def _settle_returns(state: RouterState) -> None:
    """From here on the draft's transfers say what the shards that are back lack."""
    for record in state.members():
        if record.is_up:
            record.is_blank = record.is_stale = False


# Where slots belong


def _deal(state: RouterState, draft: Draft, shards: tuple[ShardInfo, ...], now_s: float) -> None:
    """Move slots towards where they belong now."""
    config = state.config
    before = replace(state.topology, shards=shards, owners=draft.owners, transfers=())
    table = dealt(shards, before, copies=config.copies, vnodes_per_shard=config.vnodes_per_shard,
                  max_load=config.max_load)
    awaited = _awaited(state, now_s)
    state.slots_waiting = shift(draft, in_order_of(table, draft.owners), _moved_at_once(state),
                                np.array([shard_id in awaited for shard_id in draft.ids], dtype=np.bool_))
    state.dealt_for = None if state.slots_waiting else placement(shards)
    state.tried["deal"] = _situation(state, shards, now_s)


def _awaited(state: RouterState, now_s: float) -> tuple[str, ...]:
    """Return the shards that are silent and may be back shortly with all they had."""
    return tuple(one.id for one in state.members() if not (one.is_up or one.is_dead or one.is_blank)
                 and now_s - one.lost_at_s < state.patience.return_wait_s)


def _moved_at_once(state: RouterState) -> int:
    """Return how many slots one turn of a change moves."""
    patience = state.patience
    entries = sum(one.pong.entries for one in state.members() if one.pong is not None) // state.config.copies
    by_entries = max(patience.least_moved_at_once, SLOT_COUNT * patience.entries_moved_at_once // max(1, entries))
    return min(patience.slots_moved_at_once, by_entries)


def _must_deal(state: RouterState, shards: tuple[ShardInfo, ...], now_s: float) -> bool:
    if state.dealt_for == placement(shards):
        return False
    return state.tried.get("deal") != _situation(state, shards, now_s)


def placement(shards: tuple[ShardInfo, ...]) -> list[tuple[str, str, str, int]]:
    """Return what of shards says where slots belong."""
    return [(shard.id, shard.machine, shard.zone, shard.weight) for shard in shards]


def _even(state: RouterState, draft: Draft, shards: tuple[ShardInfo, ...], now_s: float) -> None:
    """Let some replicas lead, so that primaries are spread evenly."""
    weights = [shard.weight if is_alive else 0 for shard, is_alive in zip(shards, draft.is_alive.tolist(), strict=True)]
    limit = state.patience.slots_swapped_at_once
    wanted = evened(draft.owners, weights, may_lead=draft.complete(), limit=limit)
    if not np.array_equal(wanted, draft.owners):
        shift(draft, wanted, limit)
    state.tried["even"] = _situation(state, shards, now_s)


def _must_even(state: RouterState, shards: tuple[ShardInfo, ...], now_s: float) -> bool:
    if state.config.copies == 1 or now_s - state.unrest_at_s < state.patience.even_wait_s:
        return False
    return state.tried.get("even") != _situation(state, shards, now_s)


def _situation(state: RouterState, shards: tuple[ShardInfo, ...], now_s: float) -> object:
    """Return what must be other before trying once more is worth it."""
    return (state.topology.epoch, tuple((shard.id, shard.state, shard.weight) for shard in shards),
            _awaited(state, now_s))
