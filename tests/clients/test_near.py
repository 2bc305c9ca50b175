"""Near caches of both handles on real shards: what is served from the process, and when it stops being so."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import redis
from numpy.testing import assert_array_equal

from raycache.client import AsyncCache, Cache
from raycache.client.guarded import opened as opened_payload
from raycache.client.near_link import Links
from raycache.client.settings import ClientSettings
from raycache.errors import CallerError, RayCacheError
from raycache.near import NearStats, NearTable
from raycache.ring.slots import slot_of
from raycache.testing.local import LocalCluster
from tests.clients.handles import opened
from tests.clients.near_reading import PATIENT_S, Register, bring_near, is_near, table_of
from tests.clients.test_handle import keys_of
from tests.support import wait_until


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalCluster]:
    with LocalCluster(shards=2, gateway=False, secret="hush") as cluster:
        yield cluster


@pytest.fixture(params=["sync", "uvloop"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def handles(kind: str, shared: LocalCluster) -> Iterator[Callable[..., Any]]:
    """Opens handles on an empty cluster that no test breaks; closes them."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        made.append(opened(kind, shared.info, **({"near": "8MiB", "max_staleness_s": PATIENT_S} | options)))
        return made[-1]

    with Cache(shared.info) as cleaner:
        cleaner.clear()
    yield make
    for handle in made:
        handle.close()


def stats_of(cache: Any) -> NearStats:
    near = cache.stats().near
    assert isinstance(near, NearStats)
    return near


def test_the_second_read_is_answered_here(handles: Any) -> None:
    cache = handles()
    cache.set_many({"a": "1", "b": [1], "c": None})
    bring_near(cache, "a", "b", "c")
    shard_hits = cache.stats().hits
    assert (cache.get("a"), cache.get("b"), cache.get("c", "default")) == ("1", [1], None)
    assert cache.get_many(["a", "b", "c", b"a"]) == {"a": "1", "b": [1], "c": None, b"a": "1"}
    assert cache.stats().hits == shard_hits
    near = stats_of(cache)
    assert (near.entries, near.links) == (3, 2)
    assert near.capacity_bytes == 8 << 20
    assert cache.get("absent", 7) == 7
    assert not is_near(cache, "absent")


def test_get_many_fills_and_reads(handles: Any) -> None:
    cache = handles()
    values = {f"key:{number}": number for number in range(700)}
    cache.set_many(values)
    wait_until(lambda: cache.get_many(values) == values and stats_of(cache).entries == 700)
    fetches = stats_of(cache).fetches
    assert cache.get_many([*values, "absent"]) == values
    assert stats_of(cache).fetches == fetches + 1
    cache.get_many([])


@pytest.mark.parametrize("write", [
    lambda c: c.set("k", 2), lambda c: c.set_many({"k": 2}), lambda c: c.replace("k", 2), lambda c: c.incr("k"),
    lambda c: c.set("k", 2, ttl=100), lambda c: c.compare_and_set("k", 2, c.get_with_version("k").version),
    lambda c: c.update("k", lambda old: old + 1),
], ids=["set", "set_many", "replace", "incr", "ttl", "compare_and_set", "update"])
def test_own_writes_count_at_once_and_others_hear_of_them(handles: Any, write: Callable[[Any], object]) -> None:
    writer, reader = handles(), handles()
    writer.set("k", 1)
    bring_near(writer, "k")
    bring_near(reader, "k")
    write(writer)
    assert writer.get("k") == 2
    assert writer.get_many(["k"]) == {"k": 2}
    wait_until(lambda: reader.get("k") == 2)
    bring_near(reader, "k")


@pytest.mark.parametrize("remove", [
    lambda c: c.delete("k"), lambda c: c.delete_many(["k"]), lambda c: c.clear(), lambda c: c.delete_prefix("k"),
    lambda c: c.touch("k", 0.001),
], ids=["delete", "delete_many", "clear", "delete_prefix", "touch"])
def test_what_is_removed_is_not_served(handles: Any, remove: Callable[[Any], object]) -> None:
    writer, reader = handles(), handles()
    writer.set("k", 1)
    bring_near(writer, "k")
    bring_near(reader, "k")
    remove(writer)
    wait_until(lambda: writer.get("k") is None, message="own removal")
    wait_until(lambda: reader.get("k") is None, message="another's removal")


