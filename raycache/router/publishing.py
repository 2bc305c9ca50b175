"""Making new topologies, and bringing them to everybody.

What lives here: when there is a new epoch, what stands in it, and who must still be told. What does not: dealing the
slots (`raycache.ring.plan`) and sending anything (the shell does).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from raycache.ring.plan import dealt
from raycache.ring.topology import Owners, ShardInfo, Topology
from raycache.router.messages import Action, PushTopology
from raycache.router.records import Delivery, Phase, ShardRecord
from raycache.router.state import RouterState


def publish(state: RouterState, now_s: float) -> None:
    """Make the next epoch if what it would say differs from the last one."""
    _let_join(state, now_s)
    shards = _shard_infos(state)
    gateways = tuple(record.info for _, record in sorted(state.gateways.items()) if record.info is not None)
    old = state.topology
    is_news = (shards, gateways) != (old.shards, old.gateways) or state.must_publish
    if not shards or not is_news:
        return
    epoch = max(old.epoch, state.epoch_floor) + 1
    state.topology = Topology(old.cluster, epoch, shards, _owners(state, shards), gateways, old.transfers)
    state.must_publish = False
    for record in state.shards.values() if _has_heir(state) else ():
        if record.is_member and record.is_leaving and not record.left_epoch:
            record.left_epoch, record.left_at_s = epoch, now_s


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
    return any(record.is_member and not record.is_leaving and not record.is_drained for record in state.shards.values())


def _owners(state: RouterState, shards: tuple[ShardInfo, ...]) -> Owners:
    """Return the slot table: the old one while the same shards stand on the same machines, else dealt from it."""
    old, config = state.topology, state.config
    if _placement(shards) == _placement(old.shards) and old.copies == config.copies:
        return old.owners
    return dealt(shards, old, copies=config.copies, vnodes_per_shard=config.vnodes_per_shard, max_load=config.max_load)


def _placement(shards: tuple[ShardInfo, ...]) -> list[tuple[str, str, str, int]]:
    return [(shard.id, shard.machine, shard.zone, shard.weight) for shard in shards]


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
