"""Reading and writing through to a database: real shards, real sockets, SQLite; for both kinds of handle."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import raycache
from raycache.client import AsyncCache, Cache
from raycache.errors import CacheNotWrittenError, StoreRefusedError, StoreUnavailableError
from raycache.stores import Attachment, Deletion, StoreConfig, Write
from raycache.stores.sql import SqlStore
from raycache.testing.local import LocalCluster
from tests.support import wait_until


class Watched:
    """A store that counts, waits and fails as the test wants."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.loads: list[list[str]] = []
        self.on_load: Callable[[], None] = lambda: None
        self.on_write: Callable[[], None] = lambda: None
        self.after_write: Callable[[], None] = lambda: None

    def load(self, key: str) -> Any:
        return self.store.load(key)

    def load_many(self, keys: Sequence[str]) -> Mapping[str, Any]:
        self.loads.append(sorted(keys))
        found = self.store.load_many(keys)
        self.on_load()
        return found

    def store_many(self, writes: Sequence[Write]) -> None:
        self.on_write()
        self.store.store_many(writes)
        self.after_write()

    def delete_many(self, deletions: Sequence[Deletion]) -> None:
        self.on_write()
        self.store.delete_many(deletions)
        self.after_write()


class Blocking:
    """A backed AsyncCache on a loop of its own thread, called as if it were a backed Cache."""

    def __init__(self, cluster: LocalCluster, store: Any, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._cache = AsyncCache(cluster.info)
        self._backed = raycache.backed(self._cache, store, **settings)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        work = getattr(self._backed, name)
        return lambda *args, **kwargs: asyncio.run_coroutine_threadsafe(work(*args, **kwargs), self._loop).result(30)

    def end(self) -> None:
        self.close()
        asyncio.run_coroutine_threadsafe(self._cache.close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=2, gateway=False) as cluster:
        yield cluster


@pytest.fixture
def cache(cluster: LocalCluster) -> Iterator[Cache]:
    with Cache(cluster.info) as cache:
        yield cache
        cache.clear()


@pytest.fixture
def config(tmp_path: Path) -> StoreConfig:
    return StoreConfig(f"sqlite:///{tmp_path}/through.db")


@pytest.fixture
def store(config: StoreConfig) -> Iterator[Watched]:
    store = SqlStore(config.where)
    yield Watched(store)
    store.close()


@pytest.fixture(params=["sync", "async"])
def backed(request: pytest.FixtureRequest, cluster: LocalCluster, cache: Cache, store: Watched) -> Iterator[Any]:
    if request.param == "sync":
        with raycache.backed(cache, store) as backed:
            yield backed
    else:
        blocking = Blocking(cluster, store)
        yield blocking
        blocking.end()


def test_a_miss_is_loaded_once_and_is_a_hit_from_then_on(backed: Any, cache: Cache, store: Watched) -> None:
    store.store.store_many([Write("a", {"n": 1}), Write("b", None)])
    assert backed.get("a") == backed.get("a") == {"n": 1}
    assert cache.get("a") == {"n": 1}
    assert backed.get("b", 7) is backed.get("b", 7) is None, "a stored None is a value"
    assert store.loads == [["a"], ["b"]]


def test_what_the_database_has_not_is_not_remembered(backed: Any, cache: Cache, store: Watched) -> None:
    assert backed.get("nobody", "default") == "default"
    store.store.store_many([Write("nobody", 1)])
    assert backed.get("nobody", "default") == 1
    assert len(store.loads) == 2


def test_many_misses_are_one_question(backed: Any, cache: Cache, store: Watched) -> None:
    store.store.store_many([Write(f"k{number}", number) for number in range(100)])
    cache.set("k5", "cached")
    keys = [f"k{number}" for number in range(100)] + ["nobody"]
    found = backed.get_many(keys)
    assert found == {f"k{number}": "cached" if number == 5 else number for number in range(100)}
    assert store.loads == [sorted(set(keys) - {"k5"})]
    assert backed.get_many(keys[:50]) == dict(list(found.items())[:50])
    assert len(store.loads) == 1


def test_of_all_who_miss_at_once_one_asks_the_database(cluster: LocalCluster, cache: Cache, store: Watched) -> None:
    store.store.store_many([Write("a", 1)])
    gate = threading.Event()

    def wait_at_the_gate() -> None:
        gate.wait(10)

    store.on_load = wait_at_the_gate
    handles = [Cache(cluster.info) for _ in range(4)]
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(raycache.backed(handles[number % 4], store).get, "a") for number in range(20)]
        wait_until(lambda: store.loads)
        gate.set()
        assert [answer.result(20) for answer in answers] == [1] * 20
    assert store.loads == [["a"]]
    for handle in handles:
        handle.close()


