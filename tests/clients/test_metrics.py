"""Figures of a running cluster, compared exactly with what real clients did: Prometheus' text, INFO, SLOWLOG."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from raycache.client import Cache
from raycache.ring.slots import slot_of
from raycache.testing.local import LocalCluster

SECRET = "do-not-show-this"

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=2, secret=SECRET, measure_every=1) as running:
        yield running


@pytest.fixture
def gateway(cluster: LocalCluster) -> Iterator[redis.Redis]:
    host, port = cluster.gateway_address
    client = redis.Redis(host=host, port=port, password=SECRET, decode_responses=True)
    client.ping()
    yield client
    client.close()


def text_of(cluster: LocalCluster, path: str = "/metrics") -> str:
    host, port = cluster.metrics_address
    with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return str(answer.read().decode())


def figures(cluster: LocalCluster) -> Figures:
    """Return what Prometheus would store, after each family has been parsed by its own parser."""
    return {(sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text_of(cluster)) for sample in family.samples}


def total(found: Figures, name: str, **labels: str) -> float:
    """Return the sum of all samples of a name that have these labels."""
    return sum(value for (sample, pairs), value in found.items() if sample == name and labels.items() <= set(pairs))


def test_counts_at_both_doors_are_exactly_what_clients_did(cluster: LocalCluster, gateway: redis.Redis) -> None:
    before = figures(cluster)
    for number in range(50):
        gateway.set(f"key:{number}", "x")
    for number in range(30):
        gateway.get(f"key:{number}")
    gateway.get("absent")
    gateway.mget([f"key:{number}" for number in range(20)])  # one command here, one on each shard
    with pytest.raises(redis.ResponseError):
        gateway.incr("key:1")
    after = figures(cluster)

    def more(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    for door in ("gateway", "shard"):
        assert more("raycache_commands_total", door=door, **{"class": "read"}) == 31
        assert more("raycache_commands_total", door=door, **{"class": "write"}) == 51
        assert more("raycache_command_errors_total", door=door, **{"class": "write"}) == 1
        for class_, count in (("read", 31), ("write", 51)):
            assert more("raycache_command_duration_seconds_count", door=door, **{"class": class_}) == count
            assert more("raycache_command_duration_seconds_bucket", door=door, le="+Inf", **{"class": class_}) == count
            assert 0 < more("raycache_command_duration_seconds_sum", door=door, **{"class": class_}) < 30
    assert more("raycache_commands_total", door="gateway", **{"class": "read_many"}) == 1
    assert more("raycache_commands_total", door="shard", **{"class": "read_many"}) == 2
    assert more("raycache_lookups_total", result="hit") == 50
    assert more("raycache_lookups_total", result="miss") == 1
    assert more("raycache_entries_written_total", kind="insert") == 50
    assert more("raycache_entries") == 50
    assert total(after, "raycache_gateway_shard_answered") == 2
    assert {dict(pairs)["cluster"] for _, pairs in after} == {"local"}
    assert SECRET not in text_of(cluster)


def test_what_handles_do_is_counted_too(cluster: LocalCluster) -> None:
    before = figures(cluster)
    with Cache(cluster.info) as cache:
        cache.set("handle:1", [1, 2])
        for _ in range(7):
            cache.get("handle:1")
        cache.get_many(["handle:1", "handle:2"])
    after = figures(cluster)
    for class_, count in (("read", 7), ("write", 1)):
        assert total(after, "raycache_commands_total", door="shard", **{"class": class_}) - total(
            before, "raycache_commands_total", door="shard", **{"class": class_}) == count
    assert total(after, "raycache_connections_open", door="shard") >= total(
        before, "raycache_connections_open", door="shard")


def test_a_shard_that_does_not_answer_is_left_out_and_named() -> None:
    with LocalCluster(shards=2) as cluster:
        cluster.pause(1)
        try:
            found = figures(cluster)
        finally:
            cluster.resume(1)
        assert total(found, "raycache_gateway_shard_answered", shard="s0") == 1
        assert total(found, "raycache_gateway_shard_answered", shard="s1") == 0
        assert total(found, "raycache_memory_limit_bytes", shard="s1") == 0
        assert total(found, "raycache_memory_limit_bytes", shard="s0") > 0


@pytest.mark.parametrize(("path", "method", "status"), [("/", "GET", 404), ("/metrics", "POST", 405)])
def test_nothing_else_is_served(cluster: LocalCluster, path: str, method: str, status: int) -> None:
    host, port = cluster.metrics_address
    asked = urllib.request.Request(f"http://{host}:{port}{path}", method=method)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=10)
    assert refused.value.code == status
    refused.value.close()


def test_what_is_no_http_is_refused(cluster: LocalCluster) -> None:
    for said in (b"GET\r\n\r\n", b"x" * 20_000):
        with socket.create_connection(cluster.metrics_address, timeout=10) as stranger:
            stranger.sendall(said)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(100).startswith(b"HTTP/1.1 400 ")


def test_info_speaks_of_commands_as_they_came_through_its_own_door(cluster: LocalCluster, gateway: redis.Redis) -> None:
    gateway.get("key:1")
    gateway.config_resetstat()
    for _ in range(5):
        gateway.get("key:1")
    stats = gateway.info("all")
    assert stats["cmdstat_get"]["calls"] == 5
    assert stats["cmdstat_get"]["usec"] > 0
    assert set(stats["latency_percentiles_usec_get"]) == {"p50", "p99", "p99.9"}
    on_shards = 0
    for host, port in cluster.addresses:
        with redis.Redis(host=host, port=port, password=SECRET) as shard:
            on_shards += shard.info("commandstats").get("cmdstat_get", {"calls": 0})["calls"]
    assert on_shards == 5


@pytest.mark.parametrize("door", ["gateway", "shard"])
def test_redis_tools_read_the_slow_log(cluster: LocalCluster, door: str) -> None:
    host, port = cluster.gateway_address if door == "gateway" else cluster.addresses[0]
    key = next(name for name in map(str, range(100))
               if getattr(cluster.topology.primary_of(slot_of(name.encode())), "id", "") == "s0")
    with redis.Redis(host=host, port=port, password=SECRET, client_name="tool") as client:
        client.config_set("slowlog-log-slower-than", 0)
        client.slowlog_reset()
        client.mget([key, key])
        with redis.Redis(host=host, port=port, password=SECRET) as another:
            another.ping()
        entries = client.slowlog_get(128)
        (entry,) = [one for one in entries if one["command"].startswith(b"MGET")]
        assert entry["command"] == b"MGET %b %b" % (key.encode(), key.encode())
        assert (entry["client_name"], entry["duration"] > 0) == (b"tool", True)
        assert client.slowlog_len() >= len(entries)
        shown = b" ".join(one["command"] for one in client.slowlog_get(-1))
        assert SECRET.encode() not in shown
        client.config_set("slowlog-log-slower-than", 60_000_000)
        client.slowlog_reset()
        client.mget([key])
        assert client.slowlog_len() == 0
        client.config_set("slowlog-log-slower-than", 10_000)
        histogram = client.execute_command("LATENCY", "HISTOGRAM", "mget")
        assert list(histogram) == [b"mget"]


def test_statistics_show_quantiles(cluster: LocalCluster, gateway: redis.Redis) -> None:
    gateway.get("key:1")
    with Cache(cluster.info) as cache:
        stats = cache.stats()
    latency = stats.latency["read"]
    assert 0 < latency["p50_us"] <= latency["p99_us"]
    assert latency["count"] == sum(shard.latency.get("read", {"count": 0})["count"] for shard in stats.shards)
    json.dumps(stats.latency)
