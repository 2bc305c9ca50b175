"""Databases behind a cluster: real shards, real sockets, SQLite."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from raycache.client import Cache
from raycache.errors import QueueClosedError, QueueFullError, StoreRefusedError
from raycache.stores import Attachment, Deletion, StoreConfig, Write, WriterSettings
from raycache.stores.backed import BackedCache
from raycache.stores.sql import SqlStore
from raycache.testing.local import LocalCluster
from tests.support import wait_until

QUICK = WriterSettings(flush_s=0.01, backoff_s=0.02, max_backoff_s=0.1, attempts=2)


class Gate:
    """A store that can be shut, refuse keys, and count what comes."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.is_open = True
        self.refused: set[str] = set()
        self.before: Callable[[], None] = lambda: None
        self.batches: list[list[str]] = []
        self.loads: list[list[str]] = []

    def _pass(self, changes: Sequence[Write | Deletion]) -> None:
        self.before()
        if not self.is_open:
            raise ConnectionError("the database is down; password=geheim")
        if any(change.key in self.refused for change in changes):
            raise StoreRefusedError("no such thing here")
        self.batches.append([change.key for change in changes])

    def load(self, key: str) -> Any:
        return self.store.load(key)

    def load_many(self, keys: Sequence[str]) -> Mapping[str, Any]:
        self.loads.append(list(keys))
        return self.store.load_many(keys)

    def store_many(self, writes: Sequence[Write]) -> None:
        self._pass(writes)
        self.store.store_many(writes)

    def delete_many(self, deletions: Sequence[Deletion]) -> None:
        self._pass(deletions)
        self.store.delete_many(deletions)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=3, copies=2, gateway=False) as cluster:
        yield cluster


@pytest.fixture
def cache(cluster: LocalCluster) -> Iterator[Cache]:
    with Cache(cluster.info) as cache:
        yield cache
        cache.clear()


@pytest.fixture
def config(tmp_path: Path) -> StoreConfig:
    return StoreConfig(f"sqlite:///{tmp_path}/behind.db")


@pytest.fixture
def gate(config: StoreConfig) -> Iterator[Gate]:
    store = SqlStore(config.where)
    yield Gate(store)
    store.close()


@pytest.fixture
def behind(cluster: LocalCluster, cache: Cache, config: StoreConfig, gate: Gate,
           request: pytest.FixtureRequest) -> Iterator[BackedCache]:
    name = f"db{abs(hash(request.node.nodeid)) % 10**8}"
    attachment = cluster.attach_store(Attachment(name, config, "behind", read=False), QUICK, store=gate)
    with BackedCache(cache, attachment, gate) as backed:
        yield backed
    gate.is_open = True
    gate.refused.clear()
    backed.discard(backed.dead_letters())
    assert cluster.writers[name].drain(10)
    cluster.writers.pop(name).close()


def writer_of(cluster: LocalCluster, backed: BackedCache) -> Any:
    return cluster.writers[backed.attachment.name]


def test_what_is_written_is_in_the_cache_at_once_and_in_the_database_soon(
    cache: Cache, behind: BackedCache, gate: Gate
) -> None:
    behind.set("a", {"n": 1}, ttl=100)
    assert cache.get("a") == {"n": 1}
    assert cache.ttl("a") > 90
    behind.set_many({f"k{number}": number for number in range(1000)})
    wait_until(lambda: cache.stats().queued == 0, deadline_s=20)
    assert gate.store.load_many(["a", "k0", "k999"]) == {"a": {"n": 1}, "k0": 0, "k999": 999}
    behind.delete("a")
    behind.delete_many(["k0", "k1"])
    assert cache.get_many(["a", "k0", "k1"]) == {}
    wait_until(lambda: cache.stats().queued == 0, deadline_s=20)
    assert gate.store.load_many(["a", "k0", "k1", "k2"]) == {"k2": 2}