def test_a_value_lives_no_longer_here_than_at_its_shard(handles: Any) -> None:
    cache = handles()
    cache.set("warm", 1)
    bring_near(cache, "warm")
    cache.set("short", 1, ttl=0.3)
    end_s = time.monotonic() + 0.3
    cache.get("short")
    while cache.get("short") is not None:
        assert time.monotonic() < end_s + 5.0
    assert time.monotonic() < end_s + 0.25  # without waiting for the announcement, which comes with the wheel


def test_each_caller_gets_a_value_of_its_own(handles: Any) -> None:
    cache = handles()
    array = np.arange(6)
    cache.set_many({"list": [1, {"a": 2}], "array": array})
    bring_near(cache, "list", "array")
    cache.get("list")[1]["a"] = "changed"
    changed = cache.get("array")
    changed += 1
    cache.get_many(["list"])["list"].clear()
    assert cache.get("list") == [1, {"a": 2}]
    assert_array_equal(cache.get("array"), array)


def test_reads_with_wishes_go_past_it(handles: Any) -> None:
    cache = handles()
    cache.set("k", 1)
    bring_near(cache, "k")
    hits = stats_of(cache).hits
    assert cache.get("k", read_from="primary") == cache.get_many(["k"], read_from="replica")["k"] == 1
    assert stats_of(cache).hits == hits


def test_values_with_tags_and_a_grace_count_as_long_as_their_tags_and_lifetimes(handles: Any) -> None:
    cache, other = handles(), handles()
    assert cache.get_or_load("tagged", lambda: 1, ttl=100, tags=["t"]) == 1
    assert cache.get_or_load("loaded", lambda: 1, ttl=100) == 1
    assert cache.get_or_load("grace", lambda: 1, ttl=0.3, jitter=0, stale_ttl=100) == 1
    bring_near(cache, "loaded", "tagged", "grace")
    assert cache.get_many(["tagged", "loaded"]) == {"tagged": 1, "loaded": 1}
    other.invalidate_tags("t")
    wait_until(lambda: cache.get("tagged") is None)
    assert cache.get_many(["tagged", "loaded"]) == {"loaded": 1}
    wait_until(lambda: cache.get("grace") is None)
    assert "grace" not in cache.get_many(["grace", "loaded"])
    assert other.get_or_load("tagged", lambda: 2, tags=["t"]) == 2
    bring_near(cache, "tagged")
    cache.invalidate_tags("t")
    assert cache.get("tagged") is None


def test_a_full_near_cache_lets_the_oldest_go(handles: Any) -> None:
    cache = handles(near=64 * 1024)
    values = {f"key:{number}": b"x" * 400 for number in range(200)}
    cache.set_many(values)
    bring_near(cache, "key:0")
    for key, value in values.items():
        assert cache.get(key) == value
    near = stats_of(cache)
    assert near.evicted > 0
    assert near.used_bytes <= near.capacity_bytes == 64 * 1024
    cache.set("large", b"x" * 10_000)
    assert cache.get("large") == b"x" * 10_000
    assert not is_near(cache, "large")


def test_eviction_at_the_shard_reaches_here(kind: str) -> None:
    with LocalCluster(shards=1, gateway=False, memory_per_shard_bytes=1 << 20) as cluster:
        cache = opened(kind, cluster.info, near="8MiB", max_staleness_s=PATIENT_S)
        filler = Cache(cluster.info)
        cache.set("k", 1)
        bring_near(cache, "k")
        filler.set_many({f"filler:{number}": b"x" * 1000 for number in range(2000)})
        wait_until(lambda: cache.get("k") is None)
        filler.close()
        cache.close()


