"""Loading while things break: loaders that die, shards that die, slots that move; in every mode; and Redis clients."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from raycache.client import AsyncCache, Cache, ConnectionInfo
from raycache.client.workers import MAX_WORKERS
from raycache.errors import ReentrantLoadError
from raycache.ring.slots import slot_of
from raycache.testing.local import LocalCluster
from tests.clients.handles import opened
from tests.clients.test_loading import Loader, leases, waiters
from tests.support import wait_until

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=3, gateway=False) as running:
        yield running


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(20) as executor:
        yield executor


def started(program: str, cluster: LocalCluster) -> subprocess.Popen[str]:
    """Start a process that has `cache`, a handle on the cluster."""
    (host, port), *_ = cluster.addresses
    head = ("from raycache.client import Cache, ConnectionInfo\nimport threading, time\n"
            f"cache = Cache(ConnectionInfo('local', (({host!r}, {port}),)))\n")
    return subprocess.Popen([sys.executable, "-c", head + program], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


# Loaders in other processes


def test_a_loader_that_is_killed_frees_the_key_at_once(cluster: LocalCluster, pool: ThreadPoolExecutor) -> None:
    victim = started("cache.get_or_load('k', lambda: (print('loading', flush=True), time.sleep(60)), lease_s=60)\n",
                     cluster)
    assert victim.stdout is not None
    try:
        assert victim.stdout.readline() == "loading\n"
        with Cache(cluster.info) as cache:
            follower = pool.submit(cache.get_or_load, "k", Loader("mine", goes=True), wait_s=30)
            wait_until(lambda: waiters(cluster) == 1)
            killed_s = time.monotonic()
            victim.kill()
            assert follower.result(10) == "mine"
            assert time.monotonic() - killed_s < 2
            assert cache.get("k") == "mine"
    finally:
        victim.kill()
        victim.wait(10)
        victim.stdout.close()


def test_fifty_incrementers_in_four_processes_lose_nothing(cluster: LocalCluster) -> None:
    program = """
def work():
    for _ in range(4):
        cache.update('n', lambda old: old + 1, default=0, timeout_s=40)
