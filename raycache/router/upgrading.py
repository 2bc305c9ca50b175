"""A rolling upgrade: every shard's process replaced by a new one, one after the other, without an empty place.

What lives here: whose turn it is. What does not: emptying a shard and filling it again, which are a drain and its end
(`transferring`), and ending and creating actors (`lifecycle`).

One shard more, the spare, takes over what the first one has; that one is ended and created anew, empty, and takes over
what the second one has; and so on. What the spare has goes to the last one, and the spare goes. So all the time as
many shards hold the entries as before: nothing is evicted for want of room, no slot has fewer copies, and a cluster of
one shard can be upgraded, too. Each entry moves once, those of the first shard twice.

The queue of those whose turn is to come stands in the topology, so a restarted router goes on where the last one was.
The last one in it is the spare.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from raycache.ring.slots import SLOT_COUNT
from raycache.router.changes import Change
from raycache.router.messages import index_of, shard_id_of
from raycache.router.records import ShardRecord
from raycache.router.state import RouterState


def text_of(shards: int) -> str:
    """Return what the change is called."""
    return f"upgrade of {shards} {'shard' if shards == 1 else 'shards'}"


def begin(state: RouterState, queue: Iterable[str] | None = None) -> None:
    """Line up these shards, all of them by default, and want the spare."""
    count = state.config.shards
    state.config = replace(state.config, shards=count + 1)
    everybody = map(shard_id_of, range(count))
    state.upgrading = (*(everybody if queue is None else queue), shard_id_of(count))
    state.is_scaled = state.is_dirty = True
    if state.change is not None:
        state.change.linger_s = state.patience.linger_s


def proceed(state: RouterState) -> None:
    """Begin the next turn if the last one is over: everybody is up, the new process and the spare among them."""
    queue = state.upgrading
    if not queue or queue[0] in state.draining or not all(_serves(state, one) for one in range(state.config.shards)):
        return
    state.is_dirty = True
    if len(queue) > 1:
        state.draining = (*state.draining, queue[0])
        return
    # Only the spare is left, and goes as any shard does that is not wanted any more.
    state.upgrading = ()
    state.config = replace(state.config, shards=state.config.shards - 1)


def _serves(state: RouterState, index: int) -> bool:
    record = state.shards.get(index)
    return record is not None and record.is_up and record.suspected_at_s is None


def spare_of(state: RouterState) -> str:
    """Return the id of the upgrade's spare, "" without an upgrade."""
    return state.upgrading[-1] if state.upgrading else ""


def must_be_replaced(state: RouterState, record: ShardRecord) -> bool:
    """Say whether it is a shard's turn, so that its process is to end as soon as nothing is in it."""
    return record.id in state.upgrading[:1] and record.id in state.draining


def replaced(state: RouterState, record: ShardRecord) -> None:
    """Take in that a shard's process is no more: if it was its turn, that is over, and it is created anew."""
    if must_be_replaced(state, record):
        state.upgrading = state.upgrading[1:]
        state.draining = tuple(one for one in state.draining if one != record.id)


def slots_to_come(state: RouterState) -> int:
    """Return about how many slots will move in the turns that have not begun."""
    count = state.config.shards - 1
    waiting = [one for one in state.upgrading if one not in state.draining]
    return SLOT_COUNT * min(state.config.copies, count) * len(waiting) // count if waiting else 0


def go_on(state: RouterState, queue: tuple[str, ...]) -> None:
    """Continue what the router before has begun: `queue` is what the newest topology says."""
    state.upgrading = queue
    if not queue:
        return
    count = index_of(queue[-1])
    state.config = replace(state.config, shards=count + 1)
    before = tuple(one for one in state.draining if one not in queue)
    state.change = Change(text_of(count), state.now_s, True, count, before, state.patience.linger_s)
