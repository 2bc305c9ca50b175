"""Large values that are loaded through the cache: objects in Ray's store, read as views, gone with their entries."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import raycache
from raycache.actors import calls
from tests.cluster.test_large import ARRAY, KIB, MIB, Start, kill_shard, objects, used_bytes
from tests.support import wait_until

Value = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def cluster(ray_cluster: str) -> Iterator[str]:
    """Two shards for all tests here; 16 MiB of objects each."""
    name = "large-loads"
    raycache.start(name, shards=2, memory="64MiB", object_memory="32MiB")
    yield name
    raycache.stop(name)


@pytest.fixture
def small(cluster: str) -> Iterator[raycache.Cache]:
    """A handle for which 64 KiB are large already; the cluster is empty."""
    with raycache.connect(cluster, large_from="64KiB") as cache:
        cache.clear()
        wait_until(lambda: objects(cache) == 0, 20)
        yield cache


class Loader:
    """Returns arrays that begin with how many there have been."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: Any) -> Value:
        self.calls += 1
        return ARRAY + self.calls

    def many(self, keys: list[str]) -> dict[str, Value]:
        return {key: self(key) for key in keys}


def near_hits(function: Any) -> int:
    near = function._source.get()._through.near
    return int(near.stats().hits)


def lease_waits(cache: raycache.Cache) -> int:
    return sum(shard.lease_waits for shard in cache.stats().shards)


def is_view(value: Any) -> bool:
    return not value.flags.writeable


def test_what_is_loaded_becomes_an_object_and_is_read_as_a_view(small: raycache.Cache, cluster: str) -> None:
    load = Loader()
    assert small.get_or_load("k", load, ttl=100, tags=["t"])[0] == 1
    assert objects(small) == 1
    for found in (small.get_or_load("k", load, tags=["t"]), small.get_or_load("k", load), small.get("k"),
                  small.get_many(["k"])["k"], small.get_or_load_many(["k"], load.many)["k"]):
        assert np.array_equal(found, ARRAY + 1)
        assert is_view(found)
    result, versioned = small.get_result("k"), small.get_with_version("k")
    assert result is not None
    assert versioned is not None
    assert is_view(result.value)
    assert is_view(versioned.value)
    assert 0 < (small.ttl("k") or 0) <= 100
    with raycache.connect(cluster, address=raycache.status(cluster).shards[0].address) as elsewhere:
        found = elsewhere.get_or_load("k", load)  # as from outside Ray: by the socket
        assert found.flags.writeable
        assert np.array_equal(found, ARRAY + 1)
        assert np.array_equal(elsewhere.get("k"), ARRAY + 1)
    assert load.calls == 1
    small.invalidate_tags("t")
    assert small.get("k") is None
    assert small.explain("k").missed == "invalidated"
    assert small.get_or_load("k", load, tags=["t"])[0] == 2
    assert objects(small) == 1

    many = small.get_or_load_many(["a", "k", "b"], lambda keys: dict.fromkeys(keys, ARRAY), tags=["t"])
    assert list(many) == ["a", "k", "b"]
    assert objects(small) == 3
    table = pa.table({"x": np.arange(50_000)})
    data = {"table": table, "bytes": b"x" * 100_000, "list": list(range(50_000)), "little": [1]}
    assert small.get_or_load_many(data, lambda keys: data) == data
    assert small.get_or_load_many(data, lambda keys: {}) == data
    assert objects(small) == 6
    small.get_or_load("none", load, cache_if=lambda value: False)
    assert objects(small) == 6


def test_the_same_for_asyncio_and_for_decorated_functions(small: raycache.Cache, cluster: str) -> None:
    calls_made: list[int] = []

    @raycache.cached(cluster, ttl=100, tags=["t"])
    def weights(number: int) -> Value:
        calls_made.append(number)
        return np.full(MIB, number)  # 8 MiB: large by default

    @raycache.cached(cluster, near="8MiB", large_from="16KiB")
    def little(number: int) -> Value:
        calls_made.append(number)
        return np.full(4 * KIB, number)  # 32 KiB

    assert weights(1)[0] == 1
    assert is_view(weights(1))
    assert weights.refresh(1)[0] == 1
    assert is_view(weights(1))
    assert little(2)[0] == 2
    wait_until(lambda: is_view(little(2)) and near_hits(little) > 0, 20)
    assert calls_made == [1, 1, 2]
    assert objects(small) == 2
    small.delete(little.key(2))

    async def use() -> None:
        load = Loader()
        async with await raycache.connect_async(cluster, large_from="64KiB") as cache:
            found = await asyncio.gather(*(cache.get_or_load("k", load, ttl=100, tags=["t"]) for _ in range(20)))
            assert {value[0] for value in found} == {1}
            assert is_view(await cache.get_or_load("k", load))
            assert is_view(await cache.get("k"))
            both = await cache.get_or_load_many(["k", "l"], load.many, tags=["t"])
            assert [is_view(both["k"]), load.calls] == [True, 2]
            await cache.invalidate_tags("t")
            assert await cache.get("k") is None
            assert await cache.get_or_load("l", load, tags=["t"]) is not None
            assert load.calls == 3

    asyncio.run(use())
    assert objects(small) == 3


