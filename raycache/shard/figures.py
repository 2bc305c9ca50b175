"""A shard's figures as samples: what Prometheus and Ray's metrics agent get.

What lives here: which figure becomes which metric; a gateway's door has the same figures, so `door_samples` serves
both. What does not: counting. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from raycache.metrics.families import Samples
from raycache.shard.classes import CLASS_OF

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.meter import Meter

SHARD_DOOR: Final = "shard"
GATEWAY_DOOR: Final = "gateway"

_PLAIN: Final = {
    "raycache_entries": "entries", "raycache_entries_expiring": "entries_with_ttl",
    "raycache_memory_used_bytes": "used_bytes", "raycache_memory_limit_bytes": "capacity_bytes",
    "raycache_writes_rejected_total": "rejected", "raycache_slots": "slots",
    "raycache_loop_pauses_total": "loop_pauses_over_5_ms", "raycache_internal_failures_total": "failures",
    "raycache_leases_open": "leases", "raycache_leases_granted_total": "leases_granted",
    "raycache_leases_voided_total": "leases_voided", "raycache_leases_overdue_total": "leases_overdue",
    "raycache_lease_waits_total": "lease_waits", "raycache_queue_writes": "queued",
    "raycache_queue_bytes": "queued_bytes", "raycache_queue_limit_bytes": "queue_limit_bytes",
    "raycache_queue_oldest_seconds": "queue_oldest_s", "raycache_queue_refused_total": "queue_refused",
    "raycache_dead_letters": "dead_letters",
}
"""Metrics that are a field of the shard's statistics as it is."""
_PEER: Final = {"raycache_replica_lag_mutations": "lag_mutations", "raycache_replica_lag_bytes": "lag_bytes",
                "raycache_replica_lag_seconds": "lag_s", "raycache_replica_connected": "connected"}
_COPIES: Final = {"raycache_has_lease": "has_lease", "raycache_replication_merged_total": "merged",
                  "raycache_replication_repaired_total": "repaired", "raycache_tombstones": "tombstones",
                  "raycache_transfer_misses_total": "transfer_misses"}


def by_class(counts: list[int]) -> dict[str, int]:
    """Return counts by command number added up by class, classes without any left out."""
    found: dict[str, int] = {}
    for class_, count in zip(CLASS_OF, counts, strict=True):
        if count:
            found[class_] = found.get(class_, 0) + count
    return found


def errors_of(meter: Meter, calls: list[int]) -> list[int]:
    """Return by number how many commands were answered with an error; what is no command always is."""
    errors = [rejected + failed for rejected, failed in zip(meter.rejected, meter.failed, strict=True)]
    errors[0] += calls[0]
    return errors


def door_samples(samples: Samples, door: str, shard: str, meter: Meter, calls: list[int],
                 known: Mapping[str, Any]) -> None:
    """Add the figures that every door has.

    Args:
        calls: commands by number.
        known: the door's counters by their names in the statistics.
    """
    for class_, count in by_class(calls).items():
        samples.add("raycache_commands_total", count, door, shard, class_)
    for class_, count in by_class(errors_of(meter, calls)).items():
        samples.add("raycache_command_errors_total", count, door, shard, class_)
    for class_, histogram in meter.latency.items():
        samples.add("raycache_command_duration_seconds", histogram, door, shard, class_)
    samples.add("raycache_slow_commands_total", meter.slowlog.total, door, shard)
    samples.add("raycache_connections_open", known.get("connections", 0), door, shard)
    samples.add("raycache_connections_accepted_total", known.get("connections_total", 0), door, shard)
    samples.add("raycache_connections_refused_total", known.get("connections_refused", 0), door, shard)
    for reason, name in (("slow", "dropped_slow"), ("half_sent", "dropped_half_sent"), ("protocol", "protocol_errors")):
        samples.add("raycache_connections_dropped_total", known.get(name, 0), door, shard, reason)
    samples.add("raycache_topology_epoch", known.get("epoch", 0), door, shard)
    samples.add("raycache_start_time_seconds", known.get("started_ms", 0) / 1000, door, shard)
    for metric, name in (("raycache_process_cpu_seconds_total", "cpu_s"),
                         ("raycache_process_resident_memory_bytes", "resident_bytes")):
        if name in known:
            samples.add(metric, known[name], door, shard)


def shard_samples(core: ShardCore) -> Samples:
    """Return everything that a shard tells."""
    stats, samples, shard = core.stats(), Samples(), core.shard_id
    door_samples(samples, SHARD_DOOR, shard, core.meter, core.calls_of(), stats | {"started_ms": core.started_ms})
    for metric, name in _PLAIN.items():
        if name in stats:
            samples.add(metric, stats[name], shard)
    samples.add("raycache_loop_pause_max_seconds", stats.get("loop_pause_max_ms", 0.0) / 1000, shard)
    for result, name in (("hit", "hits"), ("miss", "misses")):
        samples.add("raycache_lookups_total", stats[name], shard, result)
    for kind, name in (("insert", "inserts"), ("update", "updates")):
        samples.add("raycache_entries_written_total", stats[name], shard, kind)
    for reason in ("evicted", "expired", "deleted"):
        samples.add("raycache_entries_removed_total", stats[reason], shard, reason)
    replication = stats.get("replication")
    if replication is not None and replication["copies"] > 1:
        _add_copies(samples, shard, replication)
    return samples


def _add_copies(samples: Samples, shard: str, figures: Mapping[str, Any]) -> None:
    for metric, name in _COPIES.items():
        samples.add(metric, int(figures[name]), shard)
    loss = figures["loss_window"]
    samples.add("raycache_loss_window_mutations", loss["mutations"], shard)
    samples.add("raycache_loss_window_bytes", loss["bytes"], shard)
    samples.add("raycache_loss_window_seconds", loss["age_s"], shard)
    samples.add("raycache_transfers_arriving", len(figures["arrivals"]), shard)
    for replica, peer in figures["peers"].items():
        for metric, name in _PEER.items():
            samples.add(metric, float(peer[name]), shard, replica)


def latency_of(meter: Meter) -> dict[str, dict[str, float]]:
    """Return p50 and p99 by class, for the statistics: microseconds, and of how many commands."""
    return {
        class_: {"p50_us": histogram.quantile_s(0.5) * 1e6, "p99_us": histogram.quantile_s(0.99) * 1e6,
                 "count": histogram.count}
        for class_, histogram in meter.latency.items()
    }
