"""How a restarted router continues: from the newest topology that anybody holds, and the actors that exist.

What lives here: the take-over. What does not: waiting for the reports (`RouterState.is_recovering`).
"""

from __future__ import annotations

from dataclasses import replace

from raycache.ring.topology import Topology
from raycache.router.records import Phase, ShardRecord
from raycache.router.state import RouterState
from raycache.router.upgrading import go_on


def take_over(state: RouterState, now_s: float) -> None:
    """Adopt what the reports have shown, when the wait is over; or later, if only then somebody shows a topology,
    or a newer one, before this router is in office."""
    newest = state.best_seen
    if newest is not None and (state.topology.epoch == 0 or (
            not state.is_elected and newest.epoch > state.topology.epoch)):
        _adopt(state, newest, now_s)
    elif not state.is_recovered:
        # Nobody holds a table (all were restarted, or none was dealt yet), but these actors were wanted once.
        _want_at_least(state, state.config.shards)
    # Who is late is late: from here on a report is one like any other.
    state.awaited.clear()
    state.is_recovered = True


def _adopt(state: RouterState, newest: Topology, now_s: float) -> None:
    for known in state.shards.values():
        known.is_member = False
    for info in newest.shards:
        member = ShardRecord.from_info(info, newest.draining)
        record = state.shards.get(member.index)
        if record is None:
            # Its actor does not exist any more.
            member.forget_process()
            member.enter(Phase.WANTED, now_s)
            state.shards[member.index] = member
        elif record.phase in (Phase.STARTING, Phase.DOWN):
            # The actor exists but has not answered.
            member.failure, member.is_dead, member.granted_term = record.failure, record.is_dead, record.granted_term
            member.enter(Phase.DOWN, now_s)
            state.shards[member.index] = member
        else:
            record.is_member, record.is_leaving, record.is_emptying = True, member.is_leaving, member.is_emptying
            record.is_blank = record.incarnation != info.incarnation
            record.is_stale = info.state == "down" and not record.is_blank
    state.topology, state.must_publish = newest, True
    state.draining = tuple(dict.fromkeys((*newest.draining, *state.draining)))
    state.electorate = frozenset(info.id for info in newest.shards if info.state != "down")
    _want_at_least(state, 1)
    if not state.is_scaled:
        go_on(state, newest.upgrading)


def _want_at_least(state: RouterState, shards: int) -> None:
    """Want what the router before wanted: members that were not leaving, and actors that were not dealt in yet."""
    if state.is_scaled:
        return
    staying = [record.index for record in state.shards.values() if not record.is_leaving]
    state.config = replace(state.config, shards=max([shards, *(index + 1 for index in staying)]))
