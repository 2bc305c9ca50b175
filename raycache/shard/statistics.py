"""A shard's statistics: one flat dict for RC.STATS, INFO, `raycache status` and the router.

What lives here: the names. What each store counter counts is in `raycache.store.stats`; the shell's
fields (connections, pauses) come from the shell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raycache import __version__
from raycache.shard.figures import latency_of
from raycache.store import Store

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore


def statistics_of(core: ShardCore) -> dict[str, Any]:
    """Return the statistics of `core`, of types that msgpack knows."""
    store, topology = core.store, core.topology
    return {
        "shard_id": core.shard_id,
        "version": __version__,
        "epoch": topology.epoch if topology is not None else 0,
        "slots": core.slots.count,
        "entries": len(store),
        "entries_with_ttl": store.entries_with_ttl,
        "used_bytes": store.used_bytes,
        "capacity_bytes": store.capacity_bytes,
        "policy": core.policy,
        **_choice(store),
        **store.stats.as_dict(),
        **(core.objects.figures() if core.objects is not None else {}),
        **core.queues.figures(core.slots, core.whole.pinned.bytes, core.now_ms),
        "commands": core.commands,
        "errors": core.errors,
        "failures": core.failures,
        "leases": len(core.leases),
        "leases_granted": core.leases.granted,
        "leases_voided": core.leases.voided,
        "leases_overdue": core.leases.overdue,
        "lease_waits": core.leases.waits,
        "latency": latency_of(core.meter),
        "slow_commands": core.meter.slowlog.total,
        "connections": len(core.sessions),
        "uptime_s": (core.now_ms - core.started_ms) / 1000,
        **({"replication": core.replicator.stats()} if core.replicator is not None else {}),
        **core.info(),
    }


def _choice(store: Store) -> dict[str, Any]:
    """Return which policy serves, and why, where one is chosen or changed."""
    watcher = store.watcher
    chooser = watcher.chooser if watcher is not None else None
    if chooser is None:
        return {"policy_serving": store.policy.name}
    return {"policy_serving": store.policy.name, "policy_reason": chooser.reason, "policy_changes": chooser.changes}
