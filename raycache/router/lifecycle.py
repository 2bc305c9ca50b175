"""The rules of a shard's life: wanted, created, lost, given up, leaving, ended.

What lives here: functions that one step calls, each of which changes records and may ask for actions. What does not:
slots and epochs (`raycache.router.publishing`), the order of the step (`raycache.router.core`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from raycache.router.messages import Action, CreateShard, NodeReport, RemoveShard
from raycache.router.placing import Choice, choose_nodes
from raycache.router.records import Phase, ShardRecord
from raycache.router.state import RouterState
from raycache.router.upgrading import must_be_replaced, spare_of


def line_up(state: RouterState) -> None:
    """Make the records follow the wanted number: missing shards become wanted, those above it leave."""
    for index in range(state.config.shards):
        state.shards.setdefault(index, ShardRecord(index))
    for record in state.shards.values():
        is_leaving = record.index >= state.config.shards
        is_emptying = record.id in state.draining or state.is_node_going(record.node_id)
        if (is_leaving, is_emptying) != (record.is_leaving, record.is_emptying):
            record.is_leaving, record.is_emptying, record.left_epoch = is_leaving, is_emptying, 0


def notice_dead_nodes(state: RouterState, now_s: float) -> None:
    """A shard on a dead node is lost, whether or not its connection has noticed."""
    for record in state.shards.values():
        if record.phase in (Phase.UP, Phase.DOWN) and not record.is_dead and state.is_node_dead(record.node_id):
            lose(state, record, now_s, f"{record.id} is lost with its node")


def lose(state: RouterState, record: ShardRecord, now_s: float, text: str) -> None:
    """Take in that a shard's process is gone for certain."""
    if record.phase is Phase.REMOVING:
        record.is_dead = True  # as ordered
    if record.is_dead and record.phase is not Phase.UP:
        return
    state.note("lost", text)
    record.is_dead = state.is_dirty = True
    state.unrest_at_s = now_s
    if record.phase is Phase.UP:
        record.enter(Phase.DOWN, now_s)


def give_up_waiting(state: RouterState, now_s: float) -> None:
    """Replace what did not come back, or did not come at all, within its deadline."""
    for record in state.shards.values():
        waited_s = now_s - record.since_s
        if record.phase is Phase.DOWN and waited_s >= state.patience.restart_deadline_s:
            record.reserves_cpus = True
            record.enter(Phase.REMOVING, now_s)
        elif record.phase is Phase.STARTING and waited_s >= state.patience.start_deadline_s:
            # The likeliest reason is a reservation that somebody else took first: Ray then waits for ever.
            record.reserves_cpus = False
            record.enter(Phase.REMOVING, now_s)


def create(state: RouterState, now_s: float) -> Iterator[Action]:
    """Place and create every wanted shard. All are placed before the first is created, so that each knows its peers."""
    wanted = [state.shards[index] for index in sorted(state.shards) if _is_missing(state.shards[index])]
    if not wanted:
        return
    # An upgrade's spare goes in the end: where it is, there is room.
    spare = spare_of(state)
    occupied = [record.node_id for record in state.shards.values()
                if record.phase is not Phase.WANTED and record.id != spare]
    wish = state.config.cpus_per_shard
    wishes = [wish if record.reserves_cpus else 0.0 for record in wanted]
    choices = choose_nodes(_candidates(state), occupied, wishes, _promised(state))
    chosen = {*occupied, *(choice.node.node_id for choice in choices)}
    # Without a living node there are no choices, and the shards stay wanted.
    for record, choice in zip(wanted, choices, strict=False):
        peers = tuple(sorted(chosen - {choice.node.node_id, ""}))
        _start(record, choice, wish, now_s)
        yield CreateShard(record.id, record.index, choice.node.node_id, peers, choice.cpus)


def _candidates(state: RouterState) -> list[NodeReport]:
    return [replace(node, is_draining=state.is_node_going(node.node_id)) for node in state.nodes.values()]


def best_place(state: RouterState, record: ShardRecord) -> NodeReport | None:
    """Return the node that a shard would be created on if it were not there; None where there is none."""
    occupied = [one.node_id for one in state.shards.values() if one.phase is not Phase.WANTED and one is not record]
    wish = state.config.cpus_per_shard if record.reserves_cpus else 0.0
    choices = choose_nodes(_candidates(state), occupied, [wish], _promised(state))
    return choices[0].node if choices else None


def _is_missing(record: ShardRecord) -> bool:
    return record.phase is Phase.WANTED and not record.is_leaving


def _start(record: ShardRecord, choice: Choice, wish: float, now_s: float) -> None:
    record.node_id, record.machine, record.zone = choice.node.node_id, choice.node.machine, choice.node.zone
    record.cpus = choice.cpus
    record.reserves_cpus = choice.cpus == wish
    record.enter(Phase.STARTING, now_s)


def _promised(state: RouterState) -> dict[str, float]:
    """Return the CPUs per node that created shards will reserve, but that Ray may still count as free."""
    promised: defaultdict[str, float] = defaultdict(float)
    for record in state.shards.values():
        if record.phase is Phase.STARTING:
            promised[record.node_id] += record.cpus
    return promised


def remove(state: RouterState, now_s: float) -> Iterator[Action]:
    """End what has left or was given up; ask again for what nobody confirmed."""
    for index in sorted(state.shards):
        record = state.shards[index]
        is_to_go = record.is_leaving or _must_move(state, record)
        if is_to_go and record.phase is not Phase.REMOVING and _may_go(state, record, now_s):
            record.is_drained = True
            record.enter(Phase.REMOVING, now_s)
        if record.phase is Phase.REMOVING and now_s - record.removal_at_s >= state.patience.retry_s:
            record.removal_at_s = now_s
            yield RemoveShard(record.id)


def _must_move(state: RouterState, record: ShardRecord) -> bool:
    """Say whether a shard should be ended and created anew: its node is about to go, or an upgrade has come to it."""
    is_asked_to = (state.is_node_going(record.node_id) and state.has_usable_node()) or must_be_replaced(state, record)
    return is_asked_to and record.is_up and record.is_member


def _may_go(state: RouterState, leaving: ShardRecord, now_s: float) -> bool:
    """Say whether a leaving shard may be ended: it never had slots, or everybody knows that it has none any more."""
    if not leaving.is_member:
        return True
    if not leaving.left_epoch or (state.change is not None and now_s - leaving.left_at_s < state.change.linger_s):
        return False
    told = [record.delivery for record in state.shards.values() if record.is_member and record.phase is Phase.UP]
    know = [delivery is not None and delivery.held_epoch >= leaving.left_epoch for delivery in told]
    return (bool(know) and all(know)) or now_s - leaving.left_at_s >= state.patience.leave_wait_s