def test_writes_of_one_key_are_coalesced_and_batched(cache: Cache, behind: BackedCache, gate: Gate) -> None:
    held, go = threading.Event(), threading.Event()

    def wait_in_the_database() -> None:
        held.set()
        assert go.wait(20)

    gate.before = wait_in_the_database
    behind.set("first", 0)
    assert held.wait(20)
    for number in range(200):
        behind.set("counter", number)
        behind.set(f"other{number % 5}", number)
    assert cache.stats().queued == 7
    gate.before = lambda: None
    go.set()
    wait_until(lambda: cache.stats().queued == 0, deadline_s=20)
    assert gate.store.load("counter") == 199
    assert sum(keys.count("counter") for keys in gate.batches) == 1
    assert len(gate.batches) < 8


def until_full(behind: BackedCache) -> dict[str, int]:
    written: dict[str, int] = {}
    for number in range(10_000):
        try:
            behind.set(f"key{number}", number)
        except QueueFullError:
            return written
        written[f"key{number}"] = number
    pytest.fail("the queue has no end")


def test_a_database_that_is_down_fills_the_queue_and_then_writers_are_told(
    cluster: LocalCluster, cache: Cache, behind: BackedCache, gate: Gate
) -> None:
    gate.is_open = False
    queues = [server.core.queues for server in cluster.servers if server is not None]
    usual = queues[0].limit_bytes
    for each in queues:
        each.limit_bytes = 100_000
    written = until_full(behind)
    for each in queues:
        each.limit_bytes = usual
    stats = cache.stats()
    assert stats.queued == len(written) > 100
    assert cache.get("key0") == 0, "reads go on"
    status = writer_of(cluster, behind).status()
    assert status["state"] == "waiting for the database"
    assert "geheim" not in str(status)
    wait_until(lambda: cache.stats().queue_oldest_s > 0.3, deadline_s=10)
    gate.is_open = True
    wait_until(lambda: cache.stats().queued == 0, deadline_s=20)
    assert gate.store.load_many(list(written)) == written
    behind.set("again", 1)


def test_what_the_database_refuses_is_a_dead_letter_and_stops_nobody(
    cluster: LocalCluster, cache: Cache, behind: BackedCache, gate: Gate
) -> None:
    gate.refused = {"bad"}
    behind.set_many({**{f"good{number}": number for number in range(50)}, "bad": "value"})
    wait_until(lambda: cache.stats().dead_letters == 1, deadline_s=20)
    wait_until(lambda: cache.stats().queued == 0, deadline_s=20)
    assert len(gate.store.load_many([f"good{number}" for number in range(50)])) == 50
    (letter,) = behind.dead_letters()
    assert (letter.key, letter.value, letter.is_deletion, letter.reason) == (
        "bad", "value", False, "no such thing here")
    assert cache.get("bad") == "value"
    gate.refused = set()
    assert behind.revive([letter]) == 1
    wait_until(lambda: cache.stats().queued == 0, deadline_s=20)
    assert gate.store.load("bad") == "value"
    assert behind.dead_letters() == []


def test_a_new_writer_goes_on_where_one_died_and_the_old_one_ends(
    cluster: LocalCluster, cache: Cache, behind: BackedCache, gate: Gate, config: StoreConfig
) -> None:
    held, go = threading.Event(), threading.Event()

    def wait_in_the_database() -> None:
        held.set()
        go.wait(20)

    gate.before = wait_in_the_database
    behind.set("a", "old")
    assert held.wait(20)
    behind.set("a", "new")
    before = cluster.writers.pop(behind.attachment.name)  # it stands still in the middle of a batch
    second = Gate(SqlStore(config.where))
    cluster.attach_store(behind.attachment, QUICK, store=second)
    cluster.writers[behind.attachment.name].number = before.number + 1
    wait_until(lambda: cache.stats().queued == 0, deadline_s=20)
    assert second.store.load("a") == "new"
    go.set()  # the old writer's transaction comes after the newer one
    wait_until(lambda: before.status()["failure"] != "", deadline_s=20)
    assert second.store.load("a") == "new"
    before.close()