def test_a_handle_pickles_with_its_settings_and_without_its_values(shared: LocalCluster) -> None:
    with Cache(shared.info, near="1MiB", max_staleness_s=PATIENT_S) as cache:
        cache.set("k", 1)
        bring_near(cache, "k")
        with pickle.loads(pickle.dumps(cache)) as again:
            near = stats_of(again)
            assert (near.entries, near.capacity_bytes) == (0, 1 << 20)
            bring_near(again, "k")


def test_a_closed_handle_serves_nothing(shared: LocalCluster) -> None:
    cache = Cache(shared.info, near="1MiB")
    cache.set("k", 1)
    bring_near(cache, "k")
    cache.close()
    assert len(table_of(cache)) == 0
    with pytest.raises(CallerError):
        cache.get("k")


def test_dropped_links_take_their_threads_with_them(shared: LocalCluster) -> None:
    before = {thread for thread in threading.enumerate() if thread.name == "raycache-near"}
    table, info = NearTable(1 << 20, opened_payload, threading.Lock()), shared.info
    held = [Links(table, ClientSettings(), PATIENT_S, lambda: info.login)]
    wait_until(lambda: held[0].source(shared.addresses[0]) is not None)
    mine = {thread for thread in threading.enumerate() if thread.name == "raycache-near"} - before
    assert len(mine) == held[0].count() == 1
    held.clear()
    wait_until(lambda: not any(thread.is_alive() for thread in mine))
    assert table.emptied == 1


