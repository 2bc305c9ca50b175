"""Votes: may this router act, and may it take a silent shard for lost?

What lives here: counting. What does not: pings (the shell sends them) and what follows (`promoting`, `publishing`).

Two routers can never both act: a router makes epochs only after most shards have granted its term, and each grants the
highest that it has seen. And a shard that is silent to the router but serves others is not replaced: the router must
hear so many shards that the silent one cannot have a lease (`raycache.replication.lease` counts the same way): each
shard one vote, the router half of one. Only shards that are dead for certain do not count.

Whose votes count changes with the topology, and so only when most of those who counted before hold the new one: else
the router could shrink the electorate step by step on its side of a cut, and the other side still find a majority by
the old count.
"""

from __future__ import annotations

from typing import Final

from raycache.router.records import Phase, ShardRecord
from raycache.router.state import RouterState

ROUTER_VOTE: Final = 0.5


def voters(state: RouterState) -> list[ShardRecord]:
    """Return the shards whose votes count."""
    found = [record for record in state.shards.values() if record.id in state.electorate and not record.is_dead]
    if state.config.copies == 1:
        # Nobody takes over from a silent shard, so there is nothing to be careful about.
        found = [record for record in found if record.phase is not Phase.DOWN]
    return found


def is_heard(record: ShardRecord) -> bool:
    """Return whether a shard answers the router."""
    return record.phase in (Phase.UP, Phase.REMOVING) and record.suspected_at_s is None and not record.is_dead


def has_majority(state: RouterState) -> bool:
    """Return whether the router hears so many shards that those it does not hear cannot outvote it."""
    all_votes = voters(state)
    heard = sum(is_heard(record) for record in all_votes)
    return not all_votes or heard + ROUTER_VOTE > (len(all_votes) + ROUTER_VOTE) / 2


def is_outvoted(state: RouterState) -> bool:
    """Return whether a shard has granted the term of a newer router."""
    return state.highest_term > state.term


def may_act(state: RouterState) -> bool:
    """Return whether this router may make another epoch."""
    return state.is_elected and not is_outvoted(state) and has_majority(state)


def misses_router(state: RouterState, now_s: float) -> bool:
    """Return whether most shards, dead ones counted, have said lately that no router has asked them for too long."""
    if state.best_seen is None:
        return False
    patience_s = state.patience.router_silence_s
    by_id = state.by_id()
    known = [by_id.get(shard.id) for shard in state.best_seen.shards if shard.state != "down"]
    missing = [record is not None and record.pong is not None and record.pong.router_silence_s >= patience_s
               and now_s - record.pong_at_s < patience_s for record in known]
    return 2 * sum(missing) > len(missing)


def count_grants(state: RouterState, now_s: float) -> None:
    """Take office once more than half of the shards have granted this router's term, and their newest topology is seen.
    """
    if state.is_elected or state.awaited:
        return
    newest = max((one.pong.epoch for one in state.shards.values() if one.pong is not None), default=0)
    if newest > state.topology.epoch and now_s - state.started_at_s < 2 * state.patience.recovery_wait_s:
        return
    known = voters(state) if state.electorate else [one for one in state.shards.values() if not one.is_dead]
    granted = sum(record.granted_term == state.term for record in known)
    if 2 * granted > len(known) or not known:
        state.is_elected = state.is_dirty = True
        state.note("router", f"{granted} of {len(known)} shards granted term {state.term}")


def follow_topology(state: RouterState) -> None:
    """Let the newest topology say whose votes count, as soon as most of those who counted before hold it."""
    topology = state.topology
    newest = frozenset(shard.id for shard in topology.shards if shard.state != "down")
    if newest == state.electorate or not topology.epoch:
        return
    before = voters(state)
    held = [record.delivery is not None and record.delivery.held_epoch >= topology.epoch for record in before]
    if 2 * sum(held) > len(held) or not held:
        state.electorate = newest


def confirm_losses(state: RouterState, now_s: float) -> None:
    """Take silent shards for lost, where nobody else hears them and the others are a majority."""
    for record in state.shards.values():
        if record.phase is not Phase.UP or record.suspected_at_s is None:
            continue
        if _is_heard_by_others(state, record, now_s):
            continue
        if state.config.copies == 1 or has_majority(state):
            record.enter(Phase.DOWN, now_s)
            state.is_dirty, state.unrest_at_s = True, now_s
            state.note("lost", f"{record.id} is silent")


def _is_heard_by_others(state: RouterState, record: ShardRecord, now_s: float) -> bool:
    suspect_s = state.patience.suspect_s
    for other in state.shards.values():
        if other is record or not is_heard(other) or other.pong is None or record.id not in other.pong.silent:
            continue
        silence_s = other.pong.silent[record.id]
        # It was silent that long when the other said so. Heartbeats are far more frequent than half of this limit, so
        # a silence that had lasted half of it then may be taken to have gone on since.
        if silence_s < suspect_s / 2 or silence_s + now_s - other.pong_at_s < suspect_s:
            return True
    return False
