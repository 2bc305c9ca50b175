"""What the router takes in about shards: registrations, answers, silence, death.

What lives here: how each observation changes a shard's record. What does not: what follows (`deciding`, `lifecycle`),
and gateways and nodes, which are simple enough to stand in `core`.
"""

from __future__ import annotations

from raycache.router.lifecycle import lose
from raycache.router.messages import Pong, ShardReport, index_of
from raycache.router.records import Delivery, Phase, ShardRecord
from raycache.router.state import RouterState
from raycache.router.upgrading import replaced


def reported(state: RouterState, report: ShardReport, now_s: float) -> bool:
    """Take in what a shard says of itself; return False where that counts for nothing."""
    index = index_of(report.shard_id)
    held_epoch = state.seen(f"shard {report.shard_id}", report.topology)
    state.awaited.discard(report.shard_id)
    state.highest_term = max(state.highest_term, report.granted_term)
    record = state.shards.get(index)
    if record is None:
        record = state.shards[index] = ShardRecord(index, Phase.STARTING, now_s)
        if index >= state.config.shards and state.topology.epoch:
            # Scaled away, and its end was ordered; somehow it lives.
            record.enter(Phase.REMOVING, now_s)
    if record.phase is Phase.REMOVING or _is_outdated(record, report.incarnation):
        return False
    record.failure = report.failure
    if report.failure:
        # It lives and keeps trying: its deadline begins anew.
        record.since_s = now_s
        return True
    record.host, record.port, record.node_id = report.host, report.port, report.node_id
    state.locate(record)
    _appear(state, record, report.incarnation, held_epoch, now_s)
    return True


def _is_outdated(record: ShardRecord, incarnation: int) -> bool:
    """Say whether a process is older than the one that answers. Where none answers, a lower incarnation is a later
    process: its machine's clock was set back."""
    return incarnation < record.incarnation and record.is_up and record.suspected_at_s is None


def ponged(state: RouterState, shard_id: str, pong: Pong, now_s: float) -> None:
    """Take in a shard's answer to a ping."""
    state.highest_term = max(state.highest_term, pong.granted_term)
    record = state.shards.get(index_of(shard_id))
    if record is None or _is_outdated(record, pong.incarnation):
        return
    if record.incarnation < 0 and not _is_known_from_before(state, record, pong):
        record.granted_term = pong.granted_term
        return
    if state.is_node_dead(record.node_id):
        return  # Ray starts it anew elsewhere: what still answers there is about to be ended
    if pong.incarnation != record.incarnation and not state.config.port:
        return  # the system may have given its old port to another shard; who it is, its registration says
    if record.phase is Phase.DOWN or pong.incarnation != record.incarnation:
        _appear(state, record, pong.incarnation, pong.epoch, now_s)
    record.pong, record.pong_at_s, record.granted_term = pong, now_s, pong.granted_term
    record.suspected_at_s, record.is_dead = None, False
    if record.delivery is not None:
        record.delivery.held_epoch = max(record.delivery.held_epoch, pong.epoch)
    if pong.epoch > state.topology.epoch:
        state.epoch_floor, state.must_publish = max(state.epoch_floor, pong.epoch), True


def _is_known_from_before(state: RouterState, record: ShardRecord, pong: Pong) -> bool:
    """Say whether a restarted router learns from this answer what a report would tell: it is the process that the
    newest topology names."""
    if record.id not in state.awaited or state.best_seen is None:
        return False
    info = next((shard for shard in state.best_seen.shards if shard.id == record.id), None)
    if info is None or info.incarnation != pong.incarnation or pong.epoch > state.best_seen.epoch:
        return False
    state.awaited.discard(record.id)
    record.host, record.port, record.node_id, record.incarnation = info.host, info.port, info.node_id, pong.incarnation
    state.locate(record)
    _appear(state, record, pong.incarnation, pong.epoch, state.now_s)
    return True


def _appear(state: RouterState, record: ShardRecord, incarnation: int, held_epoch: int, now_s: float) -> None:
    """Note that this process of a shard is up."""
    is_new = incarnation != record.incarnation
    is_return = is_new or record.phase is not Phase.UP
    if record.is_member and is_return:
        record.is_blank = is_new or record.is_blank
        record.is_stale = not record.is_blank
        state.note("back", f"{record.id} is back, {'a new process' if is_new else 'as it was'}")
    if is_new:
        record.pong = None
    record.incarnation, record.is_dead, record.suspected_at_s = incarnation, False, None
    record.delivery = Delivery(held_epoch)
    if is_return:
        state.is_dirty, state.unrest_at_s = True, now_s
    if record.phase is not Phase.UP:
        record.enter(Phase.UP, now_s)


def fell_silent(state: RouterState, shard_id: str, incarnation: int, now_s: float) -> None:
    """Take in that this process of a shard has not answered for too long. Whether it is lost, votes say."""
    record = state.shards.get(index_of(shard_id))
    if record is not None and record.incarnation == incarnation and record.suspected_at_s is None:
        record.suspected_at_s = now_s


def refused(state: RouterState, shard_id: str, incarnation: int, now_s: float) -> None:
    """Take in that this process of a shard is gone for certain."""
    record = state.shards.get(index_of(shard_id))
    if record is None:
        return
    is_awaited = shard_id in state.awaited and record.incarnation < 0
    if record.incarnation == incarnation or is_awaited:
        state.awaited.discard(shard_id)
        lose(state, record, now_s, f"{record.id} is gone")


def removed(state: RouterState, shard_id: str, now_s: float) -> None:
    """Take in that a shard's actor exists no more, on our order or not."""
    index = index_of(shard_id)
    state.awaited.discard(shard_id)
    record = state.shards.get(index)
    if record is None:
        return
    record.forget_process()
    record.is_member = record.is_member and not record.is_drained
    record.is_drained = False
    replaced(state, record)
    record.enter(Phase.WANTED, now_s)
    state.is_dirty = True
    if index >= state.config.shards:
        del state.shards[index]
