"""Both handles on real shards with copies and the real router: what losses cost, and what they never cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from raycache.errors import NotEnoughReplicasError
from raycache.ring.slots import slot_of
from raycache.testing.local import LocalCluster
from tests.clients.handles import opened

MODES = ["primary-replica", "multi-primary", "quorum"]
KEYS = [f"key:{number}" for number in range(300)]
DEADLINE_S = 20.0


@pytest.fixture(params=["sync", "uvloop"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=MODES)
def shared(request: pytest.FixtureRequest) -> Iterator[LocalCluster]:
    """Three copies in each mode, on a cluster that no test breaks."""
    with LocalCluster(shards=3, gateway=False, copies=3, replication=request.param, secret="hush") as cluster:
        yield cluster


@pytest.fixture
def handles(kind: str, shared: LocalCluster) -> Iterator[Callable[..., Any]]:
    """Opens handles on the shared cluster; closes them."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        made.append(opened(kind, shared.info, timeout_s=DEADLINE_S, **options))
        return made[-1]

    yield make
    for handle in made:
        handle.close()


def test_a_token_gives_read_your_writes_at_any_copy_in_another_handle(handles: Any) -> None:
    writer, reader, follower = handles(), handles(read_from="replica"), handles(read_from="replica")
    for turn in range(20):
        writer.set(f"turn:{turn % 3}", turn)
        writer.set_many(dict.fromkeys(KEYS[:5], turn))
        token = writer.token()
        assert reader.get(f"turn:{turn % 3}", token=token) == turn
        assert reader.get_many(KEYS[:5], token=token) == dict.fromkeys(KEYS[:5], turn)
        follower.use(token)
        assert follower.get_result(KEYS[0]).value == turn


def test_acknowledged_writes_are_on_every_copy(handles: Any) -> None:
    cache = handles()
    cache.set_many(dict.fromkeys(KEYS, "old"), acks=2)
    cache.set("acked", 1, acks=2)
    assert cache.incr("acked", acks=2) == 2
    primary = cache.get_result("acked")
    copy = cache.get_result("acked", read_from="replica")
    assert (primary.value, copy.value, primary.version) == (2, 2, copy.version)
    assert primary.source != copy.source
    assert primary.age_s is not None
    assert 0 <= primary.age_s < 60
    assert {result.value for result in cache.get_results(KEYS, read_from="replica").values()} == {"old"}
    assert cache.compare_and_set("acked", 3, copy.version, acks=1)
    assert cache.delete("acked", acks=2)
    assert (cache.exists("acked", read_from="replica"), cache.delete_many(KEYS, acks=2)) == (False, len(KEYS))
    assert cache.get_results(KEYS, read_from="replica") == {}


def test_more_copies_than_there_are_is_said_quickly(handles: Any) -> None:
    cache = handles()
    started_s = time.monotonic()
    for work in (lambda: cache.set("k", 1, acks=3), lambda: cache.set_many({"k": 1}, acks=3),
                 lambda: cache.incr("n", acks=3)):
        with pytest.raises(NotEnoughReplicasError, match="of the 3"):
            work()
    assert time.monotonic() - started_s < DEADLINE_S / 2


def test_a_scan_yields_each_key_once_and_clear_leaves_none(handles: Any, shared: LocalCluster) -> None:
    cache = handles()
    cache.clear()
    cache.set_many(dict.fromkeys(KEYS, 1), acks=2)
    assert sorted(cache.scan("key:")) == sorted(KEYS)
    removed = cache.clear()
    assert removed == len(KEYS) or (shared.config.replication != "primary-replica" and 0 < removed <= len(KEYS))
    assert (cache.get_many(KEYS), list(cache.scan())) == ({}, [])


def test_statistics_show_who_follows_whom(handles: Any, shared: LocalCluster) -> None:
    cache = handles()
    cache.set("k", 1, acks=2)
    stats = cache.stats()
    for shard in stats.shards:
        assert shard.replication is not None
        assert shard.replication.mode == shared.config.replication
        assert shard.replication.has_lease
        assert [replica.connected for replica in shard.replication.replicas] == [True, True]
    assert stats.loss_window.age_s >= 0
    assert stats.lag_s >= 0


