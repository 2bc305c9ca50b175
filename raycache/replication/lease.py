"""The lease: may this shard still serve as a primary, or has it been cut off from the others?

What lives here: counting votes. What does not: pinging (`replicator`), and the router's side of the same rule
(`raycache.router`). Pure; `now_s` is monotonic.

A shard counts an answer from the moment it sent the question: whoever answered had heard it then, and so will not
have declared it lost until a second after. The lease is shorter than that, so an old primary stops before a new one
starts, whatever happens to messages, as long as clocks run at about the same speed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

LEASE_S: Final = 0.8
"""Below `raycache.router.detector`'s patience of one second, with room for clocks that differ in speed by a tenth."""
ROUTER: Final = "router"
ROUTER_VOTE: Final = 0.5
"""Decides where shards are split in two equal halves; never outvotes a majority."""


def has_majority(votes: float, voters: int) -> bool:
    """Return whether `votes` (one a shard, and the router's) are more than half of all there are."""
    return votes > (voters + ROUTER_VOTE) / 2


def lease_until(me: str, voters: Iterable[str], answered_s: Mapping[str, float]) -> float:
    """Return until when a shard may serve as a primary; monotonic seconds.

    Args:
        me: the shard itself, which always agrees.
        voters: the shards that are not known to be dead, `me` among them.
        answered_s: when the questions were sent that others, the router among them, have answered last.
    """
    names = set(voters)
    votes = float(me in names)
    times = sorted(((answered_s[name], name) for name in (names | {ROUTER}) - {me} if name in answered_s), reverse=True)
    if has_majority(votes, len(names)):
        return float("inf")
    for at_s, name in times:
        votes += ROUTER_VOTE if name == ROUTER else 1.0
        if has_majority(votes, len(names)):
            return at_s + LEASE_S
    return float("-inf")