def test_a_write_is_in_both_and_so_is_a_deletion(backed: Any, cache: Cache, store: Watched) -> None:
    backed.set("a", 1, ttl=50)
    backed.set_many({f"k{number}": number for number in range(1000)})
    assert (cache.get("a"), store.store.load("a")) == (1, 1)
    assert 40 < (cache.ttl("a") or 0) <= 50
    assert len(cache.get_many([f"k{number}" for number in range(1000)])) == 1000
    assert len(store.store.load_many([f"k{number}" for number in range(1000)])) == 1000
    backed.delete("a")
    backed.delete_many(["k1", "k2", "nobody"])
    assert cache.get_many(["a", "k1", "k2"]) == {}
    assert store.store.load_many(["a", "k1", "k2", "k3"]) == {"k3": 3}
    assert store.loads == []
    backed.set_many({})
    backed.delete_many([])


def test_a_database_that_is_down_changes_nothing(backed: Any, cache: Cache, store: Watched) -> None:
    backed.set("a", "old")

    def down() -> None:
        raise StoreUnavailableError("it is down; nothing was changed")

    store.on_write = down
    with pytest.raises(StoreUnavailableError, match="nothing was changed"):
        backed.set("a", "new")
    with pytest.raises(StoreUnavailableError):
        backed.delete("a")
    assert backed.get("a") == "old"
    store.on_write = lambda: None
    backed.set("a", "new")
    assert (cache.get("a"), store.store.load("a")) == ("new", "new")


def test_a_store_that_fails_in_its_own_way_says_so_without_passwords(backed: Any, store: Watched) -> None:
    def broken() -> None:
        raise RuntimeError("cannot reach postgresql://ada:geheim@host/db")

    store.on_write = broken
    with pytest.raises(StoreUnavailableError, match=r"may or may not.*|\*\*\*") as caught:
        backed.set("a", 1)
    assert "geheim" not in str(caught.value)

    def refuses() -> None:
        raise ValueError("no such column")

    store.on_write = refuses
    with pytest.raises(StoreRefusedError, match="no such column"):
        backed.set("a", 1)


def test_a_cache_that_fails_after_the_database_says_so_and_serves_no_old_value(
    config: StoreConfig, store: Watched
) -> None:
    with LocalCluster(shards=1, gateway=False) as cluster, Cache(cluster.info, timeout_s=1.0) as cache:
        backed = raycache.backed(cache, store)
        backed.set("a", "old")
        store.after_write = lambda: cluster.pause(0)
        with pytest.raises(CacheNotWrittenError, match="the database has the write"):
            backed.set("a", "new")
        store.after_write = lambda: None
        cluster.resume(0)
        assert store.store.load("a") == "new"
        wait_until(lambda: cache.get("a") in (None, "new"))
        assert backed.get("a") == "new"


def test_a_reader_that_loaded_before_the_write_does_not_bring_the_old_value_back(
    cluster: LocalCluster, cache: Cache, store: Watched
) -> None:
    """The race of the textbook: a reader loads, a writer writes, the reader stores."""
    store.store.store_many([Write("a", "old")])
    loaded, go = threading.Event(), threading.Event()

    def slow() -> None:
        loaded.set()
        go.wait(10)

    store.on_load = slow
    with Cache(cluster.info) as another, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(raycache.backed(another, store).get, "a")
        assert loaded.wait(10)
        store.on_load = lambda: None
        raycache.backed(cache, store).set("a", "new")
        go.set()
        assert reading.result(20) in ("old", "new")
    assert cache.get("a") == "new"