def test_those_who_wait_get_a_view_and_nobody_loads_twice(small: raycache.Cache, cluster: str) -> None:
    load, begun, go_on = Loader(), threading.Event(), threading.Event()
    found: list[Value] = []

    def slow() -> Value:
        begun.set()
        assert go_on.wait(30)
        return load()

    waits = lease_waits(small)
    with raycache.connect(cluster, large_from="64KiB", timeout_s=30) as other:
        threads = [threading.Thread(target=lambda handle=handle: found.append(handle.get_or_load("k", slow)))
                   for handle in (small, small, other, other)]
        threads[0].start()
        assert begun.wait(30)
        for thread in threads[1:]:
            thread.start()
        wait_until(lambda: lease_waits(small) > waits, 20)
        go_on.set()
        for thread in threads:
            thread.join(30)
    assert [value[0] for value in found] == [1] * 4
    assert [is_view(value) for value in found].count(True) == 3  # all but who has loaded it
    assert load.calls == 1


def test_early_stale_and_fallback_serve_the_view(small: raycache.Cache) -> None:
    load = Loader()

    def fails() -> Value:
        raise OSError("no database")

    small.get_or_load("early", load, ttl=100)
    assert is_view(small.get_or_load("early", load, beta=1e12))  # due at once
    wait_until(lambda: small.get_or_load("early", load, beta=0)[0] == 2, 20)
    small.get_or_load("stale", load, ttl=0.001, stale_ttl=100)
    found = small.get_or_load("stale", load, ttl=100, stale_ttl=100)
    assert (is_view(found), found[0]) == (True, 3)
    wait_until(lambda: small.get_or_load("stale", load, ttl=100, stale_ttl=100)[0] == 4, 20)
    small.get_or_load("fallback", load, ttl=0.001, stale_if_error=100)
    wait_until(lambda: small.get("fallback") is None)
    found = small.get_or_load("fallback", fails, stale_if_error=100)
    assert (is_view(found), found[0]) == (True, 5)
    both = small.get_or_load_many(["fallback"], lambda keys: fails(), stale_if_error=100)  # type: ignore[arg-type,return-value]
    assert is_view(both["fallback"])
    assert objects(small) == 3


def test_a_lost_object_is_loaded_again(cluster_name: str, start: Start) -> None:
    start(shards=2, memory="64MiB", copies=2, object_copies="one")
    load = Loader()
    with raycache.connect(cluster_name, large_from="64KiB", timeout_s=30) as cache:
        for name in ("a", "b", "c", "d"):
            cache.get_or_load(name, load)
        owner = cache.explain("a").owners[0]
        lost = [name for name in "abcd" if cache.explain(name).owners[0] == owner]
        assert objects(cache) == 4
        kill_shard(cluster_name, owner)
        wait_until(lambda: cache.explain(lost[0]).owners[0] != owner, 30)
        for name in lost:  # Ray takes its time to free what the dead owned, so some may be there still
            assert cache.get_or_load(name, load)[-1] - ARRAY[-1] >= 1
            assert cache.get_or_load_many([name], load.many)[name][-1] - ARRAY[-1] >= 1


