"""The standby: a router that waits until the shards miss the one in office.

What lives here: what a standby does next. What does not: missing a router (`voting`), and everything that it does once
it is elected: it is a router then. A standby is a `RouterCore` of term 0, which no shard grants anything: it pings,
hears and does not act. What it recovered from must follow the topology meanwhile, so where others show one with other
shards or processes, it begins anew with that.
"""

from __future__ import annotations

from enum import Enum

from raycache.ring.topology import Topology
from raycache.router.core import RouterCore


class Move(Enum):
    """What a standby does next."""

    WAIT = "wait"
    """Nothing: no step of its core either, unless it has taken a term."""
    STAND = "stand for election"
    """Take a term, and ping everybody."""
    BEGIN_ANEW = "begin anew"
    """Stand by with a new core, that knows `basis` and nothing else."""


def next_move(core: RouterCore, basis: Topology | None, now_s: float) -> Move:
    """Return what to do now.

    Args:
        core: the standby's.
        basis: the topology that it has begun with; None: it has found its shards otherwise.
    """
    if core.term:
        is_over = core.must_stand_down or (not core.is_elected and core.needs_term > core.term)
        return Move.BEGIN_ANEW if is_over else Move.WAIT
    seen = core.newest_seen
    if seen is None:
        return Move.WAIT
    if basis is None or seen.shards != basis.shards:
        return Move.BEGIN_ANEW
    return Move.STAND if core.misses_router(now_s) else Move.WAIT


def new_basis(core: RouterCore) -> Topology:
    """Return the topology that a standby begins anew with: the newest that its core has made or seen."""
    seen, made = core.newest_seen, core.topology
    return seen if seen is not None and seen.epoch > made.epoch else made


def begin(core: RouterCore, basis: Topology, now_s: float) -> None:
    """Show a new core what `basis` tells."""
    core.shown("standby", basis.to_bytes())
    core.recover([shard.id for shard in basis.shards], [gateway.node_id for gateway in basis.gateways], now_s)
