"""A cluster's status out of the router's description.

What lives here: reading what `describe` of the router's actor has answered, with the shards' statistics, wherever those
come from. What does not: asking (`launch`). Pure; no Ray.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from raycache.cluster_status import ClusterStatus, Event, ShardStatus, with_copies
from raycache.ring.topology import Topology

_COUNTERS: Final = ("entries", "used_bytes", "capacity_bytes", "hits", "misses", "commands", "commands_per_s",
                    "connections", "evicted", "expired", "uptime_s", "queued", "queued_bytes", "queue_limit_bytes",
                    "queue_oldest_s", "dead_letters", "latency", "version")


def status_of(name: str, described: Mapping[str, Any], table: Topology | None = None,
              stats: Mapping[str, Mapping[str, Any]] | None = None) -> ClusterStatus:
    """Return the status of cluster `name`.

    Args:
        described: what the router's actor said.
        table: its topology, where the caller has read it already.
        stats: shard id -> its RC.STATS; None: those in `described`.
    """
    table = table or Topology.from_bytes(described["topology"])
    stats = described["stats"] if stats is None else stats
    shares = table.shares()
    records = []
    for info in table.shards:
        figures = stats.get(info.id) or {}
        record = ShardStatus(id=info.id, state=info.state, machine=info.machine, address=f"{info.host}:{info.port}",
                             slots=shares.get(info.id, 0), restarts=described["restarts"].get(info.id, 0))
        known = {field: figures[field] for field in _COUNTERS if field in figures}
        records.append(replace(record, **known))
    status = ClusterStatus(
        name=name, epoch=table.epoch, policy=described["policy"],
        memory_per_shard_bytes=described["memory_per_shard_bytes"],
        shards=tuple(records), gateways=tuple(f"{gateway.host}:{gateway.port}" for gateway in table.gateways),
        warnings=tuple(described["warnings"]), requires_auth=described["requires_auth"], secret=described["secret"],
    )
    events = tuple(Event(one["age_s"], one["kind"], one["text"]) for one in described["events"])
    return replace(with_copies(status, table, stats), events=events, router_machine=described.get("router_machine", ""),
                   standby_machine=described.get("standby_machine", ""))
