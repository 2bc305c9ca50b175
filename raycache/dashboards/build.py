"""Building the dashboard: panels by row, each with its PromQL, as Grafana's JSON.

What lives here: which questions the dashboard answers, and how Ray's agent calls our metrics. What does not: files
(`install`). `python -m raycache.dashboards.build` prints the JSON that is shipped; a test holds both together. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from raycache.metrics.families import FAMILY, HISTOGRAM

UID: Final = "raycacheDashboard"
_WIDTH: Final = 8
_HEIGHT: Final = 8
_WHERE: Final = 'cluster=~"$cluster"'


def ray_name(name: str) -> str:
    """Return how Ray's metrics agent calls a metric, or a part of a histogram.

    Raises:
        KeyError: there is no such metric.
    """
    for part in ("_bucket", "_sum", "_count"):
        base = name.removesuffix(part)
        if base != name and base in FAMILY and FAMILY[base].kind == HISTOGRAM:
            return f"ray_{name}_total"
    return f"ray_{FAMILY[name].name}"


def _plain(name: str, by: str = "shard", where: str = "") -> str:
    return f"sum by ({by}) ({ray_name(name)}{{{_WHERE}{where}}})"


def _rate(name: str, by: str = "shard", where: str = "") -> str:
    return f"sum by ({by}) (rate({ray_name(name)}{{{_WHERE}{where}}}[$__rate_interval]))"


def _quantile(share: float, door: str) -> str:
    buckets = ray_name("raycache_command_duration_seconds_bucket")
    return (f"histogram_quantile({share}, sum by (le, class) (rate({buckets}{{{_WHERE}, "
            f'door="{door}"}}[$__rate_interval])))')


def _hit_ratio() -> str:
    hits = _rate("raycache_lookups_total", where=', result="hit"')
    return f"{hits} / {_rate('raycache_lookups_total')}"


Panel = tuple[str, str, Sequence[tuple[str, str]]]
"""Title, unit, and pairs of PromQL and legend."""

ROWS: Final[Mapping[str, Sequence[Panel]]] = {
    "Doors": (
        ("Commands by class", "ops", [(_rate("raycache_commands_total", "door, class"), "{{door}} {{class}}")]),
        ("Errors by class", "ops", [(_rate("raycache_command_errors_total", "door, class"), "{{door}} {{class}}")]),
        ("Connections", "short", [(_plain("raycache_connections_open", "door, shard"), "{{door}} {{shard}}")]),
        ("Latency at shards, p50", "s", [(_quantile(0.5, "shard"), "{{class}}")]),
        ("Latency at shards, p99", "s", [(_quantile(0.99, "shard"), "{{class}}")]),
        ("Latency at gateways, p99", "s", [(_quantile(0.99, "gateway"), "{{class}}")]),
        ("Latency at the HTTP door, p99", "s", [(_quantile(0.99, "http"), "{{class}}")]),
        ("HTTP answers by status", "ops", [(_rate("raycache_http_requests_total", "code"), "{{code}}")]),
        ("Slow commands", "ops", [(_rate("raycache_slow_commands_total", "door, shard"), "{{door}} {{shard}}")]),
        ("Connections refused and dropped", "ops", [
            (_rate("raycache_connections_refused_total", "door"), "{{door}} refused"),
            (_rate("raycache_connections_dropped_total", "door, reason"), "{{door}} {{reason}}")]),
        ("CPU", "percentunit", [(_rate("raycache_process_cpu_seconds_total", "door, shard"), "{{door}} {{shard}}")]),
    ),
    "What is kept": (
        ("Hit ratio", "percentunit", [(_hit_ratio(), "{{shard}}")]),
        ("Lookups", "ops", [(_rate("raycache_lookups_total", "result"), "{{result}}")]),
        ("Entries", "short", [(_plain("raycache_entries"), "{{shard}}")]),
        ("Memory charged to entries", "bytes", [
            (_plain("raycache_memory_used_bytes"), "{{shard}}"),
            (_plain("raycache_memory_limit_bytes"), "{{shard}} limit")]),
        ("Resident memory", "bytes", [(_plain("raycache_process_resident_memory_bytes", "door, shard"),
                                       "{{door}} {{shard}}")]),
        ("Entries removed", "ops", [(_rate("raycache_entries_removed_total", "reason"), "{{reason}}")]),
        ("Entries written", "ops", [(_rate("raycache_entries_written_total", "kind"), "{{kind}}"),
                                    (_rate("raycache_writes_rejected_total"), "{{shard}} rejected")]),
        ("Pauses of the event loop over 5 ms", "ops", [(_rate("raycache_loop_pauses_total"), "{{shard}}")]),
        ("Loads", "ops", [(_rate("raycache_leases_granted_total"), "{{shard}} granted"),
                          (_rate("raycache_lease_waits_total"), "{{shard}} waits")]),
    ),
    "Copies, queues and the cluster": (
        ("Loss window", "s", [(_plain("raycache_loss_window_seconds"), "{{shard}}")]),
        ("Replica lag", "s", [(_plain("raycache_replica_lag_seconds", "shard, replica"), "{{shard}} to {{replica}}")]),
        ("Leases to serve", "short", [(_plain("raycache_has_lease"), "{{shard}}")]),
        ("Writes that wait for a database", "short", [(_plain("raycache_queue_writes"), "{{shard}}"),
                                                     (_plain("raycache_dead_letters"), "{{shard}} dead letters")]),
        ("Oldest write that waits", "s", [(_plain("raycache_queue_oldest_seconds"), "{{shard}}")]),
        ("Shards by state", "short", [(_plain("raycache_cluster_shards", "state"), "{{state}}")]),
        ("Events", "short", [(f"sum by (kind) (increase({ray_name('raycache_cluster_events_total')}{{{_WHERE}}}[5m]))",
                              "{{kind}}")]),
        ("Transfers of slots", "short", [(_plain("raycache_cluster_transfers", "cluster"), "{{cluster}}")]),
        ("Gateways' retries", "ops", [(_rate("raycache_gateway_retries_total", "cluster"), "retries"),
                                      (_rate("raycache_gateway_given_up_total", "cluster"), "given up")]),
    ),
}
"""What the dashboard shows, row by row."""


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana's JSON model."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        for place, panel in enumerate(row):
            x, below = place % 3 * _WIDTH, place // 3 * _HEIGHT
            panels.append(_panel(len(panels) + 1, panel, x, y + 1 + below))
        y += 1 + -(-len(row) // 3) * _HEIGHT
    return {
        "uid": UID, "title": "raycache", "tags": ["raycache", "ray"], "schemaVersion": 39, "version": 1,
        "editable": True, "refresh": "10s", "time": {"from": "now-30m", "to": "now"}, "timezone": "browser",
        "annotations": {"list": []}, "links": [], "panels": panels, "templating": {"list": [
            {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0,
             "current": {}, "regex": ""},
            {"name": "cluster", "label": "Cluster", "type": "query", "datasource": _SOURCE, "refresh": 2,
             "includeAll": True, "allValue": ".*", "multi": True, "hide": 0, "sort": 1, "regex": "",
             "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
             "query": {"query": f"label_values({ray_name('raycache_entries')}, cluster)", "refId": "clusters"}},
        ]},
    }


_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    title, unit, queries = panel
    return {
        "id": number, "type": "timeseries", "title": title, "datasource": _SOURCE,
        "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": x, "y": y},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [{"refId": chr(65 + place), "expr": expr, "legendFormat": legend, "datasource": _SOURCE}
                    for place, (expr, legend) in enumerate(queries)],
    }


def as_json() -> str:
    """Return the file that is shipped."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    print(as_json(), end="")