def test_nothing_is_left_of_what_was_loaded(small: raycache.Cache) -> None:
    before = used_bytes()
    array = np.zeros(2 * MIB, np.uint8)
    for number in range(4):
        small.get_or_load(f"k{number}", lambda: array)
    assert used_bytes() > before + 4 * array.nbytes
    small.delete("k0")
    small.get_or_load("k0", lambda: array)                     # replaced
    small.get_or_load("short", lambda: array, ttl=0.05)        # expires
    small.set("k1", 1)                                         # replaced by a small one
    small.get_or_load("passed on", lambda: array, cache_if=lambda value: False)

    def slow() -> Value:
        small.delete("lost")  # the lease is void, and the value not stored
        return array

    assert small.get_or_load("lost", slow) is array
    assert not small.exists("lost")
    wait_until(lambda: objects(small) == 3, 20)  # when the short one has gone
    small.clear()
    wait_until(lambda: objects(small) == 0, 20)
    wait_until(lambda: used_bytes() <= before, 30)


def test_a_full_budget_evicts_what_was_loaded(small: raycache.Cache) -> None:
    array = np.zeros(4 * MIB, np.uint8)  # with what stands in front of it, three of a shard's 16 MiB
    for name in ("{s}a", "{s}b", "{s}c", "{s}a", "{s}d"):
        small.get_or_load(name, lambda: array)
    assert [small.exists("{s}" + name) for name in "abcd"] == [True, False, True, True]
    assert small.explain("{s}b").missed == "evicted"
    huge = np.zeros(17 * MIB, np.uint8)  # no object can be so large here: through the socket
    assert small.get_or_load("huge", lambda: huge) is huge
    assert small.get_or_load("huge", lambda: array).nbytes == huge.nbytes
    assert objects(small) == 3


def test_where_the_shard_takes_no_object_the_value_goes_through_the_socket(small: raycache.Cache,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> bool:
        raise OSError("no")

    monkeypatch.setattr(calls, "stage_object", refuse)
    load = Loader()
    small.get_or_load("k", load)
    assert small.get_or_load("k", load).flags.writeable
    monkeypatch.setattr(calls, "stage_object", lambda *_: True)  # it says that it has it, and has it not
    small.get_or_load("l", load)
    assert small.get_or_load("l", load).flags.writeable
    assert (load.calls, objects(small)) == (2, 0)


def shard_reads(cache: raycache.Cache) -> int:
    stats = cache.stats()
    return stats.hits + stats.misses


def stays_near(cache: raycache.Cache, read: Callable[[], object]) -> bool:
    """Whether `read` asks no shard."""
    before = shard_reads(cache)
    read()
    return shard_reads(cache) == before


def test_a_near_cache_keeps_where_large_values_are(small: raycache.Cache, cluster: str) -> None:
    load = Loader()
    small.set("set", ARRAY)
    with raycache.connect(cluster, large_from="64KiB", near="8MiB", max_staleness_s=30, timeout_s=30) as near:

        def value_of(read: Callable[[], Value]) -> Value:
            """What `read` returns when it asks no shard any more."""
            found: list[Value] = []

            def look() -> None:
                found[:] = [read()]

            wait_until(lambda: stays_near(small, look), 20)
            assert is_view(found[0])
            return found[0]

        assert near.get_or_load("k", load, ttl=100, tags=["t"])[0] == 1
        assert np.array_equal(value_of(lambda: near.get("set")), ARRAY)
        for read in (lambda: near.get_or_load("k", load, tags=["t"]), lambda: near.get("k"),
                     lambda: near.get_many(["k"])["k"], lambda: near.get_or_load_many(["k"], load.many)["k"]):
            assert np.array_equal(value_of(read), ARRAY + 1)
        small.invalidate_tags("t")
        small.set("set", ARRAY + 7)
        wait_until(lambda: near.get("k") is None and near.get("set")[0] == 7, 20)
        assert near.get_or_load("k", load, tags=["t"])[0] == 2
        assert value_of(lambda: near.get_or_load("k", load))[0] == 2
        near.delete("k")
        assert near.get_or_load("k", load)[0] == 3
    assert load.calls == 3

    async def use() -> None:
        async with await raycache.connect_async(cluster, large_from="64KiB", near="8MiB", timeout_s=30) as both:
            for _ in range(3):
                assert is_view(await both.get("set"))
                assert is_view(await both.get_or_load("k", load))

    asyncio.run(use())
    assert load.calls == 3

    # As from outside Ray: it keeps the value, because it could not make use of where it is.
    address = raycache.status(cluster).shards[0].address
    with raycache.connect(cluster, address=address, near="32MiB", max_staleness_s=30) as outside:
        wait_until(lambda: stays_near(small, lambda: outside.get_or_load("k", load)), 20)
        found = outside.get("k")
        assert found.flags.writeable
        assert found[0] == 3
    assert load.calls == 3