class Traffic:
    """Reads and writes from several threads; notes every error, and each write that was acknowledged."""

    def __init__(self, kind: str, cluster: LocalCluster) -> None:
        self.errors: list[str] = []
        self.written: dict[str, int] = {}
        self.turns = dict.fromkeys(("get", "get_many", "set"), 0)
        self._stop = threading.Event()
        self._cache = opened(kind, cluster.info, timeout_s=DEADLINE_S)
        self._cache.set_many(dict.fromkeys(KEYS, 0), acks=1)
        self._threads = [threading.Thread(target=self._repeat, args=(name,)) for name in self.turns]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        self.wait_for_turns(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._cache.close()

    def stop(self) -> None:
        """End all work. Idempotent."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * DEADLINE_S)

    def wait_for_turns(self, count: int) -> None:
        """Wait until each thread has made `count` more turns."""
        before = dict(self.turns)
        give_up_s = time.monotonic() + 3 * DEADLINE_S
        while any(self.turns[name] < before[name] + count for name in before):
            assert time.monotonic() < give_up_s, (before, self.turns, self.errors)
            time.sleep(0.005)

    def _repeat(self, name: str) -> None:
        turn, work = 0, getattr(self, "_" + name)
        while not self._stop.is_set():
            turn += 1
            try:
                work(turn)
            except Exception as error:
                self.errors.append(f"{name}: {error!r}")
            self.turns[name] = turn
            time.sleep(0.001)

    def _get(self, turn: int) -> None:
        if self._cache.get(KEYS[turn % len(KEYS)]) is None:
            self.errors.append("a value was gone")

    def _get_many(self, turn: int) -> None:
        if len(self._cache.get_many(KEYS)) < len(KEYS):
            self.errors.append("values were gone")

    def _set(self, turn: int) -> None:
        key = KEYS[turn % len(KEYS)]
        self._cache.set(key, turn, acks=1)
        self.written[key] = turn


def test_a_killed_shard_costs_no_error_and_no_acknowledged_write(kind: str) -> None:
    with LocalCluster(shards=3, gateway=False, copies=2) as cluster, Traffic(kind, cluster) as traffic:
        cluster.kill(0)
        traffic.wait_for_turns(100)
        traffic.stop()
        # With acks=1 of two copies, nobody else is there to acknowledge until the shard is back.
        assert [error for error in traffic.errors if "NotEnoughReplicas" not in error] == []
        cache = opened(kind, cluster.info, timeout_s=DEADLINE_S)
        try:
            values = cache.get_many(KEYS)
            assert {key: value for key, value in traffic.written.items() if values[key] < value} == {}
            assert sorted(cache.scan("key:")) == sorted(KEYS)
            assert cache.incr("n") == 1
        finally:
            cache.close()


@pytest.mark.parametrize("mode", ["quorum", "multi-primary"])
def test_where_any_owner_takes_writes_a_killed_shard_costs_no_error_at_all(kind: str, mode: str) -> None:
    with (LocalCluster(shards=3, gateway=False, copies=3, replication=mode) as cluster,
          Traffic(kind, cluster) as traffic):
        cluster.kill(1)
        traffic.wait_for_turns(60)
        traffic.stop()
        assert traffic.errors == []


def test_a_shard_that_stands_still_delays_writes_until_it_is_replaced_and_no_reads(kind: str) -> None:
    with LocalCluster(shards=3, gateway=False, copies=2) as cluster:
        cache = opened(kind, cluster.info, timeout_s=DEADLINE_S)
        try:
            cache.set_many(dict.fromkeys(KEYS, 0), acks=1)
            owners = cluster.newest_topology.owners[:, 0]
            key = next(key for key in KEYS if owners[slot_of(key.encode())] == 0)
            cluster.pause(0)
            started_s = time.monotonic()
            assert (cache.get(key), len(cache.get_many(KEYS))) == (0, len(KEYS))
            assert time.monotonic() - started_s < 2.0, "a failover takes longer than this only where nobody hedges"
            cache.set(key, 1)
            assert (cache.get(key), cache.incr(key)) == (1, 2)
            cluster.resume(0)
            assert cache.get(key) == 2
        finally:
            cluster.resume(0)
            cache.close()
