"""What the router says of itself: whether all is as wanted, what is under way, what an operator should know.

What lives here: answers, and noticing that a change is complete. What does not: changing anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from raycache.router.deciding import placement
from raycache.router.records import Phase, ShardRecord
from raycache.router.state import RouterState
from raycache.router.upgrading import slots_to_come
from raycache.router.voting import has_majority, is_outvoted


@dataclass(frozen=True, slots=True)
class Address:
    """Where a process of a shard listens."""

    host: str
    port: int
    incarnation: int


def addresses(state: RouterState) -> dict[str, Address]:
    """Return where each shard's process is, or was last."""
    found = {}
    if not state.is_recovered and state.best_seen is not None:
        found = {one.id: Address(one.host, one.port, one.incarnation) for one in state.best_seen.shards}
    for record in state.shards.values():
        if record.port and record.incarnation >= 0 and record.phase in (Phase.UP, Phase.DOWN):
            found[record.id] = Address(record.host, record.port, record.incarnation)
    return found


def is_arranged(state: RouterState) -> bool:
    """Return whether every wanted shard is up and dealt in, and no slot is on its way or waits to be."""
    shards = state.shards
    return (
        shards.keys() == set(range(state.config.shards))
        and all(record.is_up and record.is_member for record in shards.values())
        and not state.topology.transfers
        and state.dealt_for == placement(state.topology.shards)
        and state.topology.draining == state.draining
        and not state.upgrading
    )


def is_settled(state: RouterState) -> bool:
    """Return whether all is as wanted and everybody knows."""
    everybody = [record.delivery for record in state.shards.values()]
    everybody += [record.delivery for record in state.gateways.values()]
    return (
        is_arranged(state)
        and state.gateways.keys() == state.gateway_nodes()
        and all(one is not None and one.held_epoch >= state.topology.epoch for one in everybody)
    )


def close_change(state: RouterState) -> None:
    """Notice that what was under way is complete."""
    change = state.change
    if change is None:
        return
    if is_arranged(state) if change.is_wish else not state.topology.transfers:
        change.ended_s = state.now_s
        state.last_change, state.change = change, None
        state.note("change", f"{change.text}: complete, {change.slots} slots, {change.entries} entries, "
                             f"{change.bytes} bytes, {change.misses} misses in {state.now_s - change.since_s:.1f} s")


def progress(state: RouterState, now_s: float) -> dict[str, Any]:
    """Return what is under way, transfer by transfer, and what it cost; or the same of the change before."""
    by_id = state.by_id()
    transfers, slots_open = [], 0
    for one in state.topology.transfers:
        receiver = by_id.get(one.receiver)
        arrival = receiver.pong.arrivals.get(one.id, {}) if receiver is not None and receiver.pong is not None else {}
        count = len(one.slot_array())
        slots_open += count
        transfers.append({"state": "waiting", "entries": 0, "bytes": 0, "misses": 0, "seconds": 0.0} | arrival
                         | {"id": one.id, "giver": one.giver, "receiver": one.receiver, "slots": count})
    change, last = state.change, state.last_change
    slots_done = change.slots if change is not None else 0
    slots_waiting = state.slots_waiting + slots_to_come(state) if change is not None else 0
    return {
        "change": None if change is None else change.describe(now_s),
        "last": None if last is None else last.describe(now_s),
        "transfers": transfers, "slots_done": slots_done,
        "slots_total": slots_done + slots_open + slots_waiting,
    }


def warnings(state: RouterState) -> tuple[str, ...]:
    """Return what an operator should know, one sentence each."""
    records = [record for _, record in sorted(state.shards.items())]
    found = [record.failure for record in records if record.failure]
    wish = state.config.cpus_per_shard
    short = [record.id for record in records if not record.reserves_cpus]
    if wish and short:
        found.append(f"a reservation of {wish:g} CPUs does not fit for {', '.join(short)}: running without one")
    if not any(node.takes_shards for node in state.nodes.values()):
        found.append("no Ray node is alive that a shard could be placed on")
    if state.shared_slots:
        found.append(f"copies of {state.shared_slots} slots share a machine: its loss loses them all")
    members = [record for record in records if record.is_member]
    keepers = [record for record in members if not record.gives_away] or members
    if state.topology.epoch and len(keepers) < state.config.copies:
        found.append(f"{len(keepers)} shards cannot hold {state.config.copies} copies of a slot")
    found += _about_votes(state)
    if members and all(record.gives_away for record in members):
        found.append("every shard is to be emptied, so none is: another shard must be there first")
    return (*found, *state.doubts.values())


def _is_complained_of(state: RouterState, record: ShardRecord) -> bool:
    """Say whether clients have lately told others that a shard does not answer, which does answer the router."""
    if record.phase is not Phase.UP or record.suspected_at_s is not None:
        return False
    for other in state.shards.values():
        age_s = other.pong.complaints.get(record.id) if other.pong is not None else None
        if age_s is not None and age_s + state.now_s - other.pong_at_s < state.patience.complaint_s:
            return True
    return False


def _about_votes(state: RouterState) -> list[str]:
    found = [f"{record.id} does not answer the router" for record in state.shards.values()
             if record.phase is Phase.UP and record.suspected_at_s is not None]
    found += [f"{record.id} answers the router, but not some clients: the network between them may be cut"
              for record in state.shards.values() if _is_complained_of(state, record)]
    if is_outvoted(state):
        found.append("another router has been granted a newer term: this one does nothing any more")
    elif not state.is_elected:
        found.append("this router waits for the grants of most shards")
    elif not has_majority(state):
        found.append("this router does not hear most shards, and so changes nothing")
    return found
