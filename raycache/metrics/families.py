"""Every metric that raycache exports: its name, its kind, its labels and what it says.

What lives here: that list, and samples checked against it. What does not: where values come from (`raycache.shard`,
`raycache.gateway`, `raycache.router`), how they are written (`text`) or handed to Ray (`raycache.actors.metrics`).
`docs/metrics.md` has the same list; a test compares them. Names follow Prometheus' conventions: seconds and bytes,
`_total` on what only grows. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from raycache.metrics.histogram import Histogram

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str
    kind: str
    """`COUNTER`, `GAUGE` or `HISTOGRAM`."""
    labels: tuple[str, ...]
    """Every sample has a value for each, "" where it means nothing. `cluster` comes to all of them."""
    help: str


_DOOR: Final = ("door", "shard")
_SHARD: Final = ("shard",)

FAMILIES: Final = (
    # At every door.
    Family("raycache_commands_total", COUNTER, (*_DOOR, "class"), "Commands that came through a door."),
    Family("raycache_command_errors_total", COUNTER, (*_DOOR, "class"),
           "Commands that a door answered with an error, refused or failed."),
    Family("raycache_command_duration_seconds", HISTOGRAM, (*_DOOR, "class"),
           "Time from a command's bytes to its reply, of measured commands, each counted for those it stands for."),
    Family("raycache_slow_commands_total", COUNTER, _DOOR, "Commands that went into the slow log."),
    Family("raycache_connections_open", GAUGE, _DOOR, "Connections of clients."),
    Family("raycache_connections_accepted_total", COUNTER, _DOOR, "Connections accepted."),
    Family("raycache_connections_refused_total", COUNTER, _DOOR, "Connections over the limit, refused."),
    Family("raycache_connections_dropped_total", COUNTER, (*_DOOR, "reason"),
           "Connections closed: the client left replies unread (slow), a command half-sent (half_sent), or broke the "
           "protocol (protocol)."),
    Family("raycache_topology_epoch", GAUGE, _DOOR, "Epoch of the newest topology known at a door."),
    Family("raycache_start_time_seconds", GAUGE, _DOOR, "When it began, seconds since 1970."),
    Family("raycache_process_cpu_seconds_total", COUNTER, _DOOR, "CPU time of the process, user and system."),
    Family("raycache_process_resident_memory_bytes", GAUGE, _DOOR, "Resident memory of the process."),
    # A shard's entries.
    Family("raycache_entries", GAUGE, _SHARD, "Entries, copies of other shards' among them."),
    Family("raycache_entries_expiring", GAUGE, _SHARD, "Entries with a time to live."),
    Family("raycache_memory_used_bytes", GAUGE, _SHARD, "Charged to entries, every table counted."),
    Family("raycache_memory_limit_bytes", GAUGE, _SHARD, "What entries may be charged."),
    Family("raycache_lookups_total", COUNTER, (*_SHARD, "result"),
           "Reads of keys that were there (hit) or not (miss)."),
    Family("raycache_entries_written_total", COUNTER, (*_SHARD, "kind"),
           "Writes that made an entry (insert) or replaced "
           "one (update)."),
    Family("raycache_entries_removed_total", COUNTER, (*_SHARD, "reason"),
           "Entries removed for space (evicted), for age (expired) or on request (deleted)."),
    Family("raycache_writes_rejected_total", COUNTER, _SHARD, "Writes refused for want of space."),
    Family("raycache_slots", GAUGE, _SHARD, "Slots that the shard is primary of."),
    # Its loop.
    Family("raycache_loop_pauses_total", COUNTER, _SHARD, "How often the event loop came more than 5 ms late."),
    Family("raycache_loop_pause_max_seconds", GAUGE, _SHARD,
           "Longest lateness of the event loop since the last reset."),
    Family("raycache_internal_failures_total", COUNTER, _SHARD, "Commands that failed for a bug; the log has them."),
    # Loading.
    Family("raycache_leases_open", GAUGE, _SHARD, "Keys that are being loaded."),
    Family("raycache_leases_granted_total", COUNTER, _SHARD, "Loads begun with a lease."),
    Family("raycache_leases_voided_total", COUNTER, _SHARD, "Loads whose key was written or deleted meanwhile."),
    Family("raycache_leases_overdue_total", COUNTER, _SHARD, "Loads that took longer than they might."),
    Family("raycache_lease_waits_total", COUNTER, _SHARD, "How often somebody waited for another's load."),
    # Writes for databases.
    Family("raycache_queue_writes", GAUGE, _SHARD, "Writes that wait for a database."),
    Family("raycache_queue_bytes", GAUGE, _SHARD, "Charged to them, to dead letters and to copies."),
    Family("raycache_queue_limit_bytes", GAUGE, _SHARD, "Above this, writes for a database are refused."),
    Family("raycache_queue_oldest_seconds", GAUGE, _SHARD, "For how long the oldest has been waiting."),
    Family("raycache_queue_refused_total", COUNTER, _SHARD, "Writes refused because too many were waiting."),
    Family("raycache_dead_letters", GAUGE, _SHARD, "Writes that a database has refused for good."),
    # Copies.
    Family("raycache_has_lease", GAUGE, _SHARD, "1 if it may serve as a primary, 0 if it is cut off."),
    Family("raycache_loss_window_mutations", GAUGE, _SHARD, "Acknowledged writes that some copy does not have."),
    Family("raycache_loss_window_bytes", GAUGE, _SHARD, "Their bytes."),
    Family("raycache_loss_window_seconds", GAUGE, _SHARD, "Age of the oldest of them."),
    Family("raycache_replica_lag_mutations", GAUGE, (*_SHARD, "replica"), "Changes that a copy has not confirmed."),
    Family("raycache_replica_lag_bytes", GAUGE, (*_SHARD, "replica"), "Their bytes."),
    Family("raycache_replica_lag_seconds", GAUGE, (*_SHARD, "replica"), "Age of the oldest of them."),
    Family("raycache_replica_connected", GAUGE, (*_SHARD, "replica"), "1 if the copy is connected."),
    Family("raycache_replication_merged_total", COUNTER, _SHARD, "Changes taken over from other copies."),
    Family("raycache_replication_repaired_total", COUNTER, _SHARD, "Entries that a comparison of copies has brought."),
    Family("raycache_transfers_arriving", GAUGE, _SHARD, "Transfers of slots that it receives."),
    Family("raycache_transfer_misses_total", COUNTER, _SHARD, "Reads of keys on their way whose giver did not answer."),
    Family("raycache_tombstones", GAUGE, _SHARD, "Deleted keys that it remembers."),
    # A gateway's way to the shards.
    Family("raycache_gateway_retries_total", COUNTER, (), "Commands, or parts of them, tried again."),
    Family("raycache_gateway_given_up_total", COUNTER, (), "Commands, or parts of them, answered with CLUSTERDOWN."),
    Family("raycache_gateway_detours_total", COUNTER, (), "Commands taken to another owner of their slot."),
    Family("raycache_gateway_refreshes_total", COUNTER, (), "Questions for a newer topology."),
    Family("raycache_gateway_upstream_connections", GAUGE, (), "Connections to shards."),
    Family("raycache_gateway_shard_answered", GAUGE, _SHARD,
           "1 if a shard of this machine has told its figures for this "
           "very answer, 0 if it did not in time."),
    # The HTTP door; through Ray's agent only.
    Family("raycache_http_requests_total", COUNTER, ("code",),
           "Requests that the HTTP door has answered, by status; 499: the client was gone first."),
    # The router; through Ray's agent only.
    Family("raycache_cluster_shards", GAUGE, ("state",), "Shards by state: up, starting or down."),
    Family("raycache_cluster_gateways", GAUGE, (), "Gateways that the router knows."),
    Family("raycache_cluster_standbys", GAUGE, (), "1 if the router has a standby that answers, on another machine."),
    Family("raycache_cluster_epoch", GAUGE, (), "Epoch of the topology."),
    Family("raycache_cluster_transfers", GAUGE, (), "Transfers of slots under way."),
    Family("raycache_cluster_events_total", COUNTER, ("kind",),
           "What happened to the cluster: lost, back, failover, transfer, change, refused, router."),
)
"""All metrics, in the order in which they are shown."""

FAMILY: Final = {family.name: family for family in FAMILIES}

Value = float | Histogram


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one metric."""

    family: Family
    labels: tuple[str, ...]
    """One for each of the family's."""
    value: Value


