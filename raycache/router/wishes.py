"""What an operator may ask for: another number of shards, a shard or node emptied, new processes, and the way back.

What lives here: accepting and refusing. What does not: making it so (`lifecycle`, `publishing`).

One wish at a time: two operators who scale at once would undo each other's work, half moved. The second is refused with
the name of the first.
"""

from __future__ import annotations

from dataclasses import replace

from raycache.errors import ChangeUnderWayError
from raycache.router import upgrading
from raycache.router.changes import Change
from raycache.router.state import RouterState


def scale(state: RouterState, shards: int) -> None:
    """Want this many shards.

    Raises:
        ValueError: the configuration cannot have so many, or so few.
        ChangeUnderWayError: another change is not complete.
    """
    config = replace(state.config, shards=shards)
    if shards < (needed := _fewest(state)):
        raise ValueError(f"a quorum needs {needed} shards, so there cannot be {shards}")
    before = state.config.shards
    if shards != before or not state.topology.epoch:
        _begin(state, f"scale from {before} to {shards} shards")
    state.config, state.is_scaled = config, True


def drain(state: RouterState, target: str) -> None:
    """Want a shard, or all shards of a node, to be empty.

    Raises:
        ValueError: there is no such shard or node, or nobody would be left to take its slots.
        ChangeUnderWayError: another change is not complete.
    """
    if target in state.draining:
        return
    if target not in state.nodes and target not in (record.id for record in state.shards.values()):
        raise ValueError(f"there is no shard and no node {target!r}")
    left = [record for record in state.members() if not record.gives_away and target not in (record.id, record.node_id)]
    if not left:
        raise ValueError(f"{target} cannot be drained: no other shard would be left to take its slots")
    if len(left) < (needed := _fewest(state)):
        raise ValueError(f"{target} cannot be drained: a quorum needs {needed} shards, and {len(left)} would be left")
    _begin(state, f"drain {target}")
    state.draining, state.is_dirty = (*state.draining, target), True


def undrain(state: RouterState, target: str) -> None:
    """Let a shard or node have slots again.

    Raises:
        ValueError: it is not drained.
        ChangeUnderWayError: another change is not complete.
    """
    if target not in state.draining:
        raise ValueError(f"{target} is not drained")
    if _current(state) is not None and _current_text(state) == f"drain {target}":
        cancel(state)
        return
    _begin(state, f"undrain {target}")
    state.draining, state.is_dirty = tuple(one for one in state.draining if one != target), True


def upgrade(state: RouterState) -> None:
    """Want every shard's process replaced, one after the other.

    Raises:
        ValueError: nothing is dealt yet, something is drained, or there can be no shard more for a while.
        ChangeUnderWayError: another change is not complete.
    """
    count = state.config.shards - bool(state.upgrading)
    text = upgrading.text_of(count)
    if state.upgrading and _current_text(state) == text:
        return  # it goes on
    if _current(state) is None:  # else that is what there is to say
        _check_upgrade(state)
    _begin(state, text)
    upgrading.begin(state)


def _check_upgrade(state: RouterState) -> None:
    if not state.topology.epoch:
        raise ValueError("nothing serves yet, so there is nothing to upgrade")
    if state.draining:
        raise ValueError(f"{', '.join(state.draining)} is drained: undo that first (`raycache drain --undo`)")
    try:
        replace(state.config, shards=state.config.shards + 1)
    except ValueError as error:
        raise ValueError(f"an upgrade needs one shard more for a while: {error}") from None


def cancel(state: RouterState) -> str:
    """Go back to how it was before the wish that is under way; return what was cancelled.

    What has moved moves back; a transfer under way ends first.

    Raises:
        ValueError: nothing is under way that could be cancelled.
    """
    current = _current(state)
    if current is None:
        raise ValueError("no change is under way")
    # Of an upgrade there is no way back from the way back: whoever wants that begins it anew.
    before = (current.shards_before, current.draining_before)
    now = before if state.upgrading else (state.config.shards, state.draining)
    state.last_change, current.ended_s = current, state.now_s
    state.config = replace(state.config, shards=current.shards_before)
    state.draining, state.is_dirty, state.is_scaled = current.draining_before, True, True
    state.upgrading = ()
    state.change = Change(f"cancel: {current.text}", state.now_s, True, *now)
    state.note("change", f"{current.text}: cancelled")
    return current.text


def _fewest(state: RouterState) -> int:
    """Return with how many shards the cluster still serves."""
    return max(state.config.quorums) if state.config.replication == "quorum" else 1


def _current(state: RouterState) -> Change | None:
    return state.change if state.change is not None and state.change.is_wish else None


def _current_text(state: RouterState) -> str:
    current = _current(state)
    return "" if current is None else current.text


def _begin(state: RouterState, text: str) -> None:
    current = _current(state)
    if current is not None and current.text != text:
        raise ChangeUnderWayError(
            f"{current.text} is under way since {state.now_s - current.since_s:.0f} s: wait until it is complete, or "
            "cancel it"
        )
    if not state.topology.epoch:
        return  # nothing is dealt yet, so nothing will move
    state.change = Change(text, state.now_s, True, state.config.shards, state.draining)
    state.note("change", text)
