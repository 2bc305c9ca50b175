"""A rolling upgrade of a cluster that is in use: new processes, the same entries, and nobody misses anything."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
import ray
import redis

import raycache
from raycache.actors import calls
from raycache.actors.names import shard_name
from raycache.cli.main import main

pytestmark = pytest.mark.ray

KEYS = [f"key:{number}" for number in range(3000)]


def pids(name: str, shards: int) -> list[int]:
    names = [shard_name(name, f"s{one}") for one in range(shards)]
    handles: list[Any] = [ray.get_actor(one, namespace=calls.NAMESPACE) for one in names]
    return [report["pid"] for report in ray.get([handle.report.remote() for handle in handles])]


class Load:
    """A reader that counts what it misses, and a writer whose last values are known; both until told to end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.misses: list[str] = []
        self.errors: list[Exception] = []
        self.reads = self.writes = 0
        self.written: dict[str, int] = {}
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._guard, args=(work,)) for work in (self._read, self._write)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _guard(self, work: Any) -> None:
        try:
            with raycache.connect(self.name) as cache:
                while not self._over.wait(0.002):  # the shards' cores are not for this alone
                    work(cache)
        except Exception as error:
            self.errors.append(error)

    def _read(self, cache: raycache.Cache) -> None:
        start = self.reads % len(KEYS)
        some = KEYS[start : start + 100]
        found = cache.get_many(some)
        self.misses += [key for key in some if key not in found]
        self.misses += [key for key in some[:5] if cache.get(key) is None]
        self.reads += len(some)

    def _write(self, cache: raycache.Cache) -> None:
        key = f"count:{self.writes % 200}"
        self.written[key] = cache.incr(key)
        self.writes += 1


def test_nobody_misses_anything_while_every_shard_is_replaced(
    start: Any, cluster_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    start(shards=3, memory="12MiB")
    old = pids(cluster_name, 3)
    with raycache.connect(cluster_name) as cache:
        cache.set_many(dict.fromkeys(KEYS, b"v" * 2500))
        assert len(cache.get_many(KEYS)) == len(KEYS)
        used = sum(shard.used_bytes / shard.capacity_bytes for shard in raycache.status(cluster_name).shards) / 3
        assert used > 0.67, "two shards could hold all of it: nothing would have to be evicted"
        with Load(cluster_name) as load:
            assert main(["upgrade", cluster_name, "--gateways", "--json"]) == 0
        record = json.loads(capsys.readouterr().out)
        assert (load.errors, load.misses) == ([], [])
        assert load.reads > len(KEYS)
        assert cache.get_many(list(load.written)) == load.written, "what was written meanwhile is all there"
        assert len(cache.get_many(KEYS)) == len(KEYS)
    assert not set(pids(cluster_name, 3)) & set(old)
    assert record["change"]["misses"] == 0
    assert record["gateways_restarted"] == 1
    status = raycache.status(cluster_name)
    assert [shard.id for shard in status.shards] == ["s0", "s1", "s2"]
    assert sum(shard.evicted for shard in status.shards) == 0
    assert status.serving


class CopiedLoad(Load):
    """Of a cluster with copies: what is acknowledged is remembered, and read from any copy and through the gateway."""

    def __init__(self, name: str, gateway: str) -> None:
        super().__init__(name)
        host, _, port = gateway.rpartition(":")
        self._redis = redis.Redis(host, int(port))

    def _read(self, cache: raycache.Cache) -> None:
        super()._read(cache)
        key = KEYS[self.reads % len(KEYS)]
        if cache.get(key, read_from="replica") is None:
            self.misses.append(f"{key} at a replica")
        if self._redis.get(key) is None:
            self.misses.append(f"{key} at the gateway")

    def _write(self, cache: raycache.Cache) -> None:
        key = f"written:{self.writes % 100}"
        cache.set(key, self.writes, acks=self.writes % 2)
        self.written[key] = self.writes
        self.writes += 1


def test_with_copies_no_acknowledged_write_is_lost_and_no_read_fails(
    start: Any, cluster_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    start(shards=2, memory="24MiB", copies=2)
    old = pids(cluster_name, 2)
    with raycache.connect(cluster_name) as cache:
        cache.set_many(dict.fromkeys(KEYS, b"v" * 500), acks=1)
        with CopiedLoad(cluster_name, raycache.status(cluster_name).gateways[0]) as load:
            assert main(["upgrade", cluster_name, "--json"]) == 0
        record = json.loads(capsys.readouterr().out)
        assert (load.errors, load.misses, record["change"]["misses"]) == ([], [], 0)
        assert load.reads > len(KEYS)
        assert load.writes > len(load.written)
        assert cache.get_many(list(load.written)) == load.written
        assert len(cache.get_many(KEYS)) == len(KEYS)
    assert not set(pids(cluster_name, 2)) & set(old)
    assert main(["verify", cluster_name]) == 0, "the copies are the same"