def test_who_reads_during_a_write_waits_for_it(cluster: LocalCluster, cache: Cache, store: Watched) -> None:
    raycache.backed(cache, store).set("a", "old")
    writing, go = threading.Event(), threading.Event()

    def slow() -> None:
        writing.set()
        go.wait(10)

    store.on_write = slow
    with Cache(cluster.info) as another, ThreadPoolExecutor(2) as pool:
        write = pool.submit(raycache.backed(cache, store).set, "a", "new")
        assert writing.wait(10)
        read = pool.submit(raycache.backed(another, store).get, "a")
        wait_until(lambda: sum(len(server.core.leases._leases) for server in cluster.servers if server) > 0)
        go.set()
        assert (write.result(20), read.result(20)) == (None, "new")
    assert store.loads == []


@pytest.mark.parametrize("fails", [False, True])
async def test_a_write_whose_caller_is_cancelled_lets_nobody_bring_the_old_value_back(
    cluster: LocalCluster, store: Watched, fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    store.store.store_many([Write("a", "old")])
    writing, go = threading.Event(), threading.Event()

    def slow() -> None:
        writing.set()
        go.wait(10)
        if fails:
            raise ConnectionError("lost")

    store.on_write = slow
    async with AsyncCache(cluster.info) as cache, AsyncCache(cluster.info) as another:
        mine = raycache.backed(cache, store)
        write = asyncio.create_task(mine.set("a", "new"))
        assert await asyncio.to_thread(writing.wait, 10)
        write.cancel()
        with pytest.raises(asyncio.CancelledError):
            await write
        read = asyncio.create_task(raycache.backed(another, store).get("a"))
        while not any(lease.waiters for server in cluster.servers if server
                      for lease in list(server.core.leases._leases.values())):
            await asyncio.sleep(0.01)
        assert not read.done()
        go.set()
        wanted = "old" if fails else "new"
        assert (await read, store.store.load("a"), await another.get("a")) == (wanted,) * 3
        await mine.close()
        assert ("a write whose caller had been cancelled has failed" in caplog.text) == fails
        await cache.clear()


def test_writers_at_once_leave_cache_and_database_in_agreement(
    cluster: LocalCluster, cache: Cache, store: Watched
) -> None:
    handles = [Cache(cluster.info) for _ in range(6)]

    def write(number: int) -> None:
        backed = raycache.backed(handles[number], store)
        for turn in range(30):
            backed.set(f"k{turn % 3}", (number, turn))
            backed.get(f"k{(turn + 1) % 3}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(write, range(6)))
    for key in ("k0", "k1", "k2"):
        assert cache.get(key) in (None, store.store.load(key))
    for handle in handles:
        handle.close()


def test_reading_alone_writes_nothing_to_the_database(cache: Cache, store: Watched) -> None:
    backed = raycache.backed(cache, store, write=None, ttl=30)
    store.store.store_many([Write("a", 1)])
    assert backed.get("a") == 1
    assert (cache.ttl("a") or 0) <= 30
    backed.set("a", 2)
    backed.delete("b")
    assert (cache.get("a"), store.store.load("a")) == (2, 1)


def test_a_read_sees_what_waits_for_the_database_although_the_cache_has_lost_it(
    cluster: LocalCluster, cache: Cache, store: Watched, config: StoreConfig
) -> None:
    store.store.store_many([Write("a", "old", 1), Write("b", "old", 1)])
    backed = raycache.backed(cache, Attachment("unwritten", config, "behind"))  # nobody writes it
    backed.set_many({"a": "new"})
    backed.delete("b")
    cache.clear()
    assert backed.get("a") == "new"
    assert backed.get("b", "gone") == "gone"
    cache.clear()
    assert backed.get_many(["a", "b"]) == {"a": "new"}
    backed.close()


def test_it_travels_to_other_processes(cache: Cache, config: StoreConfig, store: Watched) -> None:
    store.store.store_many([Write("a", 1)])
    with pickle.loads(pickle.dumps(raycache.backed(cache, config, ttl=9))) as backed:
        assert backed.get("a") == 1
        assert backed.attachment.config == config
        backed.cache.close()


def test_what_makes_no_sense_is_refused(cache: Cache, config: StoreConfig) -> None:
    with pytest.raises(ValueError, match="needs a writer"):
        raycache.backed(cache, config, write="behind")
    with pytest.raises(TypeError, match="cache_if"):
        raycache.backed(cache, config, cache_if=bool)
