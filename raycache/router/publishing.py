"""Making new topologies, and bringing them to everybody.

What lives here: when there is a new epoch, what stands in it, and who must still be told. What does not: what it says
of slots (`deciding`) and sending anything (the shell does).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from raycache.ring.columns import sharing
from raycache.ring.topology import GatewayInfo, ShardInfo, Topology
from raycache.router.changes import Change
from raycache.router.deciding import decide, is_due
from raycache.router.draft import Draft
from raycache.router.messages import Action, PushTopology
from raycache.router.records import Delivery, Phase, ShardRecord
from raycache.router.state import RouterState
from raycache.router.voting import may_act


def publish(state: RouterState, now_s: float) -> None:
    """Make the next epoch if what it would say differs from the last one."""
    _let_join(state, now_s)
    if not may_act(state):
        return
    shards = _shard_infos(state)
    gateways = tuple(record.info for _, record in sorted(state.gateways.items()) if record.info is not None)
    old = state.topology
    said = (old.shards, old.gateways, old.draining, old.upgrading)
    is_news = (shards, gateways, state.draining, state.upgrading) != said or state.must_publish
    if shards and (is_news or is_due(state, shards, now_s)):
        _make_next(state, shards, gateways, now_s, is_news=is_news)

def _make_next(state: RouterState, shards: tuple[ShardInfo, ...], gateways: tuple[GatewayInfo, ...], now_s: float, *,
               is_news: bool) -> None:
    old = state.topology
    draft = Draft(old, shards, state.by_id(), state.config.copies, max(old.epoch, state.epoch_floor) + 1)
    decide(state, draft, shards, now_s)
    if not is_news and not draft.is_news:
        return
    state.topology = Topology(old.cluster, draft.epoch, shards, draft.owners, gateways, draft.transfers(), state.term,
                              state.config.replication, state.draining, state.upgrading)
    state.must_publish = False
    state.shared_slots = sharing(draft.owners, [shard.machine for shard in shards])
    _note_transfers(state, old)
    note_leavers(state, now_s)


def _note_transfers(state: RouterState, old: Topology) -> None:
    """Count what has ended and say what begins."""
    topology = state.topology
    before, after = {one.id: one for one in old.transfers}, {one.id: one for one in topology.transfers}
    if after and state.change is None:
        state.change = Change("repair", state.now_s)
    for transfer in (one for transfer_id, one in before.items() if transfer_id not in after):
        receiver = state.by_id().get(transfer.receiver)
        arrival = receiver.pong.arrivals.get(transfer.id, {}) if receiver is not None and receiver.pong else {}
        count = len(transfer.slot_array())
        if state.change is not None:
            state.change.add(count, arrival)
        how = "done" if arrival.get("state") == "done" else "given up"
        state.note("transfer", f"{count} slots from {transfer.giver} to {transfer.receiver}: {how}")


def note_leavers(state: RouterState, now_s: float) -> None:
    """Note since when those who are to go have nothing any more; a drained shard had nothing before it was to go."""
    topology = state.topology
    for record in state.members():
        is_needed = not record.gives_away or not _has_heir(state) or any(
            record.id in (one.giver, one.receiver) for one in topology.transfers) or len(
            topology.slots_owned(record.id)) > 0
        if is_needed:
            record.left_epoch = 0
        elif not record.left_epoch:
            record.left_epoch, record.left_at_s = topology.epoch, now_s


def _let_join(state: RouterState, now_s: float) -> None:
    """Deal newcomers in, together, unless one more is expected shortly. Nobody gets slots before it has registered."""
    newcomers = [record for record in state.shards.values() if not record.is_member and not record.is_leaving]
    if any(_is_expected(state, record, now_s) for record in newcomers):
        return
    for record in newcomers:
        record.is_member = record.phase is Phase.UP


def _is_expected(state: RouterState, record: ShardRecord, now_s: float) -> bool:
    is_on_its_way = record.phase is Phase.STARTING and not record.failure
    return is_on_its_way and now_s - record.since_s < state.patience.join_wait_s


def _shard_infos(state: RouterState) -> tuple[ShardInfo, ...]:
    members = [state.shards[index] for index in sorted(state.shards) if state.shards[index].is_member]
    weight = state.config.memory_per_shard_bytes
    if not _has_heir(state):
        return tuple(replace(record.info(weight), weight=weight) for record in members)
    return tuple(record.info(weight) for record in members)


def _has_heir(state: RouterState) -> bool:
    """Say whether somebody stays who could serve: nobody gives its slots away before that."""
    return any(record.is_member and not record.gives_away for record in state.shards.values())


def push(state: RouterState, now_s: float) -> Iterator[Action]:
    """Send the newest topology to whoever is up and does not hold it, and is not just being told."""
    epoch, retry_s = state.topology.epoch, state.patience.retry_s
    if not epoch:
        return
    shards = {record.id: record.delivery for _, record in sorted(state.shards.items()) if record.phase is Phase.UP}
    gateways = {node_id: record.delivery for node_id, record in sorted(state.gateways.items())}
    due_shards = _mark_due(shards, epoch, now_s, retry_s)
    due_gateways = _mark_due(gateways, epoch, now_s, retry_s)
    if due_shards or due_gateways:
        yield PushTopology(state.topology, due_shards, due_gateways)


def _mark_due(deliveries: dict[str, Delivery | None], epoch: int, now_s: float, retry_s: float) -> tuple[str, ...]:
    """Return those who must be told, and take them as told."""
    due = {name: one for name, one in deliveries.items() if one is not None and one.is_due(epoch, now_s, retry_s)}
    for delivery in due.values():
        delivery.sent(epoch, now_s)
    return tuple(due)
