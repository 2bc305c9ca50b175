"""Figures of a cluster on real Ray: at a gateway's port, and as Ray's own agent exports them."""

from __future__ import annotations

import socket
from collections.abc import Callable

import raycache
from raycache.dashboards.build import ray_name
from tests.cluster.figures import agent_url, scraped, total, wait_for


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_prometheus_and_ray_s_agent_tell_exactly_what_was_done(
        cluster_name: str, start: Callable[..., raycache.ClusterStatus]) -> None:
    port = free_port()
    start(shards=2, metrics_port=port, measure_every=1, log_format="json")
    with raycache.connect(cluster_name) as cache:
        for number in range(40):
            cache.set(f"key:{number}", number)
        for number in range(25):
            cache.get(f"key:{number}")
    read = {"door": "shard", "class": "read"}

    at_gateway = scraped(f"http://127.0.0.1:{port}/metrics")
    assert total(at_gateway, "raycache_commands_total", **read) == 25
    assert total(at_gateway, "raycache_command_duration_seconds_count", **read) == 25
    assert total(at_gateway, "raycache_entries") == 40

    mine = {"cluster": cluster_name}
    wait_for(agent_url(), [
        (ray_name("raycache_entries"), mine, 40),
        (ray_name("raycache_cluster_shards"), {**mine, "state": "up"}, 2),
        (ray_name("raycache_cluster_standbys"), mine, 0),
        (ray_name("raycache_commands_total"), {**mine, **read}, 25),
        (ray_name("raycache_commands_total"), {**mine, **read, "class": "write"}, 40),
        (ray_name("raycache_lookups_total"), {**mine, "result": "hit"}, 25),
        (ray_name("raycache_command_duration_seconds_count"), {**mine, **read}, 25),
        (ray_name("raycache_command_duration_seconds_bucket"), {**mine, **read, "le": "+Inf"}, 25)])
