"""Slots and their data on the way between shards: one mechanism for growth, shrinking, drains, refills and handovers.

What lives here: which transfers there must be, over a `Draft`. What does not: the data itself, which receivers fetch
from givers (`raycache.replication.arrival`), and where slots belong (`raycache.ring.plan`).

A transfer's receiver is an owner from the start. Its giver is, in this order: the primary it takes over from; an owner
that leaves the slot, which keeps its entries until the end; any other owner that has all of it. So while a transfer
lasts, at least one complete copy is outside of it, if there was one. And whoever leaves with all of a slot is a giver:
it drops nothing before somebody who stays has compared it with its own.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from raycache.ring.columns import Mask, led_by
from raycache.ring.hashring import NOBODY, Indexes
from raycache.ring.topology import Owners
from raycache.router.draft import Draft, Flow

BEHIND_THE_SCENES: Final = 0.25
"""What a slot counts whose primary stays, and only replicas are others: no client waits for what is on its way."""


def replace_givers(draft: Draft) -> int:
    """Find others for givers that are lost; return the slots for which there is nobody.

    A giver that is only silent may come back with all it has, so it is waited for where nobody can stand in.
    """
    lost_slots, leaders = 0, draft.owners[:, 0]
    # Where nobody has all of it, those who lead get what another one has, and the others compare theirs with that: a
    # copy that has more than who leads would else be made to drop it.
    for are_led in (False, True):
        for flow in list(draft.flows):
            is_gone = flow.giver < 0 or bool(draft.is_gone[flow.giver])
            slots = flow.slots & ((leaders == flow.receiver) == are_led)
            if (not is_gone and draft.is_alive[flow.giver]) or not slots.any():
                continue
            givers = np.where(slots, _first_complete(draft), NOBODY)
            for others in (_living_givers(draft), _first_silent(draft))[: 1 + is_gone]:
                givers = np.where(slots & (givers < 0) & (others != flow.receiver), others, givers)
            rest = slots & (givers < 0)
            if is_gone:
                lost_slots += int(rest.sum())
                rest[:] = False
            _shrink(draft, flow, (flow.slots & ~slots) | rest)
            draft.add_from(givers, flow.receiver)
    return lost_slots


def refill(draft: Draft) -> None:
    """Let shards that came back get what they own from those who have it."""
    for shard in np.flatnonzero(draft.is_behind & draft.is_alive).tolist():
        # Who has been giving a slot, and leaves it, goes on: the owners that seem to have all of it may be dead, too.
        owned = (draft.owners == shard).any(axis=1) & (_living_givers(draft, shard) < 0)
        givers = np.where(owned, _first_complete(draft), NOBODY)
        for others in (_living_givers(draft), _first_silent(draft)):
            givers = np.where(owned & (givers < 0) & (others != shard), others, givers)
        # Where nobody has all of it, whoever leads has the most.
        leaders = draft.owners[:, 0].astype(np.int64)
        is_led = owned & (givers < 0) & (leaders != shard) & np.append(draft.is_alive, False)[leaders]
        givers = np.where(is_led, leaders, givers)
        for flow in [flow for flow in draft.flows if flow.receiver == shard]:
            _shrink(draft, flow, flow.slots & (givers < 0))
        draft.add_from(givers, shard)
    # From here on their transfers say what they lack.
    draft.is_behind = draft.is_behind & ~draft.is_alive


def shift(draft: Draft, wanted: Owners, limit: int, awaited: Mask | None = None) -> int:
    """Make the table as `wanted` as can be done now; return how many slots wait.

    The data of at most `limit` slots moves, or of more where their primaries stay (`BEHIND_THE_SCENES`).

    A slot waits while it is on its way already, while somebody new to it is not up, while only a silent shard has its
    data, and while one of those marked in `awaited` would leave it.
    """
    old, complete = draft.owners, draft.complete()
    wanted = _led_by_the_living(draft, wanted)
    arrives = (wanted >= 0) & ~(wanted[:, :, None] == old[:, None, :]).any(axis=2)
    differs = (wanted != old).any(axis=1)
    has_source = complete.any(axis=1)
    hands_over = (wanted[:, 0] != old[:, 0]) & (old[:, 0] >= 0)
    is_silent = draft.of_owners(~draft.is_alive & ~draft.is_gone).any(axis=1) & ~has_source
    is_up = np.append(draft.is_alive, False)[wanted]
    # Where an owner is lost, nobody else who has all of it leaves, unless as the giver: the rest may be dead, too.
    stays = (old[:, :, None] == wanted[:, None, :]).any(axis=2)
    drops = complete & ~stays
    is_thin = draft.of_owners(~draft.is_alive).any(axis=1) & drops.any(axis=1) & (complete.sum(axis=1) > 1)
    waits = is_thin | draft.in_flow() | (arrives & ~is_up).any(axis=1) | is_silent | (hands_over & ~is_up[:, 0])
    if awaited is not None:
        waits |= (draft.of_owners(awaited) & ~stays).any(axis=1)
    may_move = differs & (~waits | (old < 0).all(axis=1))
    moves_data = may_move & has_source & (arrives.any(axis=1) | hands_over | drops.any(axis=1))
    rows = _grouped(np.flatnonzero(moves_data), old, wanted, arrives, stays)
    later = rows[np.where(hands_over[rows], 1.0, BEHIND_THE_SCENES).cumsum() > limit]
    moves_data[later] = may_move[later] = False
    for column in range(wanted.shape[1]):
        _give(draft, wanted, column, arrives[:, column] & moves_data, complete, stays)
    _give(draft, wanted, 0, hands_over & ~arrives[:, 0] & moves_data & complete[:, 0], complete, stays)
    _take_leave(draft, wanted, moves_data, drops, stays, complete)
    draft.owners = np.where(may_move[:, None], wanted, old)
    return int((differs & ~may_move).sum())


def _grouped(rows: Indexes, old: Owners, wanted: Owners, arrives: Mask, stays: Mask) -> Indexes:
    """Return `rows` with those together that have the same leaver and the same newcomer: whoever is neither is not
    disturbed by a turn."""
    leaves = ~stays[rows] & (old[rows] >= 0)
    each = np.arange(len(rows))
    leavers = np.where(leaves.any(axis=1), old[rows][each, leaves.argmax(axis=1)], NOBODY)
    comes = arrives[rows]
    newcomers = np.where(comes.any(axis=1), wanted[rows][each, comes.argmax(axis=1)], NOBODY)
    return rows[np.lexsort((newcomers, leavers))]


def _give(draft: Draft, wanted: Owners, column: int, slots: Mask, complete: Mask, stays: Mask) -> None:
    """Find a giver for the newcomers in one column of `wanted`."""
    rows = np.flatnonzero(slots)
    if not len(rows):
        return
    old, receivers = draft.owners[rows], wanted[rows, column]
    score = np.where(stays[rows], 0, 2)
    score[:, 0] += 1 + 4 * (column == 0)
    score[~complete[rows] | (old == receivers[:, None])] = -1
    best = score.argmax(axis=1)
    each = np.arange(len(rows))
    givers = np.where(score[each, best] >= 0, old[each, best], NOBODY)
    _add(draft, rows, givers, receivers)


def _take_leave(draft: Draft, wanted: Owners, slots: Mask, drops: Mask, stays: Mask, complete: Mask) -> None:
    """Let everybody who leaves with all of a slot give it to somebody, though that one may have it already: until that
    one has said so, the others may all be dead without anybody knowing."""
    for column in range(wanted.shape[1]):
        rows = np.flatnonzero(slots & drops[:, column])
        if not len(rows):
            continue
        leavers = draft.owners[rows, column]
        # The last of those who stay: a primary goes on undisturbed if it can.
        remain = (complete & stays)[rows]
        last = remain.shape[1] - 1 - remain[:, ::-1].argmax(axis=1)
        newest = np.take_along_axis(wanted[rows], (wanted[rows] >= 0).sum(axis=1)[:, None] - 1, axis=1)[:, 0]
        receivers = np.where(remain.any(axis=1), draft.owners[rows, last], newest)
        for flow in draft.flows:
            leavers = np.where(flow.slots[rows] & (leavers == flow.giver), NOBODY, leavers)
        _add(draft, rows, leavers, receivers)


def _add(draft: Draft, rows: Indexes, givers: Indexes, receivers: Indexes) -> None:
    """Let each of `receivers` get its row from its giver; a giver of -1 = not at all."""
    has_giver = givers >= 0
    for receiver, giver in np.unique(np.stack((receivers, givers), axis=1)[has_giver], axis=0).tolist():
        slots = np.zeros(len(draft.owners), dtype=np.bool_)
        slots[rows[has_giver & (receivers == receiver) & (givers == giver)]] = True
        draft.add(giver, receiver, slots)


def _led_by_the_living(draft: Draft, wanted: Owners) -> Owners:
    """Return `wanted` with rows whose first owner is not up led by the first one that is."""
    is_up = np.append(draft.is_alive, False)[wanted]
    rows = np.flatnonzero(~is_up[:, 0] & is_up.any(axis=1))
    return led_by(wanted, rows, is_up[rows].argmax(axis=1), ~draft.is_alive) if len(rows) else wanted


def _first_complete(draft: Draft) -> Indexes:
    """Return for each slot the first of its owners that has all of it, or -1."""
    complete = draft.complete()
    first = draft.owners[np.arange(len(complete)), complete.argmax(axis=1)]
    return np.where(complete.any(axis=1), first, NOBODY).astype(np.int64)


def _living_givers(draft: Draft, receiver: int | None = None) -> Indexes:
    """Return for each slot somebody who is giving all of it, to `receiver` or to anybody, or -1.

    It may be no owner any more, and then it is not among the complete ones.
    """
    result = np.full(len(draft.owners), NOBODY, dtype=np.int64)
    for flow in draft.flows:
        is_whole = flow.giver >= 0 and draft.is_alive[flow.giver] and not draft.is_behind[flow.giver]
        if is_whole and receiver in (None, flow.receiver):
            result[flow.slots] = flow.giver
    return result


def _first_silent(draft: Draft) -> Indexes:
    """Return for each slot the first of its owners that had all of it when it fell silent, and may be back, or -1."""
    silent = draft.of_owners(~draft.is_alive & ~draft.is_gone & ~draft.is_behind) & ~draft.arriving()
    first = draft.owners[np.arange(len(silent)), silent.argmax(axis=1)]
    return np.where(silent.any(axis=1), first, NOBODY).astype(np.int64)


def _shrink(draft: Draft, flow: Flow, slots: Mask) -> None:
    """Leave `slots` of a flow."""
    flow.slots = slots
    if not slots.any():
        draft.flows.remove(flow)
