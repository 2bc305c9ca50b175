"""The router's figures as samples: the cluster as it sees it.

What lives here: which figure becomes which metric. What does not: deciding or noting anything. Pure.
"""

from __future__ import annotations

from typing import Final

from raycache.metrics.families import Samples
from raycache.router.state import RouterState

STATES: Final = ("up", "starting", "down")


def router_samples(state: RouterState) -> Samples:
    """Return the figures of the cluster; every state is there, so that none vanishes when it becomes 0."""
    samples = Samples()
    states = [record.view().state for record in state.shards.values()]
    for name in STATES:
        samples.add("raycache_cluster_shards", states.count(name), name)
    samples.add("raycache_cluster_gateways", len(state.gateways))
    samples.add("raycache_cluster_epoch", state.topology.epoch)
    samples.add("raycache_cluster_transfers", len(state.topology.transfers))
    for kind, count in sorted(state.event_counts.items()):
        samples.add("raycache_cluster_events_total", count, kind)
    return samples
