"""Settings refuse what makes no sense, and say why."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import cachetools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raycache.config import GIB, KIB, MIB, POLICIES, ClusterConfig, Limits, format_bytes, parse_bytes
from raycache.store import make_policy


@pytest.mark.parametrize(("text", "size"), [
    ("1", 1), ("17b", 17), ("1k", 1000), ("1KB", 1000), ("1KiB", 1024), ("2MiB", 2 * MIB), ("3gib", 3 * GIB),
    ("1.5 GB", 1_500_000_000), (" 512MiB ", 512 * MIB), ("0.5KiB", 512), ("1TiB", 1024 * GIB), (12, 12),
])
def test_sizes_are_read_as_people_write_them(text: int | str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "lots", "1 2", "12XB", "-1", "MiB", "1e3", "1,5GiB", "0x10", "nan", "inf"])
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size; write"):
        parse_bytes(text)


@pytest.mark.parametrize("size", [0, -1, "0", "0GiB", "0.1"])
def test_a_size_must_be_positive(size: int | str) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        parse_bytes(size)


@pytest.mark.parametrize(("size", "text"), [
    (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (512 * MIB, "512.0 MiB"), (3 * GIB // 2, "1.5 GiB"),
    (5 * 1024 * GIB, "5.0 TiB"), (5000 * 1024 * GIB, "5000.0 TiB"),
])
def test_sizes_are_shown_as_people_write_them(size: int, text: str) -> None:
    assert format_bytes(size) == text


@given(st.integers(1, 1 << 50))
def test_a_size_that_was_shown_can_be_read_again_to_what_the_shown_digits_hold(size: int) -> None:
    # One digit after the point, of a number below 1024 (at least 1): half a tenth at most is lost.
    assert abs(parse_bytes(format_bytes(size)) - size) <= size * 0.05 + 1


def test_the_limits_are_those_that_the_documents_name() -> None:
    limits = Limits()
    assert limits.max_key_bytes == 64 * KIB
    assert limits.max_value_bytes == 512 * MIB
    assert limits.max_arguments == 65_536
    assert limits.max_connections == 10_000
    assert (limits.slow_client_timeout_s, limits.half_sent_timeout_s) == (10.0, 60.0)


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
@pytest.mark.parametrize("value", [0, -1])
def test_every_limit_must_be_positive_and_says_which_is_not(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        Limits(**{name: value})


def test_a_cluster_needs_only_a_name() -> None:
    config = ClusterConfig(name="features")
    assert (config.shards, config.policy, config.copies, config.port, config.bind) == (3, "lru", 1, 0, "auto")


@pytest.mark.parametrize("name", ["a", "features-2", "A.b_c-9", "0", "x" * 63])
def test_names_that_a_cluster_may_have(name: str) -> None:
    assert ClusterConfig(name=name).name == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a:b", "ü", "x" * 64, "a\n", "raycache:a"])
def test_names_that_a_cluster_may_not_have(name: str) -> None:
    # A colon would make actor names ambiguous; see `raycache.actors.names`.
    with pytest.raises(ValueError, match="is no cluster name"):
        ClusterConfig(name=name)


@pytest.mark.parametrize(("settings", "reason"), [
    ({"shards": 0}, "shards must be 1 to 1,000, not 0"),
    ({"shards": 1001}, "shards must be 1 to 1,000, not 1001"),
    ({"memory_per_shard_bytes": MIB - 1}, r"too small: at least 1.0 MiB each, so 3.0 MiB for 3"),
    ({"policy": "mru"}, "no policy 'mru'; choose one of lru, lfu, plain-lfu, fifo, sieve, .*ttl, random, noeviction"),
    ({"policy": dict}, None),
    ({"policy": int}, "policy must be a name"),
    ({"policy": cachetools.LRUCache(3)}, "policy must be a name"),
    ({"max_entries_per_shard": 0}, "max_entries must be at least 1"),
    ({"port": -1}, "port must be 0 or leave room for 3"),
    ({"port": 65_534}, "port must be 0 or leave room for 3"),
    ({"gateway_port": 65_536}, "gateway_port must be 0 or leave room for 1"),
    ({"port": 6400, "gateway_port": 6402}, "gateway_port 6402 is one of the shards' ports, 6400 to 6402"),
    ({"bind": "1.2.3"}, 'bind must be "auto", "node", "localhost" or an IP address, not \'1.2.3\''),
    ({"bind": "127.example.org"}, "bind must be"),
    ({"copies": 0}, "copies must be 1 to 5, not 0"),
    ({"copies": 7}, "copies must be 1 to 5, not 7"),
    ({"replication": "raft"}, "no replication 'raft'; choose one of primary-replica, multi-primary, quorum"),
    ({"copies": 3, "read_quorum": 2}, "read_quorum=2 means nothing with replication .primary-replica."),
    ({"copies": 3, "replication": "multi-primary", "write_quorum": 1}, "or say replication quorum"),
    ({"copies": 3, "read_quorum": 4}, r"read_quorum must be 0 \(a majority\) to copies=3, not 4"),
    ({"copies": 3, "write_quorum": -1}, r"write_quorum must be 0 \(a majority\) to copies=3, not -1"),
    ({"copies": 3, "replication": "quorum", "read_quorum": 1, "write_quorum": 2}, "or say allow_stale=True"),
    ({"tombstone_ttl_s": 0}, "tombstone_ttl_s must be positive, not 0"),
    ({"backlog_bytes": 0}, "backlog_bytes must be positive, not 0"),
    ({"snapshot_interval_s": -1}, "snapshot_interval_s must be positive, not -1"),
    ({"snapshot_dir": "snapshots"}, "snapshot_dir must be an absolute path"),
    ({"max_load": 0}, "max_load must be above 0"),
    ({"max_load": 1.5}, "max_load must be above 0 and at most 1"),
    ({"vnodes_per_shard": 0}, "vnodes_per_shard must be at least 1"),
    ({"cpus_per_shard": -0.5}, "cpus_per_shard must not be negative"),
])
def test_settings_that_make_no_sense_say_which_and_why(settings: dict[str, Any], reason: str | None) -> None:
    if reason is None:
        # A class with `popitem` passes here; `make_policy` knows cachetools and refuses it.
        config = ClusterConfig(name="c", **settings)
        with pytest.raises(ValueError, match=r"or pass a cachetools\.Cache class"):
            make_policy(config.policy)
        return
    with pytest.raises(ValueError, match=reason):
        ClusterConfig(name="c", **settings)


def test_the_highest_ports_that_fit_are_taken() -> None:
    assert ClusterConfig(name="c", shards=3, port=65_533, gateway_port=65_532).port == 65_533


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_that_the_settings_name_exists(policy: str) -> None:
    assert make_policy(ClusterConfig(name="c", policy=policy).policy).name == policy


def test_a_cachetools_class_is_a_policy() -> None:
    assert make_policy(ClusterConfig(name="c", policy=cachetools.LFUCache).policy).can_evict


def test_settings_are_frozen_checked_on_replace_and_travel_to_actors() -> None:
    config = ClusterConfig(name="c", shards=4, policy=cachetools.LRUCache, limits=Limits(max_key_bytes=10))
    with pytest.raises(FrozenInstanceError):
        config.shards = 5  # type: ignore[misc]
    with pytest.raises(ValueError, match="shards"):
        replace(config, shards=0)
    assert pickle.loads(pickle.dumps(config)) == config


def test_settings_of_another_version_are_understood_by_name() -> None:
    """During an upgrade an older router creates newer shards: pickling goes by names, not by positions."""
    config = ClusterConfig("c", shards=2, copies=2, limits=Limits(max_key_bytes=99))
    assert pickle.loads(pickle.dumps(config)) == config
    state = config.__getstate__()
    del state["copies"]  # what the older one does not know
    state["invented_later"] = 7  # what only a newer one knows
    older = object.__new__(ClusterConfig)
    older.__setstate__(state)
    assert older == ClusterConfig("c", shards=2, limits=Limits(max_key_bytes=99))


@pytest.mark.parametrize(("settings", "text"), [
    ({"metrics_port": 6400, "gateway_port": 6400}, "metrics_port 6400"),
    ({"metrics_port": 7001, "port": 7000}, "metrics_port 7001"), ({"metrics_port": 70_000}, "metrics_port"),
    ({"measure_every": 0}, "measure_every"), ({"log_format": "xml"}, "log_format"),
    ({"tracing": "no path"}, "tracing")])
def test_settings_of_metrics_that_make_no_sense_are_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ClusterConfig(name="c", **settings)