def test_draining_writes_all_and_takes_no_more(cluster: LocalCluster, behind: BackedCache, gate: Gate) -> None:
    behind.set_many({f"k{number}": number for number in range(2000)})
    writer = writer_of(cluster, behind)
    assert writer.drain(20)
    assert len(gate.store.load_many([f"k{number}" for number in range(2000)])) == 2000
    with pytest.raises(QueueClosedError):
        behind.set("late", 1)
    writer.reopen()
    wait_until(lambda: _takes(behind), deadline_s=10)


def _takes(behind: BackedCache) -> bool:
    try:
        behind.set("late", 1)
    except QueueClosedError:
        return False
    return True


def test_a_cleared_cache_loses_no_write(cache: Cache, behind: BackedCache, gate: Gate) -> None:
    gate.is_open = False
    behind.set_many({f"k{number}": number for number in range(100)})
    cache.clear()
    assert cache.get("k1") is None
    gate.is_open = True
    wait_until(lambda: cache.stats().queued == 0, deadline_s=20)
    assert len(gate.store.load_many([f"k{number}" for number in range(100)])) == 100


@pytest.mark.parametrize(("replication", "copies"), [("primary-replica", 1), ("multi-primary", 2), ("quorum", 3)])
def test_it_works_in_every_mode(config: StoreConfig, gate: Gate, replication: str, copies: int) -> None:
    with (LocalCluster(shards=3, copies=copies, replication=replication, gateway=False) as cluster,
          Cache(cluster.info) as cache):
        attachment = cluster.attach_store(Attachment("db", config, "behind", read=False), QUICK, store=gate)
        behind = BackedCache(cache, attachment, gate)
        for number in range(3):
            behind.set_many({f"k{key}": number for key in range(200)})
        behind.delete("k7")
        assert cluster.writers["db"].drain(20)
        assert gate.store.load_many([f"k{key}" for key in range(200)]) == {
            f"k{key}": 2 for key in range(200) if key != 7}
        assert cache.stats().queued == 0


def test_shards_that_come_and_go_lose_no_write(config: StoreConfig, gate: Gate) -> None:
    """Scaling, and the loss of any one shard, while the database is away."""
    with LocalCluster(shards=3, copies=2, gateway=False) as cluster, Cache(cluster.info, timeout_s=20) as cache:
        attachment = cluster.attach_store(Attachment("db", config, "behind", read=False), QUICK, store=gate)
        gate.is_open = False
        written: dict[str, int] = {}
        with BackedCache(cache, attachment, gate) as behind:
            for number in range(300):
                if number == 100:
                    cluster.kill(1)
                    back = threading.Timer(0.5, cluster.restart, (1,))
                    back.start()  # until then some keys have one shard, and writing them waits
                if number == 200:
                    cluster.scale(4)
                behind.set(f"k{number % 150}", number)
                written[f"k{number % 150}"] = number
            back.join()
        gate.is_open = True
        assert cluster.writers["db"].drain(30)
        assert gate.store.load_many(list(written)) == written


def test_keys_and_values_that_no_database_has_are_refused_before_anything_happens(
    cache: Cache, behind: BackedCache
) -> None:
    with pytest.raises(ValueError, match="must be text"):
        behind.set(b"\xff", 1)
    with pytest.raises(TypeError):
        behind.set_many({"a": 1, "b": object()})
    assert cache.get("a") is None
    assert cache.stats().queued == 0


def test_sqlite_can_be_read_by_anybody(behind: BackedCache, cache: Cache, config: StoreConfig) -> None:
    behind.set("greeting", "hello")
    wait_until(lambda: cache.stats().queued == 0, deadline_s=20)
    with sqlite3.connect(config.where.removeprefix("sqlite:///")) as connection:
        assert connection.execute("select key, kind, value from raycache").fetchall() == [("greeting", 3, b"hello")]
    connection.close()
