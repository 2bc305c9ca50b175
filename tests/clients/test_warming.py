"""Warming and copying real shards over real sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raycache import Cache, WarmSettings, warm, warm_from
from raycache.client.bulk import Bulk, RawEntry
from raycache.testing.local import LocalCluster
from tests.support import wait_until

AT_ONCE = WarmSettings(delay_s=0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3, gateway=False) as running:
        yield running


@pytest.fixture(scope="module")
def other() -> Iterator[LocalCluster]:
    with LocalCluster(2, gateway=False) as running:
        yield running


@pytest.fixture
def cache(cluster: LocalCluster) -> Iterator[Cache]:
    with Cache(cluster.info) as handle:
        handle.clear()
        yield handle


@pytest.fixture
def source(other: LocalCluster) -> Iterator[Cache]:
    with Cache(other.info) as handle:
        handle.clear()
        yield handle


def test_bulk_operations_on_several_shards(cache: Cache) -> None:
    bulk = Bulk(cache)
    cache.set("k5", "mine", ttl=100)
    entries = [RawEntry(b"k%d" % number, 3, b"v%d" % number, 0) for number in range(3000)]
    stored = bulk.add(entries)
    assert stored.count(False) == 1
    assert stored.index(False) == 5
    assert bulk.present([b"k2999", b"nobody", b"k5"]) == [True, False, True]
    peeked = bulk.peek([b"k7", b"nobody", b"k5"])
    assert peeked[0] == entries[7]
    assert peeked[1] is None
    assert peeked[2] is not None
    assert 99_000 < peeked[2].left_ms <= 100_000
    assert cache.get("k7") == "v7"
    assert set(bulk.every_key()) == {entry.key for entry in entries}


def test_keys_are_loaded_and_come_back_as_they_were(cache: Cache) -> None:
    rows: dict[str, Any] = {"text": "a", "array": np.arange(4), "none": None, "dict": {"a": [1, 2.5]}}
    cache.set("there", "mine")
    asked: list[list[str]] = []

    def load(keys: list[str]) -> dict[str, Any]:
        asked.append(keys)
        return {key: rows[key] for key in keys if key in rows}

    report = warm(cache, [*rows, "there", "text", "nobody"], load, settings=AT_ONCE)
    assert asked == [[*rows, "nobody"]]
    assert (report.loaded, report.present, report.absent, report.end) == (4, 1, 1, "done")
    assert cache.get("dict") == rows["dict"]
    assert cache.get("array").tolist() == [0, 1, 2, 3]
    assert cache.get("none", "default") is None
    assert cache.get("there") == "mine"


def test_a_delete_meanwhile_wins_and_a_reader_waits_for_the_load(cluster: LocalCluster, cache: Cache) -> None:
    """The old row is read; its key is deleted; the old row must not come back. Without a lease it would."""
    seen: list[Any] = []

    def load(keys: list[str]) -> dict[str, str]:
        if readers:
            assert keys == ["changed"]
            assert cache.get("changed") is None  # the old row has not come back
            return {"changed": "new"}
        with Cache(cluster.info) as writer:
            writer.delete("changed")
        reader = threading.Thread(target=lambda: seen.append(cache.get_or_load("kept", lambda: "loaded twice")))
        reader.start()
        readers.append(reader)
        return dict.fromkeys(keys, "old")

    readers: list[threading.Thread] = []
    report = warm(cache, ["changed", "kept"], load, settings=AT_ONCE)
    readers[0].join(10)
    assert (report.loaded, report.failed) == (2, 0)
    assert cache.get("changed") == "new"
    assert seen == ["old"]


def test_lifetimes_are_as_set(cache: Cache) -> None:
    keys = [f"k{number}" for number in range(50)]
    warm(cache, keys, lambda wanted: dict.fromkeys(wanted, 1), settings=WarmSettings(delay_s=0, ttl_s=100, jitter=0.5))
    left = [cache.ttl(key) for key in keys]
    assert all(each is not None and 49 < each <= 100 for each in left)
    assert len(set(left)) > 25


def test_a_run_is_stopped_from_another_thread_and_resumed(cache: Cache, tmp_path: Path) -> None:
    keys = [f"k{number}" for number in range(1000)]
    stop, progress = threading.Event(), tmp_path / "progress.json"

    def load(wanted: list[str]) -> dict[str, int]:
        if "k350" in wanted:
            threading.Thread(target=stop.set).start()
            assert stop.wait(10)
        return dict.fromkeys(wanted, 1)

    first = warm(cache, keys, load, settings=AT_ONCE, progress=progress, stop=stop)
    assert (first.end, first.loaded) == ("stopped", 400)
    cache.clear()  # only the file knows now
    second = warm(cache, keys, load, settings=AT_ONCE, progress=progress)
    assert (second.end, second.resumed_at, second.loaded) == ("done", 400, 600)
    assert not progress.exists()


def test_a_copy_has_the_same_bytes_kinds_and_lifetimes(cache: Cache, source: Cache) -> None:
    values = {"text": "a", "bytes": b"\x00\xff", "int": 7, "array": np.arange(1000.0), "dict": {"k": None}}
    source.set_many(values)
    source.set("mortal", "x", ttl=50)
    source.set("both", "theirs")
    cache.set("both", "mine")
    report = warm_from(cache, source, settings=AT_ONCE)
    assert (report.loaded, report.present, report.end) == (6, 1, "done")
    ours, theirs = Bulk(cache), Bulk(source)
    names = [name.encode() for name in values]
    assert ours.peek(names) == theirs.peek(names)
    left = cache.ttl("mortal")
    assert left is not None
    assert 45 < left <= 50
    assert cache.get("both") == "mine"
    assert cache.get("array").tolist() == values["array"].tolist()  # type: ignore[attr-defined]


def test_the_hottest_are_copied_first(cache: Cache, source: Cache) -> None:
    source.set_many({f"k{number}": number for number in range(2000)})
    hot = [f"k{number}" for number in range(0, 2000, 20)]
    source.get_many(hot)
    before = source.stats().hits
    report = warm_from(cache, source, top=100, settings=AT_ONCE)
    assert report.loaded == 100
    there = [key in set(cache.scan()) for key in hot]
    assert sum(there) >= 90  # each shard has its own order, and the lists are dealt out in turns
    assert source.stats().hits == before  # copying is no use
    rest = warm_from(cache, source, settings=AT_ONCE)
    assert (rest.present, rest.loaded) == (100, 1900)


def test_a_policy_without_an_order_of_use_is_copied_all_the_same(cache: Cache) -> None:
    with LocalCluster(1, gateway=False, policy="fifo") as plain, Cache(plain.info) as source:
        source.set_many({f"k{number}": number for number in range(300)})
        assert Bulk(source).hottest(10) is None
        assert warm_from(cache, source, top=50, settings=AT_ONCE).loaded == 50
        assert warm_from(cache, source, settings=AT_ONCE).loaded == 250


@pytest.mark.parametrize(("copies", "replication"), [(2, "primary-replica"), (3, "multi-primary"), (3, "quorum")])
def test_what_is_loaded_has_its_copies(copies: int, replication: str) -> None:
    with LocalCluster(3, gateway=False, copies=copies, replication=replication) as running, \
            Cache(running.info) as cache:
        bulk = Bulk(cache)
        cache.set("k7", "mine")
        keys = [f"k{number}" for number in range(500)]
        assert warm(cache, keys, lambda wanted: dict.fromkeys(wanted, "v"), settings=AT_ONCE).loaded == 499
        assert len(bulk.hottest(1000) or []) == 500  # each key once, from its primary
        assert sorted(bulk.every_key()) == sorted(key.encode() for key in keys)
        wait_until(lambda: cache.stats().entries == copies * 500)
        running.kill(0)
        assert len(cache.get_many(keys)) == 500
        assert cache.get("k7") == "mine"


def test_a_shard_that_is_lost_meanwhile_is_retried(cluster: LocalCluster, cache: Cache) -> None:
    keys = [f"k{number}" for number in range(300)]
    killed: list[int] = []

    def load(wanted: list[str]) -> dict[str, int]:
        if not killed:
            killed.append(0)
            cluster.kill(0)
            cluster.restart(0)
        return dict.fromkeys(wanted, 1)

    report = warm(cache, keys, load, settings=WarmSettings(delay_s=0, batch=50))
    assert (report.end, report.failed) == ("done", 0)
    assert len(cache.get_many(keys)) == 300