@pytest.mark.parametrize(("options", "said"), [
    ({"near": "0"}, "positive"), ({"near": "much"}, "not a size"), ({"near": 1, "max_staleness_s": 0.001}, "from 0.02"),
    ({"near": 1, "read_from": "nearest"}, "primary"),
])
def test_settings_that_make_no_sense_are_refused(shared: LocalCluster, options: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Cache(shared.info, **options)


def test_who_miss_a_key_at_the_same_time_share_one_fetch(kind: str) -> None:
    with LocalCluster(shards=1, gateway=False) as cluster:
        cache = opened(kind, cluster.info, near="8MiB", max_staleness_s=PATIENT_S)
        cache.set_many({"k": [1], "warm": 1})
        bring_near(cache, "warm")
        table = table_of(cache)
        fetches, misses = table.fetches, table.misses
        cluster.pause(0)
        with ThreadPoolExecutor(12) as pool:
            reads = [pool.submit(cache.get, "k") for _ in range(10)] + [pool.submit(cache.get_many, ["k"])]
            wait_until(lambda: table.misses == misses + 11)
            if kind == "sync":  # a task that has missed it waits already; a thread does so in a moment
                wait_until(lambda: len(table._flights[b"k"].done._waiting) == 10)
            cluster.resume(0)
            values = [read.result(10) for read in reads]
        assert values == [*[[1]] * 10, {"k": [1]}]
        assert len({id(value) for value in values[:10]}) == 10
        assert table.fetches == fetches + 1
        cache.close()


async def test_a_cancelled_leader_takes_nobody_with_it() -> None:
    with LocalCluster(shards=1, gateway=False) as cluster:
        async with AsyncCache(cluster.info, near="8MiB", max_staleness_s=PATIENT_S) as cache:
            await cache.set("k", 7)
            cluster.pause(0)
            leader, follower = asyncio.create_task(cache.get("k")), asyncio.create_task(cache.get("k"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            leader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leader
            cluster.resume(0)
            assert await follower == 7


# What breaks


@pytest.fixture
def own(kind: str) -> Iterator[tuple[LocalCluster, Any]]:
    """Two shards with one copy for this test alone, and a near handle."""
    with LocalCluster(shards=2, gateway=False) as cluster:
        cache = opened(kind, cluster.info, near="8MiB", max_staleness_s=PATIENT_S, timeout_s=5.0)
        yield cluster, cache
        cache.close()


def test_a_lost_connection_empties_what_came_by_it(own: tuple[LocalCluster, Any]) -> None:
    cluster, cache = own
    (lost, *_), (kept, *_) = keys_of(cluster, 0), keys_of(cluster, 1)
    cache.set_many({lost: 1, kept: 2})
    bring_near(cache, lost, kept)
    cluster.kill(0)
    table = table_of(cache)
    wait_until(lambda: len(table) == 1, message="the values of a dead shard are still there")
    assert cache.get(kept) == 2
    cluster.restart(0)
    wait_until(lambda: _quietly(cache.get, lost, "gone") == "gone")
    cache.set(lost, 3)
    bring_near(cache, lost)


def _quietly(function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except RayCacheError as error:
        return error


def test_slots_that_move_take_their_values_with_them(own: tuple[LocalCluster, Any]) -> None:
    cluster, cache = own
    moved, *_ = keys_of(cluster, 0)
    cache.set(moved, "old")
    bring_near(cache, moved)

    def give_away(topology: Any) -> Any:
        owners = topology.owners.copy()
        owners[slot_of(moved.encode())] = 1
        return owners

    cluster.move(give_away)
    with Cache(cluster.info) as writer:
        writer.set(moved, "new")
        wait_until(lambda: cache.get(moved) == "new", message="what is at the old owner is still served")
    bring_near(cache, moved)


def test_a_shard_that_stands_still_is_believed_for_so_long_and_no_longer(kind: str) -> None:
    with LocalCluster(shards=2, gateway=False) as cluster:
        cache = opened(kind, cluster.info, near="8MiB", max_staleness_s=0.5, timeout_s=1.0)
        paused, *_ = keys_of(cluster, 0)
        cache.set(paused, 1)
        bring_near(cache, paused)
        cluster.pause(0)
        paused_s = time.monotonic()
        while True:
            began_s = time.monotonic()
            if isinstance(_quietly(cache.get, paused), RayCacheError):
                break
            assert began_s - paused_s < 0.5, "served without a sign of life"
        cluster.resume(0)
        bring_near(cache, paused)
        cache.close()


def die_and_come_back(cluster: LocalCluster, register: Register) -> None:
    cluster.kill(0)
    register.wait_for_more()
    cluster.restart(0)
    cluster.wait_until_settled()
    register.wait_for_more()


def stand_still(cluster: LocalCluster, register: Register) -> None:
    cluster.pause(1)
    register.wait_for_more(200)  # others have taken over by then
    cluster.resume(1)
    register.wait_for_more()


def grow(cluster: LocalCluster, register: Register) -> None:
    cluster.scale(3)
    register.wait_for_more()


@pytest.mark.parametrize(("kind", "trouble", "shards"), [("uvloop", die_and_come_back, 3), ("sync", stand_still, 3),
                                                         ("sync", grow, 2)])
def test_nothing_too_old_is_read_whatever_happens_to_shards(
    kind: str, trouble: Callable[[LocalCluster, Register], None], shards: int
) -> None:
    with LocalCluster(shards=shards, gateway=False, copies=2) as cluster:
        cache = opened(kind, cluster.info, near="8MiB", max_staleness_s=0.4, timeout_s=PATIENT_S)
        writer = Cache(cluster.info, timeout_s=PATIENT_S)
        with Register(writer, cache, 0.4, [f"key:{number}" for number in range(12)]) as register:
            register.wait_for_more()
            trouble(cluster, register)
        assert not register.failures, register.failures[0]
        near = table_of(cache)
        assert near.hits > 0
        assert near.emptied > 0
        assert near.invalidated > 0
        writer.close()
        cache.close()


@pytest.mark.parametrize("mode", ["multi-primary", "quorum"])
def test_writes_at_another_owner_reach_here(mode: str) -> None:
    with LocalCluster(shards=3, gateway=False, copies=3, replication=mode) as cluster:
        cache = Cache(cluster.info, near="8MiB", max_staleness_s=PATIENT_S)
        writer = Cache(cluster.info)
        key, *_ = keys_of(cluster, 0)
        writer.set(key, 1, acks=2)
        bring_near(cache, key)
        elsewhere = [address for number, address in enumerate(cluster.addresses) if number]
        for number, (host, port) in enumerate(elsewhere):
            with redis.Redis(host=host, port=port) as client:
                client.set(key, f"elsewhere {number}")
            wait_until(lambda number=number: cache.get(key) == b"elsewhere %d" % number)
            bring_near(cache, key)
        writer.close()
        cache.close()
