"""One suite for Cache and AsyncCache (on asyncio and on uvloop) against real shard servers on real sockets."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

from raycache.client import ConnectionInfo
from raycache.errors import (
    AuthenticationError,
    ClusterNotFoundError,
    KeyTooLargeError,
    NotANumberError,
    OutOfMemoryError,
    RetryableError,
    ValueTooLargeError,
)
from raycache.ring.slots import slot_of
from raycache.testing.local import LocalCluster
from tests.clients.handles import opened

DEADLINE_S = 1.0


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalCluster]:
    with LocalCluster(shards=3, gateway=False, secret="hush") as cluster:
        yield cluster


@pytest.fixture(params=["sync", "asyncio", "uvloop"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cache(kind: str, shared: LocalCluster) -> Iterator[Any]:
    """A handle on an empty cluster that no test breaks."""
    handle = opened(kind, shared.info)
    handle.clear()
    yield handle
    handle.close()


@pytest.fixture
def own(kind: str) -> Iterator[tuple[LocalCluster, Any]]:
    """A cluster for this test alone, and a handle on it with a short deadline."""
    with LocalCluster(shards=3, gateway=False) as cluster:
        handle = opened(kind, cluster.info, timeout_s=DEADLINE_S)
        yield cluster, handle
        handle.close()


def keys_of(cluster: LocalCluster, shard: int, count: int = 20) -> list[str]:
    """Keys that shard number `shard` owns."""
    owners = cluster.topology.owners[:, 0]
    keys = (f"key:{i}" for i in range(100_000))
    return list(islice((key for key in keys if owners[slot_of(key.encode())] == shard), count))


@pytest.mark.parametrize(
    "value",
    [
        None, True, 0, -(2**63), 2**200, 1.5, "", "text \udcff", b"", b"\x00raw", [1, (2, {"a": b"b"})],
        {("t", 1): {2}}, bytearray(b"x"), "x" * 300_000, b"y" * 3_000_000,
    ],
    ids=lambda value: f"{type(value).__name__}",
)  # fmt: skip
def test_values_come_back_as_they_were(cache: Any, value: Any) -> None:
    cache.set("k", value)
    again = cache.get("k", "default")
    assert (again, type(again)) == (value, type(value))
    assert cache.get_many(["k"]) == {"k": value}


def test_an_array_comes_back_writable(cache: Any) -> None:
    array = np.arange(12, dtype=">i4").reshape(3, 4)
    cache.set("a", array)
    again = cache.get("a")
    assert (again.dtype, again.tolist()) == (array.dtype, array.tolist())
    again += 1


def test_absent_keys_are_told_from_none(cache: Any) -> None:
    cache.set("none", None)
    assert (cache.get("none", 1), cache.get("absent", 1), cache.get("absent")) == (None, 1, None)
    assert cache.get_many(["none", "absent"]) == {"none": None}
    assert (cache.exists("none"), cache.exists("absent")) == (True, False)


def test_conditions(cache: Any) -> None:
    assert (cache.replace("k", 1), cache.add("k", 2), cache.add("k", 3), cache.get("k")) == (False, True, False, 2)
    assert (cache.replace("k", 4), cache.get("k")) == (True, 4)
    assert (cache.delete("k"), cache.delete("k"), cache.get("k")) == (True, False, None)


def test_keys_live_as_long_as_they_are_told(cache: Any) -> None:
    cache.set("short", 1, ttl=0.05)
    cache.set("long", 1, ttl=100)
    assert 99 < cache.ttl("long") <= 100
    assert cache.touch("long", None)
    assert cache.ttl("long") == math.inf
    assert cache.touch("long", None)
    assert cache.touch("long", 50)
    assert 49 < cache.ttl("long") <= 50
    cache.set("long", 2)
    assert cache.ttl("long") == math.inf
    give_up = time.monotonic() + 5
    while cache.exists("short") and time.monotonic() < give_up:
        time.sleep(0.01)
    assert (cache.get("short"), cache.ttl("short"), cache.touch("short", 5)) == (None, None, False)


def test_counters(cache: Any) -> None:
    assert [cache.incr("n"), cache.incr("n", 10), cache.decr("n", 3), cache.get("n")] == [1, 11, 8, 8]
    cache.set("five", 5)
    assert cache.incr("five") == 6
    cache.incr("timed", ttl=100)
    assert 0 < cache.ttl("timed") <= 100
    cache.set("words", "many")
    for key, delta in (("words", 1), ("n", 2**63 - 1)):
        with pytest.raises(NotANumberError):
            cache.incr(key, delta)
    assert (cache.get("words"), cache.get("n")) == ("many", 8)


def test_compare_and_set(cache: Any) -> None:
    assert cache.compare_and_set("k", "first", 0)
    assert not cache.compare_and_set("k", "again", 0)
    seen = cache.get_with_version("k")
    assert (seen.value, seen.version > 0, cache.get_with_version("absent")) == ("first", True, None)
    assert cache.compare_and_set("k", "second", seen.version, ttl=100)
    assert not cache.compare_and_set("k", "third", seen.version)
    assert (cache.get("k"), cache.ttl("k") <= 100) == ("second", True)
    cache.delete("k")
    assert not cache.compare_and_set("k", "fourth", seen.version)


def test_many_keys_on_all_shards(cache: Any, shared: LocalCluster) -> None:
    values = {f"key:{i}": i for i in range(20_000)}
    cache.set_many(values)
    asked = [*values, "absent"]
    found = cache.get_many(asked)
    assert found == values
    assert list(found) == list(values)
    assert cache.stats().entries == 20_000
    assert cache.delete_many([*list(values)[:9_000], "absent"]) == 9_000
    assert len(cache.get_many(values)) == 11_000
    assert cache.clear() == 11_000
    assert cache.get_many(values) == {}


def test_set_many_with_a_ttl(cache: Any) -> None:
    cache.set_many({"a": 1, b"b": "x"}, ttl=100)
    assert (cache.get_many([b"b", "a"]), cache.ttl("a") <= 100) == ({b"b": "x", "a": 1}, True)


def test_scan_sees_every_key_with_the_prefix(cache: Any) -> None:
    users = {f"user:{i}" for i in range(3_000)}
    cache.set_many(dict.fromkeys([*users, *(f"other:{i}" for i in range(500))], 1))
    cache.set(b"user:\xff", 1)
    assert set(cache.scan("user:", batch=100)) == users | {"user:\udcff"}
    assert set(cache.scan(b"user:\xff")) == {b"user:\xff"}
    assert cache.get("user:\udcff") == 1
    assert len(set(cache.scan())) == 3_501
    assert list(cache.scan("*")) == []  # a prefix, not a pattern


def test_statistics(cache: Any) -> None:
    before = cache.stats()
    cache.set("k", 1)
    cache.get("k")
    cache.get("absent")
    after = cache.stats()
    assert (after.hits - before.hits, after.misses - before.misses) == (1, 1)
    assert [shard.shard_id for shard in after.shards] == ["s0", "s1", "s2"]
    assert (after.unreachable, after.epoch > 0, after.used_bytes > before.used_bytes) == ((), True, True)
    assert sum(shard.slots for shard in after.shards) == 16384


def test_keys_that_are_too_large_are_refused_and_harm_nothing(cache: Any) -> None:
    with pytest.raises(KeyTooLargeError):
        cache.set("k" * 70_000, 1)
    with pytest.raises(KeyTooLargeError):
        cache.set_many({"k" * 70_000: 1})
    with pytest.raises(KeyTooLargeError):
        cache.get("k" * 70_000)
    cache.set("k", 1)
    assert cache.get("k") == 1


def test_a_value_larger_than_a_shard_is_refused(kind: str) -> None:
    with LocalCluster(shards=1, gateway=False, memory_per_shard_bytes=2 * 1024 * 1024) as cluster:
        handle = opened(kind, cluster.info)
        try:
            with pytest.raises((ValueTooLargeError, OutOfMemoryError)):
                handle.set("k", b"x" * 4_000_000)
            handle.set("k", 1)
            assert handle.get("k") == 1
        finally:
            handle.close()


def test_one_seed_is_enough(kind: str, shared: LocalCluster) -> None:
    handle = opened(kind, ConnectionInfo("local", (shared.addresses[0],), "hush"))
    try:
        handle.set_many({f"k{i}": i for i in range(100)})
        assert len(handle.get_many([f"k{i}" for i in range(100)])) == 100
    finally:
        handle.close()


def test_another_clusters_address_is_refused(kind: str, shared: LocalCluster) -> None:
    handle = opened(kind, ConnectionInfo("other", tuple(shared.addresses), "hush"))
    try:
        with pytest.raises(ClusterNotFoundError, match="serves cluster 'local', not 'other'"):
            handle.set("k", 1)
    finally:
        handle.close()


@pytest.mark.parametrize("secret", [None, "guess"])
def test_nobody_gets_in_without_the_secret(kind: str, shared: LocalCluster, secret: str | None) -> None:
    handle = opened(kind, ConnectionInfo("local", tuple(shared.addresses), secret))
    try:
        with pytest.raises(AuthenticationError):
            handle.get("k")
    finally:
        handle.close()


def test_slots_that_move_are_followed(own: tuple[LocalCluster, Any]) -> None:
    cluster, handle = own
    keys = keys_of(cluster, 0)
    handle.set_many(dict.fromkeys(keys, "old"))

    def all_to_the_second(topology: Any) -> Any:
        return np.ones_like(topology.owners)

    cluster.move(all_to_the_second)
    assert handle.get_many(keys) == {}
    handle.set(keys[0], "new")
    assert (handle.get(keys[0]), handle.incr("n"), handle.stats().epoch) == ("new", 1, cluster.topology.epoch)


def test_a_dead_shard_is_a_clear_error_and_touches_no_other_key(own: tuple[LocalCluster, Any]) -> None:
    cluster, handle = own
    lost, kept = keys_of(cluster, 0), keys_of(cluster, 1)
    handle.set_many(dict.fromkeys([*lost, *kept], 1))
    cluster.kill(0)
    started = time.monotonic()
    for work in (lambda: handle.get(lost[0]), lambda: handle.incr(lost[0]), lambda: handle.get_many(lost)):
        with pytest.raises(RetryableError):
            work()
    # Three deadlines and room for a loaded machine; without a deadline it would be for ever.
    assert time.monotonic() - started < 3 * DEADLINE_S + 5
    assert handle.get_many(kept) == dict.fromkeys(kept, 1)
    assert handle.stats().unreachable == ("s0",)
    cluster.restart(0)
    assert handle.get_many([*lost, *kept]) == dict.fromkeys(kept, 1)
    handle.set(lost[0], 2)
    assert handle.get(lost[0]) == 2


def test_an_operation_waits_for_a_shard_that_comes_back_in_time(kind: str) -> None:
    with LocalCluster(shards=2, gateway=False) as cluster:
        handle = opened(kind, cluster.info, timeout_s=20)
        try:
            key = keys_of(cluster, 0, 1)[0]
            handle.set(key, 1)
            cluster.kill(0)
            back = threading.Timer(0.2, cluster.restart, (0,))
            back.start()
            assert handle.incr(key) == 1
            back.join()
        finally:
            handle.close()
