"""Figures of a cluster on real Ray: at a gateway's port, and as Ray's own agent exports them."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable

import ray
from prometheus_client.parser import text_string_to_metric_families

import raycache
from raycache.dashboards.build import ray_name
from tests.support import wait_until

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def scraped(url: str) -> Figures:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return {(sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples}


def total(figures: Figures, name: str, **labels: str) -> float:
    return sum(value for (sample, pairs), value in figures.items() if sample == name and labels.items() <= set(pairs))


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

    node = ray.nodes()[0]
    agent = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    mine, found = {"cluster": cluster_name}, Figures()

    def has_come() -> bool:
        nonlocal found
        found = scraped(agent)
        has_entries = total(found, ray_name("raycache_entries"), **mine) == 40
        has_router = total(found, ray_name("raycache_cluster_shards"), state="up", **mine) == 2
        return has_entries and has_router

    wait_until(has_come, 40)
    assert total(found, ray_name("raycache_commands_total"), **mine, **read) == 25
    assert total(found, ray_name("raycache_commands_total"), **mine, **(read | {"class": "write"})) == 40
    assert total(found, ray_name("raycache_lookups_total"), **mine, result="hit") == 25
    assert total(found, ray_name("raycache_command_duration_seconds_count"), **mine, **read) == 25
    assert total(found, ray_name("raycache_command_duration_seconds_bucket"), **mine, **read, le="+Inf") == 25
