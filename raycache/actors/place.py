"""Where this process runs, as Ray knows it.

What lives here: one question that costs nothing: the answer is in the process already. What does not: what it is good
for (`raycache.client`).
"""

from __future__ import annotations

import ray

from raycache.client.info import Place


def own_place() -> Place | None:
    """Return the node and the machine of this process in the words of the topology; None if it is not in Ray."""
    if not ray.is_initialized():
        return None
    return Place(ray.get_runtime_context().get_node_id(), str(ray.util.get_node_ip_address()))  # type: ignore[no-untyped-call]
