"""Ray's nodes, as the router's core wants to know them.

What lives here: asking Ray, which blocks for a request to its GCS (for ever while that is gone): call it in a thread.
What does not: what follows (`raycache.router`).
"""

from __future__ import annotations

import logging
from typing import Any, Final

from raycache.actors import calls
from raycache.router.messages import NodeReport

log = logging.getLogger(__name__)

ZONE_LABELS: Final = ("zone", "topology.kubernetes.io/zone", "ray.io/availability-zone")
ROOM_LABEL: Final = calls.ROOM_LABEL


def node_reports() -> list[NodeReport]:
    """Return all nodes of the Ray cluster. Blocks."""
    free, draining = _cpus_free(), _draining()
    return [
        NodeReport(
            node_id=node["NodeID"], machine=node["NodeManagerAddress"], is_alive=node["Alive"],
            zone=next((node["Labels"][label] for label in ZONE_LABELS if label in node.get("Labels", {})), ""),
            cpus_free=free.get(node["NodeID"], float(node.get("Resources", {}).get("CPU", 0.0))),
            is_draining=node["NodeID"] in draining, room=_room(node),
        )
        for node in calls.nodes()
    ]


def core_budget(cpus_per_shard: float) -> tuple[int, int]:
    """Return (nodes that take shards, shards for which they have cores). Blocks.

    A node's label says how many it takes; where there is none, as many as have `cpus_per_shard` CPUs each, one if that
    is 0.
    """
    nodes = [node for node in calls.nodes() if node["Alive"] and _room(node) != 0]
    each = cpus_per_shard or 1.0
    rooms = [(_room(node), float(node.get("Resources", {}).get("CPU", 0.0))) for node in nodes]
    return len(nodes), sum(int(cpus // each) if room is None else room for room, cpus in rooms)


def _room(node: dict[str, Any]) -> int | None:
    """Return how many shards a node's label allows, None where it has none that makes sense."""
    text = node.get("Labels", {}).get(ROOM_LABEL, "")
    return int(text) if text.isdecimal() else None


def _cpus_free() -> dict[str, float]:
    """Return the CPUs of each node that nobody has reserved. Private API; without it the totals must do."""
    try:
        from ray._private.state import available_resources_per_node

        resources: dict[str, Any] = available_resources_per_node()  # type: ignore[no-untyped-call]
        return {node_id: float(free.get("CPU", 0.0)) for node_id, free in resources.items()}
    except (ImportError, AttributeError):
        return {}


def _draining() -> set[str]:
    """Return the nodes that will go: preempted, or told to by `ray drain-node` or the autoscaler.

    Private API; without it nobody empties them, and their loss is a loss like any other.
    """
    try:
        from ray._private.state import state

        return set(state.get_draining_nodes())
    except (ImportError, AttributeError):
        return set()
