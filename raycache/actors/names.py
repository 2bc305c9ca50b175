"""How actors and clusters are called inside Ray. One namespace holds all clusters of a Ray cluster.

A name is `raycache:<cluster>:<role>[:<id>]`; cluster names hold no colon, so names are unambiguous.
"""

from __future__ import annotations

from typing import Final

NAMESPACE: Final = "raycache"
_PREFIX: Final = "raycache:"


def router_name(cluster: str) -> str:
    """Return the name of the cluster's router actor."""
    return f"{_PREFIX}{cluster}:router"


def standby_name(cluster: str) -> str:
    """Return the name of the actor that takes over from the router when its machine is lost."""
    return f"{_PREFIX}{cluster}:standby"


def shard_name(cluster: str, shard_id: str) -> str:
    """Return the name of a shard's actor."""
    return f"{_PREFIX}{cluster}:shard:{shard_id}"


def gateway_name(cluster: str, node_id: str) -> str:
    """Return the name of the gateway actor on a Ray node."""
    return f"{_PREFIX}{cluster}:gateway:{node_id}"


def store_name(cluster: str, store: str) -> str:
    """Return the name of the actor of an attached store."""
    return f"{_PREFIX}{cluster}:store:{store}"


def store_of(actor_name: str, cluster: str) -> str | None:
    """Return the store of `cluster` that an actor is of, or None if it is of none."""
    prefix = store_name(cluster, "")
    return actor_name[len(prefix) :] if actor_name.startswith(prefix) else None


def cluster_of(actor_name: str) -> str | None:
    """Return the cluster that an actor's name belongs to, or None if it is none of ours."""
    if not actor_name.startswith(_PREFIX):
        return None
    return actor_name[len(_PREFIX) :].partition(":")[0]
