"""Whole clusters with copies, in one process and on real sockets: shards, gateway and router are the real ones."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import redis

from raycache.replication.messages import pack
from raycache.ring.slots import slot_of
from raycache.testing.local import LocalCluster
from tests.support import wait_until

MODES = [("primary-replica", 2), ("multi-primary", 2), ("quorum", 3)]
KEYS = [f"key:{number}" for number in range(300)]


def connect(cluster: LocalCluster) -> Any:
    host, port = cluster.gateway_address
    return redis.Redis(host=host, port=port, decode_responses=True, socket_timeout=10)


def fill(cluster: LocalCluster, value: str = "first") -> None:
    with connect(cluster) as client:
        for key in KEYS:
            client.set(key, value)


def keys_led_by(cluster: LocalCluster, index: int) -> list[str]:
    topology = cluster.newest_topology
    found = []
    for key in KEYS:
        primary = topology.primary_of(slot_of(key.encode()))
        if primary is not None and primary.id == f"s{index}":
            found.append(key)
    return found


def complained_of(cluster: LocalCluster) -> set[str]:
    """Return the shards of which clients have told others that they do not answer, as the router has heard."""
    pongs = [record.pong for record in cluster.router.core._state.shards.values()]
    return {shard for pong in pongs if pong is not None for shard in pong.complaints}


class Load(threading.Thread):
    """Reads and writes all keys in turn until it is stopped, and notes what did not go well."""

    def __init__(self, cluster: LocalCluster) -> None:
        super().__init__(daemon=True)
        self.client = connect(cluster)
        self.gateway = cluster.gateway
        self.is_exact = cluster.config.replication == "quorum" or cluster.config.copies == 1
        self.operations = 0
        self.longest_s = 0.0
        self.written: dict[str, str] = {}
        self.trouble: list[str] = []
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            key = KEYS[self.operations % len(KEYS)]
            began_s = time.monotonic()
            try:
                self._use(key)
            except redis.RedisError as error:
                self.trouble.append(f"{key}: {error}")
            self.longest_s = max(self.longest_s, time.monotonic() - began_s)
            self.operations += 1

    def _use(self, key: str) -> None:
        before = self._detours()
        value = self.client.get(key)
        if value is None:
            self.trouble.append(f"{key} is missing; asked again it is {self.client.get(key)}")
        elif value != self.written.get(key, value) and (self.is_exact or self._detours() == before):
            # Read from a replica, because the primary did not answer in time, it may be a moment old.
            self.trouble.append(f"{key} is {value}, not {self.written[key]}; asked again it is {self.client.get(key)}")
        self.client.set(key, str(self.operations))
        self.written[key] = str(self.operations)

    def _detours(self) -> int:
        assert self.gateway is not None
        return self.gateway.executor.stats.detours

    def finish(self) -> None:
        self._ended.set()
        self.join(20)
        self.client.close()


@contextmanager
def load_on(cluster: LocalCluster) -> Iterator[Load]:
    load = Load(cluster)
    load.start()
    try:
        wait_until(lambda: load.operations > len(KEYS))
        yield load
    finally:
        load.finish()


def more(load: Load) -> Callable[[], bool]:
    """Whether all keys have been used twice from now on."""
    goal = load.operations + 2 * len(KEYS)
    return lambda: load.operations > goal


@pytest.mark.parametrize(("mode", "copies"), MODES)
def test_a_lost_shard_costs_no_operation_and_is_filled_again_when_it_is_back(mode: str, copies: int) -> None:
    with LocalCluster(3, copies=copies, replication=mode) as cluster:
        fill(cluster)
        with load_on(cluster) as load:
            cluster.kill(1)
            wait_until(more(load), 20)
            assert not keys_led_by(cluster, 1)
            cluster.restart(1)
            cluster.wait_until_settled()
            wait_until(lambda: keys_led_by(cluster, 1), 20, "primaries are dealt evenly again")
            wait_until(more(load), 20)
        assert load.trouble == []
        assert load.longest_s < 2.0
        with connect(cluster) as client:
            assert {key: client.get(key) for key in load.written} == load.written
        copies_of = [cluster.call(lambda server=server: len(server.core.store), index)  # type: ignore[misc]
                     for index, server in enumerate(cluster.servers) if server is not None]
        assert sum(copies_of) == copies * len(KEYS)


@pytest.mark.parametrize(("mode", "copies"), MODES)
def test_a_shard_that_stands_still_for_a_moment_is_not_replaced(mode: str, copies: int) -> None:
    with LocalCluster(3, copies=copies, replication=mode) as cluster:
        fill(cluster)
        with load_on(cluster) as load:
            cluster.pause(0)
            time.sleep(0.3)
            cluster.resume(0)
            wait_until(more(load), 20)
        assert load.trouble == []
        assert cluster.router is not None
        assert not [event for event in cluster.router.core.events if event.kind == "lost"]


@pytest.mark.parametrize(("mode", "copies"), MODES)
def test_a_shard_that_stands_still_is_replaced_and_harms_nobody_when_it_wakes(mode: str, copies: int) -> None:
    with LocalCluster(3, copies=copies, replication=mode) as cluster:
        fill(cluster)
        key = keys_led_by(cluster, 0)[0]
        sleeper = socket.create_connection(cluster.addresses[0])
        with sleeper, load_on(cluster) as load:
            sleeper.sendall(b"PING\r\n")
            assert sleeper.recv(100) == b"+PONG\r\n"
            cluster.pause(0)
            # This lies in its socket until it wakes, when others have long gone on.
            command = f"SET {key} from-before\r\n".encode()
            sleeper.sendall(command)
            wait_until(lambda: "s0" in complained_of(cluster), 20)
            wait_until(lambda: not keys_led_by(cluster, 0), 20)
            wait_until(more(load), 20)
            cluster.resume(0)
            wait_until(more(load), 20)
            sleeper.settimeout(5)
            with_reply = b""
            with suppress(ConnectionError):
                with_reply = sleeper.recv(100)
            assert with_reply != b"+OK\r\n"
        assert load.trouble == []
        with connect(cluster) as client:
            assert client.get(key) != "from-before"


@pytest.mark.parametrize(("mode", "copies"), [("primary-replica", 1), *MODES])
def test_shards_come_and_go_with_their_data_and_without_a_miss(mode: str, copies: int) -> None:
    with LocalCluster(3, copies=copies, replication=mode, router=True) as cluster:
        fill(cluster)
        with load_on(cluster) as load:
            cluster.scale(4)
            assert keys_led_by(cluster, 3)
            wait_until(more(load), 20)
            cluster.scale(3)
            assert not keys_led_by(cluster, 3)
            wait_until(more(load), 20)
        assert load.trouble == []
        with connect(cluster) as client:
            assert {key: client.get(key) for key in load.written} == load.written
            assert client.dbsize() == len(KEYS)
            assert sorted(client.scan_iter()) == sorted(client.keys()) == sorted(KEYS)


def test_without_a_router_everything_is_served_and_a_new_one_continues() -> None:
    with LocalCluster(3, copies=2) as cluster:
        fill(cluster)
        with load_on(cluster) as load:
            before = cluster.newest_topology
            cluster.kill_router()
            wait_until(more(load), 20)
            cluster.start_router()
            cluster.wait_until_settled()
            assert cluster.newest_topology.epoch > before.epoch
            assert cluster.newest_topology.term > before.term
            cluster.kill(2)
            wait_until(more(load), 20)
        assert load.trouble == []


def test_nobody_speaks_as_a_shard_without_the_secret() -> None:
    with LocalCluster(2, copies=2) as cluster:
        message = pack([["batch", 1, 1, 1, 1, [(b"planted", 1 << 60, 0, 0, b"x")], 0.0]])
        host, port = cluster.addresses[0]
        with redis.Redis(host=host, port=port) as direct, pytest.raises(redis.RedisError, match="secret"):
            direct.execute_command("RC.PEER", "s1", message)
        with connect(cluster) as client:
            with pytest.raises(redis.ResponseError, match="shard's own port"):
                client.execute_command("RC.PEER", "s1", message)
            pipeline = client.pipeline(transaction=True)
            pipeline.execute_command("RC.PEER", "s1", message)
            with pytest.raises(redis.RedisError):
                pipeline.execute()
            assert client.get("planted") is None
