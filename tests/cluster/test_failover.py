"""Losing parts of a cluster on real Ray: processes end by SIGKILL while others read and write."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

import raycache
from tests.cluster.whole import is_whole
from tests.support import wait_until

Start = Callable[..., raycache.ClusterStatus]

KEYS = [f"key:{number}" for number in range(500)]
PAUSE_S = 0.001
"""Between two uses of a key: clients that never rest take from Ray and the shards the cores that they need."""


class Load(threading.Thread):
    """Reads and writes all keys in turn until it is stopped, and notes what did not go well."""

    def __init__(self, read: Callable[[str], Any], write: Callable[[str, str], Any]) -> None:
        super().__init__(daemon=True)
        self.read, self.write = read, write
        self.operations = 0
        self.longest_s = 0.0
        self.written: dict[str, str] = {}
        self.trouble: list[str] = []
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            key, value = KEYS[self.operations % len(KEYS)], str(self.operations)
            began_s = time.monotonic()
            try:
                if (found := self.read(key)) != self.written.get(key, "first"):
                    self.trouble.append(f"{key} is {found}, not {self.written.get(key)}")
                self.write(key, value)
                self.written[key] = value
            except Exception as error:
                self.trouble.append(f"{key}: {error!r}")
            self.longest_s = max(self.longest_s, time.monotonic() - began_s)
            self.operations += 1
            time.sleep(PAUSE_S)

    def goes_on(self) -> None:
        """Wait until every key has been used twice from now on."""
        goal = self.operations + 2 * len(KEYS)
        wait_until(lambda: self.operations > goal, 30)

    def finish(self) -> None:
        self._ended.set()
        self.join(30)


@contextmanager
def load_through_both_doors(name: str, status: raycache.ClusterStatus) -> Iterator[list[Load]]:
    """One client with a handle, one that knows no cluster; each has keys of its own."""
    host, _, port = status.gateways[0].rpartition(":")
    with raycache.connect(name) as cache, redis.Redis(host=host, port=int(port), decode_responses=True) as plain:
        loads = [Load(lambda key: cache.get(f"h:{key}"), lambda key, value: cache.set(f"h:{key}", value)),
                 Load(lambda key: plain.get(f"g:{key}"), lambda key, value: plain.set(f"g:{key}", value))]
        for key in KEYS:
            cache.set(f"h:{key}", "first")
            plain.set(f"g:{key}", "first")
        for load in loads:
            load.start()
        try:
            yield loads
        finally:
            for load in loads:
                load.finish()


def pid_of(name: str, shard_id: str) -> int:
    import ray

    from raycache.actors import calls

    return int(ray.get(calls.find_shard(name, shard_id).report.remote())["pid"])  # type: ignore[attr-defined]


def serving_pid(name: str, shard_id: str) -> int:
    """The shard's process, 0 while there is none that serves."""
    import ray

    from raycache.actors import calls

    try:
        report = ray.get(calls.find_shard(name, shard_id).report.remote())  # type: ignore[attr-defined]
    except ray.exceptions.RayError:
        return 0
    return int(report["pid"]) if report["topology"] is not None else 0


def end_router(name: str) -> None:
    """End the router's process at once; Ray starts it again."""
    import ray

    from raycache.actors import calls

    ray.kill(calls.find_router(name), no_restart=False)  # type: ignore[arg-type]


def test_losing_a_primary_and_the_router_and_rescaling_costs_no_operation(cluster_name: str, start: Start) -> None:
    status = start(copies=2)
    with load_through_both_doors(cluster_name, status) as loads:
        before = raycache.topology(cluster_name)
        os.kill(pid_of(cluster_name, "s1"), signal.SIGKILL)
        wait_until(lambda: raycache.topology(cluster_name).epoch > before.epoch, 10)
        for load in loads:
            load.goes_on()
        assert max(load.longest_s for load in loads) < 3.0
        wait_until(is_whole(cluster_name), 30)

        end_router(cluster_name)
        for load in loads:
            load.goes_on()
        for shards in (4, 3):
            raycache.scale(cluster_name, shards)
            wait_until(is_whole(cluster_name, shards), 30)
            for load in loads:
                load.goes_on()
        for load in loads:
            assert load.trouble == []
    with raycache.connect(cluster_name) as cache:
        assert {key: cache.get(f"h:{key}") for key in loads[0].written} == loads[0].written


def test_a_shard_loads_its_snapshot_and_takes_the_rest_from_its_copies(cluster_name: str, start: Start,
                                                                      tmp_path: Path) -> None:
    import ray

    from raycache.actors import calls

    start(copies=2, snapshot_dir=str(tmp_path))
    with raycache.connect(cluster_name) as cache:
        cache.set_many(dict.fromkeys(KEYS, "first"))
        shard = calls.find_shard(cluster_name, "s1")
        assert ray.get(shard.snapshot.remote())  # type: ignore[attr-defined]
        cache.set_many(dict.fromkeys(KEYS[:250], "second"))
        before = raycache.topology(cluster_name)
        os.kill(pid_of(cluster_name, "s1"), signal.SIGKILL)
        wait_until(lambda: raycache.topology(cluster_name).epoch > before.epoch, 10)
        cache.set_many(dict.fromkeys(KEYS[:100], "third"))
        wait_until(is_whole(cluster_name), 30)
        stats = ray.get(calls.find_shard(cluster_name, "s1").stats.remote())  # type: ignore[attr-defined]
        assert stats["snapshot_loaded"] > 100
        expected = ["third"] * 100 + ["second"] * 150 + ["first"] * 250
        assert list(cache.get_many(KEYS).values()) == expected


def test_one_copy_is_as_old_as_its_snapshot(cluster_name: str, start: Start, tmp_path: Path) -> None:
    import ray

    from raycache.actors import calls

    start(shards=1, snapshot_dir=str(tmp_path))
    with raycache.connect(cluster_name) as cache:
        cache.set_many(dict.fromkeys(KEYS, "first"))
        assert ray.get(calls.find_shard(cluster_name, "s0").snapshot.remote())  # type: ignore[attr-defined]
        cache.set("key:0", "lost")
        pid = pid_of(cluster_name, "s0")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: serving_pid(cluster_name, "s0") not in (0, pid), 30)
        assert list(cache.get_many(KEYS).values()) == ["first"] * len(KEYS)

        snapshot = tmp_path / f"{cluster_name}-s0.snapshot"
        snapshot.write_bytes(snapshot.read_bytes()[:-1])
        pid = pid_of(cluster_name, "s0")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: serving_pid(cluster_name, "s0") not in (0, pid), 30)
        assert cache.get_many(KEYS) == {}
        warnings = raycache.status(cluster_name).warnings
        assert any("was ignored: the file ends in its trailer: it was torn" in text for text in warnings)