class Samples:
    """What one process tells of itself at one moment; every name and label is checked against `FAMILIES`."""

    def __init__(self) -> None:
        self.all: list[Sample] = []

    def add(self, name: str, value: Value, *labels: str) -> None:
        """Add a value.

        Raises:
            KeyError: no metric has that name.
            ValueError: it has another number of labels.
        """
        family = FAMILY[name]
        if len(labels) != len(family.labels):
            raise ValueError(f"{name} has the labels {family.labels}, not {labels}")
        self.all.append(Sample(family, labels, value))

    def to_rows(self) -> list[list[object]]:
        """Return them as types that msgpack and JSON know; `of_rows` reads them."""
        return [[each.family.name, list(each.labels),
                 each.value.to_row() if isinstance(each.value, Histogram) else each.value] for each in self.all]

    @classmethod
    def of_rows(cls, rows: Iterable[Sequence[object]]) -> Samples:
        """Return what `to_rows` wrote; what this version does not know is left out.

        Raises:
            ValueError: it is something else.
        """
        made = cls()
        for row in rows:
            try:
                name, labels, value = row
                family = FAMILY.get(str(name))
                known = [str(label) for label in labels]  # type: ignore[attr-defined]
                if family is None or len(known) != len(family.labels):
                    continue
                is_row = isinstance(value, list | tuple)
                made.add(family.name, Histogram.of_row(value) if is_row else float(value), *known)  # type: ignore[arg-type]
            except TypeError as error:
                raise ValueError(f"not a sample: {row!r}") from error
        return made