threads = [threading.Thread(target=work) for _ in range({count})]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print('done')
"""
    processes = [started(program.format(count=count), cluster) for count in (13, 13, 12, 12)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert outputs == ["done\n"] * 4
    with Cache(cluster.info) as cache:
        assert cache.get("n") == 50 * 4


# The async handle alone


def run(cluster: LocalCluster, body: Any) -> None:
    async def main() -> None:
        async with AsyncCache(cluster.info) as mine, AsyncCache(cluster.info) as other:
            await body(mine, other)

    asyncio.run(main())


def test_a_cancelled_loader_frees_the_key(cluster: LocalCluster) -> None:
    async def body(mine: AsyncCache, other: AsyncCache) -> None:
        begun = asyncio.Event()

        async def hang() -> None:
            begun.set()
            await asyncio.sleep(60)

        async def load() -> str:
            return "mine"

        for follower in (mine, other):
            begun.clear()
            first = asyncio.create_task(mine.get_or_load("k", hang, lease_s=60))
            await begun.wait()
            second = asyncio.create_task(follower.get_or_load("k", load))
            if follower is other:
                await asyncio.to_thread(wait_until, lambda: waiters(cluster) == 1)
            else:
                await asyncio.sleep(0)
            first.cancel()
            assert await second == "mine"
            await mine.delete("k")

    run(cluster, body)


def test_who_stops_waiting_is_not_given_the_lease(cluster: LocalCluster) -> None:
    async def body(mine: AsyncCache, other: AsyncCache) -> None:
        go = asyncio.Event()

        async def load() -> str:
            await go.wait()
            return "loaded"

        first = asyncio.create_task(mine.get_or_load("k", load))
        await asyncio.to_thread(wait_until, lambda: leases(cluster) == 1)
        second = asyncio.create_task(other.get_or_load("k", load))
        await asyncio.to_thread(wait_until, lambda: waiters(cluster) == 1)
        second.cancel()
        await asyncio.to_thread(wait_until, lambda: waiters(cluster) == 0)
        first.cancel()
        await asyncio.to_thread(wait_until, lambda: leases(cluster) == 0)

    run(cluster, body)


def test_a_thousand_tasks_and_hundreds_of_keys_wait_at_once(cluster: LocalCluster) -> None:
    async def body(mine: AsyncCache, other: AsyncCache) -> None:
        calls: list[int] = []

        async def load() -> int:
            calls.append(1)
            await asyncio.sleep(0.1)
            return 1

        many = [handle.get_or_load("k", load) for handle in (mine, other) for _ in range(500)]
        wide = [handle.get_or_load(f"key:{number}", load) for handle in (mine, other) for number in range(150)]
        assert await asyncio.gather(*many, *wide) == [1] * 1300
        assert len(calls) == 151

    run(cluster, body)


def test_async_loads_may_load_and_are_not_deadlocked_by_themselves(cluster: LocalCluster) -> None:
    async def body(mine: AsyncCache, other: AsyncCache) -> None:
        async def again() -> Any:
            return await mine.get_or_load("k", again)

        async def through_another_task() -> Any:
            return await asyncio.create_task(other.get_or_load("k", again))

        async def nested() -> Any:
            return await mine.get_or_load("inner", lambda: 2) + 1

        for load in (again, through_another_task):
            with pytest.raises(ReentrantLoadError):
                await mine.get_or_load("k", load)
        assert await mine.get_or_load("k", nested) == 3

        async def many(keys: list[str]) -> dict[str, int]:
            return dict.fromkeys(keys, 7)

        async def one_more(old: int) -> int:
            return old + 1

        assert await mine.get_or_load_many(["x", "y"], many) == {"x": 7, "y": 7}
        assert await mine.update("x", one_more) == 8
        async with mine.invalidating("x", prefixes=["y"]):
            assert await mine.get_many(["x", "y"]) == {"y": 7}
        assert await mine.get_many(["x", "y"]) == {}

    run(cluster, body)


def test_a_task_that_outlives_the_load_that_started_it_may_load(cluster: LocalCluster) -> None:
    async def body(mine: AsyncCache, other: AsyncCache) -> None:
        tasks: list[asyncio.Task[Any]] = []
        over = asyncio.Event()

        async def later() -> Any:
            await over.wait()
            return await mine.get_or_load("k", lambda: 2)

        async def load() -> int:
            tasks.append(asyncio.create_task(later()))
            return 1

        assert await mine.get_or_load("k", load) == 1
        await mine.delete("k")
        over.set()
        assert await tasks[0] == 2

    run(cluster, body)


def test_a_refresh_that_a_load_has_started_is_no_part_of_it(cluster: LocalCluster) -> None:
    async def body(mine: AsyncCache, other: AsyncCache) -> None:
        refreshed = asyncio.Event()

        async def outer() -> int:
            return await mine.get_or_load("inner", inner, ttl=60, beta=1e15) + 10

        async def inner() -> int:
            value = await mine.get_or_load("outer", outer, ttl=60, beta=0)  # waits for it, and not the other way round
            refreshed.set()
            return value

        await mine.get_or_load("inner", lambda: 1, ttl=60)
        assert await mine.get_or_load("outer", outer, ttl=60, beta=0) == 11
        await asyncio.wait_for(refreshed.wait(), 10)

    run(cluster, body)


# Shards and slots


def key_at(cluster: LocalCluster, shard: int) -> str:
    owners = cluster.newest_topology.owners[:, 0]
    return next(key for key in (f"key:{number}" for number in range(10_000)) if owners[slot_of(key.encode())] == shard)


@pytest.mark.parametrize("mode", ["primary-replica", "multi-primary", "quorum"])
def test_one_loads_in_every_mode_and_the_death_of_the_shard_holds_nobody_up(mode: str,
                                                                           pool: ThreadPoolExecutor) -> None:
    with (LocalCluster(shards=3, copies=3 if mode == "quorum" else 2, gateway=False, replication=mode) as cluster,
          Cache(cluster.info) as one, Cache(cluster.info) as two):
        load = Loader(1)
        runs = [pool.submit(handle.get_or_load, "k", load) for handle in (one, two) for _ in range(3)]
        wait_until(lambda: waiters(cluster) == 1)
        load.go.set()
        assert ([each.result(10) for each in runs], load.calls) == ([1] * 6, 1)
        assert two.get("k") == 1
        # A write by another handle voids, also here.
        load = Loader("old")
        run_ = pool.submit(one.get_or_load, "v", load, tags=["t"])
        assert load.begun.wait(10)
        two.delete("v")
        load.go.set()
        assert (run_.result(10), two.get("v")) == ("old", None)
        # The shard dies while one loads and one waits there.
        key = key_at(cluster, 1)
        old, new = Loader("old"), Loader("new", goes=True)
        first = pool.submit(one.get_or_load, key, old, wait_s=20)
        assert old.begun.wait(10)
        second = pool.submit(two.get_or_load, key, new, wait_s=20)
        wait_until(lambda: waiters(cluster) == 1)
        cluster.kill(1)
        assert second.result(20) == "new"
        old.go.set()
        assert first.result(20) == "old"  # what was loaded is returned, and not stored
        assert two.get(key) == "new"


def test_a_slot_that_moves_during_a_load_wakes_who_waits(pool: ThreadPoolExecutor) -> None:
    with (LocalCluster(shards=2, gateway=False, router=True) as cluster, Cache(cluster.info) as one,
          Cache(cluster.info) as two):
        before = cluster.newest_topology.owners[:, 0].copy()
        # Which keys move is known only afterwards, so all of these are loaded meanwhile.
        keys = [f"key:{number}" for number in range(12)]
        old = Loader("old")
        new = Loader("new", goes=True)
        first = [pool.submit(one.get_or_load, key, old, wait_s=20) for key in keys]
        wait_until(lambda: leases(cluster) == len(keys))
        waiting = ThreadPoolExecutor(len(keys))
        second = [waiting.submit(two.get_or_load, key, new, wait_s=20) for key in keys]
        wait_until(lambda: waiters(cluster) == len(keys))
        cluster.scale(3)
        owners = cluster.newest_topology.owners[:, 0]
        moved = [before[slot_of(key.encode())] != owners[slot_of(key.encode())] for key in keys]
        assert 0 < sum(moved) < len(keys)
        for has_moved, run_ in zip(moved, second, strict=True):
            if has_moved:
                assert run_.result(20) == "new"
        old.go.set()
        assert [run_.result(20) for run_ in first] == ["old"] * len(keys)
        expected = ["new" if has_moved else "old" for has_moved in moved]
        assert [run_.result(20) for run_ in second] == expected
        assert [two.get(key) for key in keys] == expected
        waiting.shutdown()


def test_a_topology_given_by_hand_does_so_too(cluster: LocalCluster, pool: ThreadPoolExecutor) -> None:
    with Cache(cluster.info) as one, Cache(cluster.info) as two:
        key = key_at(cluster, 0)
        old, new = Loader("old"), Loader("new", goes=True)
        first = pool.submit(one.get_or_load, key, old)
        assert old.begun.wait(10)
        second = pool.submit(two.get_or_load, key, new)
        wait_until(lambda: waiters(cluster) == 1)
        cluster.move(lambda topology: np.where(topology.owners == 0, 1, topology.owners).astype(np.int16))
        assert second.result(10) == "new"
        old.go.set()
        assert (first.result(10), two.get(key)) == ("old", "new")


def test_reads_go_on_at_another_copy_while_a_shard_stands_still() -> None:
    with (LocalCluster(shards=3, copies=2, gateway=False) as cluster, Cache(cluster.info, hedge_s=0.05) as cache):
        key = key_at(cluster, 1)
        cache.get_or_load(key, lambda: 1)
        cluster.pause(1)
        try:
            began_s = time.monotonic()
            assert cache.get_or_load(key, lambda: 2) == 1
            assert time.monotonic() - began_s < 3
        finally:
            cluster.resume(1)


@pytest.mark.parametrize("how", ["kill", "pause"])
@pytest.mark.parametrize("kind", ["sync", "asyncio"])
def test_who_waits_at_a_shard_that_is_lost_finds_the_one_that_took_over(how: str, kind: str,
                                                                        pool: ThreadPoolExecutor) -> None:
    with LocalCluster(shards=3, copies=2, gateway=False) as cluster, Cache(cluster.info) as one:
        two = opened(kind, cluster.info, timeout_s=20.0)
        key = key_at(cluster, 1)
        old = Loader("old")
        first = pool.submit(one.get_or_load, key, old)
        assert old.begun.wait(10)
        second = pool.submit(two.get_or_load, key, Loader("new", goes=True))
        wait_until(lambda: waiters(cluster) == 1)
        getattr(cluster, how)(1)
        try:
            assert second.result(20) == "new"
            old.go.set()
            assert (first.result(20), two.get(key)) == ("old", "new")
        finally:
            cluster.resume(1)
            two.close()


def test_a_forked_child_does_not_wait_for_its_parents_loads(cluster: LocalCluster, pool: ThreadPoolExecutor) -> None:
    with Cache(cluster.info) as cache:
        load = Loader("parent's")
        first = pool.submit(cache.get_or_load, "k", load, lease_s=30)
        assert load.begun.wait(10)
        cache.delete("k")  # void, so the child may load
        pid = os.fork()
        if not pid:
            code = 1
            try:
                code = 0 if cache.get_or_load("k", lambda: "child's", wait_s=5) == "child's" else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        load.go.set()
        assert (first.result(10), cache.get("k")) == ("parent's", "child's")


def test_background_work_ends_with_the_handle(cluster: LocalCluster) -> None:
    cache = Cache(cluster.info)
    cache.get_or_load("k", lambda: 1, ttl=60)
    load = Loader(2)
    cache.get_or_load("k", load, ttl=60, beta=1e15)
    assert load.begun.wait(10)
    cache.close()
    load.go.set()
    wait_until(lambda: not any(thread.name == "raycache-loading" for thread in threading.enumerate()))


def test_refreshes_whose_loaders_hang_hold_up_no_other_key(cluster: LocalCluster) -> None:
    with Cache(cluster.info) as cache:
        hung = Loader(2)
        for number in range(MAX_WORKERS):
            cache.get_or_load(f"hung:{number}", lambda: 1, ttl=60)
            cache.get_or_load(f"hung:{number}", hung, ttl=60, beta=1e15)
        wait_until(lambda: hung.calls == MAX_WORKERS)
        cache.get_or_load("k", lambda: 1, ttl=60)
        assert cache.get_or_load("k", lambda: 2, ttl=60, beta=1e15) == 1  # its refresh waits for a thread
        cache.delete("k")
        assert cache.get_or_load("k", lambda: 3, wait_s=5) == 3
        hung.go.set()
        wait_until(lambda: leases(cluster) == 0)
        assert cache.get("k") == 3


# Redis clients


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # people write it, and it is to work
def test_the_recipe_of_the_article_runs_unchanged_against_a_gateway(pool: ThreadPoolExecutor) -> None:
    calls: list[int] = []

    def fetch(client: redis.Redis) -> bytes:
        """Get; on a miss take the lock, load and store; else sleep and try again."""
        while True:
            value = client.get("page")
            if value is not None:
                return bytes(value)  # type: ignore[arg-type]
            if client.set("lock:page", "1", nx=True, ex=5):
                calls.append(1)
                time.sleep(0.2)
                client.setex("page", 60, b"loaded")
                client.delete("lock:page")
                return b"loaded"
            time.sleep(0.05)

    with LocalCluster(shards=3) as cluster:
        host, port = cluster.gateway_address
        clients = [redis.Redis(host=host, port=port) for _ in range(16)]
        assert [run_.result(20) for run_ in [pool.submit(fetch, client) for client in clients]] == [b"loaded"] * 16
        assert len(calls) == 1
        one, two = clients[:2]
        assert one.set("lock", "token", nx=True, ex=5)
        assert two.set("lock", "other", nx=True, ex=5) is None
        assert 0 < one.pttl("lock") <= 5000  # type: ignore[operator]
        with pytest.raises(redis.ResponseError):
            one.execute_command("RC.LEASE", 1000, 0, "page", "")
        with Cache(cluster.info) as cache:  # and a write through this door voids a load
            load = Loader("old")
            run_ = pool.submit(cache.get_or_load, "row", load)
            assert load.begun.wait(10)
            one.delete("row")
            load.go.set()
            assert (run_.result(10), one.get("row")) == ("old", None)
        for client in clients:
            client.close()


def test_a_handle_that_knows_only_a_seed_loads_too(cluster: LocalCluster) -> None:
    with Cache(ConnectionInfo("local", (cluster.addresses[0],))) as cache:
        assert cache.get_or_load("k", lambda: 1) == 1
        assert cache.get_or_load_many(["k", "j"], lambda keys: dict.fromkeys(keys, 2)) == {"k": 1, "j": 2}
