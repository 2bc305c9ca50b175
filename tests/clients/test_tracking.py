"""CLIENT TRACKING over real sockets, on a shard's port and on a gateway: redis-py's own cache, and bare RESP3."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import hiredis
import pytest
import redis
from redis.cache import CacheConfig
from redis.cluster import RedisCluster

from raycache.client import Cache
from raycache.gateway.request import encoded
from raycache.ring.slots import slot_of
from raycache.testing.local import LocalCluster
from tests.clients.test_handle import keys_of
from tests.support import wait_until

Address = tuple[str, int]


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=2, gateway=True) as running:
        yield running


@pytest.fixture(params=["shard", "gateway"])
def door(request: pytest.FixtureRequest, cluster: LocalCluster) -> Address:
    return cluster.addresses[0] if request.param == "shard" else cluster.gateway_address


@pytest.fixture
def keys(cluster: LocalCluster) -> list[str]:
    """Keys of the first shard, absent."""
    names = keys_of(cluster, 0, 8)
    with Cache(cluster.info) as cleaner:
        cleaner.clear()
    return names


@pytest.fixture
def writer(cluster: LocalCluster) -> Iterator[Cache]:
    """Somebody else."""
    with Cache(cluster.info) as cache:
        yield cache


class Talk:
    """A bare connection in RESP3: what comes is kept in its order."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, timeout=10)
        self._reader = hiredis.Reader()
        self.pushed: list[Any] = []
        assert self.ask("HELLO 3")[b"proto"] == 3

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, line: str) -> None:
        """Send a command."""
        self._socket.sendall(encoded([word.encode() for word in line.split()]))

    def next(self) -> Any:
        """Return what comes next, a push or a reply."""
        while (found := self._reader.gets()) is False:
            data = self._socket.recv(65536)
            assert data, "the connection was closed"
            self._reader.feed(data)
        return found

    def ask(self, line: str) -> Any:
        """Send a command and return its reply; what is pushed before goes to `pushed`."""
        self.send(line)
        while isinstance(found := self.next(), hiredis.PushNotification):
            self.pushed.append(found)
        return found

    def hear(self) -> Any:
        """Return the keys of the next push, None for everything."""
        found = self.pushed.pop(0) if self.pushed else self.next()
        assert isinstance(found, hiredis.PushNotification)
        assert found[0] == b"invalidate"
        return found[1]


def test_redis_py_caches_on_its_side(door: Address, keys: list[str], writer: Cache) -> None:
    writer.set(keys[0], "old")
    with redis.Redis(*door, protocol=3, cache_config=CacheConfig()) as client:
        cache = client.get_cache()
        assert cache is not None
        assert client.get(keys[0]) == b"old"
        assert cache.size == 1
        entry = next(iter(cache.collection.values()))
        entry.cache_value = b"from here"
        assert client.get(keys[0]) == b"from here"  # nobody was asked
        writer.set(keys[0], "new")
        wait_until(lambda: client.get(keys[0]) == b"new")
        assert client.mget(keys[:2]) == [b"new", None]
        writer.set(keys[1], "there")
        wait_until(lambda: client.mget(keys[:2]) == [b"new", b"there"])
        client.get(keys[0])
        writer.clear()
        wait_until(lambda: client.get(keys[0]) is None)


def test_redis_pys_cluster_client_caches_on_its_side(cluster: LocalCluster, writer: Cache) -> None:
    host, port = cluster.addresses[0]
    client = RedisCluster(host=host, port=port, protocol=3, cache_config=CacheConfig())
    names = [keys_of(cluster, 0)[0], keys_of(cluster, 1)[0]]
    for name in names:
        writer.set(name, "old")
        assert client.get(name) == b"old"
    for name in names:
        writer.set(name, "new")
        wait_until(lambda name=name: client.get(name) == b"new")
    client.close()


def test_default_mode(door: Address, keys: list[str], writer: Cache, cluster: LocalCluster) -> None:
    with Talk(door) as client:
        assert client.ask("CLIENT TRACKING ON") == b"OK"
        client.ask(f"GET {keys[0]}")
        writer.set(keys[1], 1)
        writer.set(keys[0], 1)
        assert client.hear() == [keys[0].encode()]
        client.ask(f"MGET {keys[0]} {keys[1]}")
        writer.delete(keys[1])
        assert client.hear() == [keys[1].encode()]
        writer.clear()
        assert client.hear() is None
        assert client.ask("CLIENT TRACKING OFF") == b"OK"
        client.ask(f"GET {keys[0]}")
        writer.set(keys[0], 2)
        assert client.ask("PING") == b"PONG"
        # A gateway hears of what was cleared from each shard, and may be saying so still.
        is_gateway = door == cluster.gateway_address
        assert [push for push in client.pushed if not (is_gateway and push[1] is None)] == []


def test_optin(door: Address, keys: list[str], writer: Cache) -> None:
    with Talk(door) as client:
        client.ask("CLIENT TRACKING ON OPTIN")
        client.ask(f"GET {keys[0]}")
        assert client.ask("CLIENT CACHING YES") == b"OK"
        client.ask(f"GET {keys[1]}")
        client.ask(f"GET {keys[2]}")
        for key in keys[:3]:
            writer.set(key, 1)
        assert client.hear() == [keys[1].encode()]
        for line in ("CLIENT CACHING YES", "MULTI", f"GET {keys[3]}", "EXEC"):
            client.ask(line)
        writer.set(keys[3], 1)
        assert client.hear() == [keys[3].encode()]


def test_broadcast(door: Address, keys: list[str], writer: Cache) -> None:
    prefix, tagged = "p:", f"p:{{{keys[1]}}}"  # lives on the first shard, too
    with Talk(door) as client:
        assert client.ask(f"CLIENT TRACKING ON BCAST PREFIX {prefix}") == b"OK"
        assert client.ask("CLIENT TRACKINGINFO")[b"prefixes"] == [prefix.encode()]
        writer.set(keys[1], 1)
        writer.set(tagged, 1)
        assert client.hear() == [tagged.encode()]
        writer.delete(tagged)
        assert client.hear() == [tagged.encode()]


def test_expiry_is_announced(door: Address, keys: list[str], writer: Cache) -> None:
    writer.set(keys[0], 1, ttl=0.05)
    with Talk(door) as client:
        client.ask("CLIENT TRACKING ON")
        client.ask(f"GET {keys[0]}")
        assert client.hear() == [keys[0].encode()]


def test_what_changes_while_a_reply_is_under_way_is_said_behind_it(cluster: LocalCluster, keys: list[str],
                                                                  writer: Cache) -> None:
    """The gateway waits for one shard; the other one's reply waits behind that, and is old before it goes out."""
    (waiting, *_), (ready, *_) = keys_of(cluster, 1), keys
    writer.set(ready, "old")
    with Talk(cluster.gateway_address) as client:
        client.ask("CLIENT TRACKING ON")
        cluster.pause(1)
        try:
            client.send(f"GET {waiting}")
            client.send(f"GET {ready}")
            wait_until(lambda: cluster.call(lambda: _has_reply(cluster)))
            writer.set(ready, "new")
            assert client.hear() == [ready.encode()]  # at once, although replies are under way
        finally:
            cluster.resume(1)
        assert client.next() is None
        assert client.next() == b"old"
        assert client.hear() == [ready.encode()]


def _has_reply(cluster: LocalCluster) -> bool:
    """Return whether a reply waits at the gateway for an earlier one."""
    assert cluster.gateway is not None
    return any(len(one._places) == 2 and one._places[1].reply is not None for one in cluster.gateway.connections)


def _hears_all(cluster: LocalCluster) -> bool:
    assert cluster.gateway is not None
    hearing = cluster.gateway.hearing
    return hearing._ears.keys() == hearing._wanted().keys()


def test_a_gateway_says_that_everything_may_have_changed_when_a_shard_is_lost() -> None:
    with LocalCluster(shards=2, gateway=True) as cluster, Cache(cluster.info) as writer:
        (lost, *_), (kept, *_) = keys_of(cluster, 0), keys_of(cluster, 1)
        writer.set_many({lost: 1, kept: 1})
        with Talk(cluster.gateway_address) as client:
            client.ask("CLIENT TRACKING ON")
            client.ask(f"GET {lost}")
            cluster.kill(0)
            assert client.hear() is None
            cluster.restart(0)
            wait_until(lambda: cluster.call(lambda: _hears_all(cluster)))
            client.ask("PING")
            assert client.pushed  # once more when it is heard again
            assert {message[1] for message in client.pushed} == {None}
            client.pushed.clear()
            writer.set(lost, 2)
            client.ask(f"GET {lost}")
            writer.set(lost, 3)
            assert client.hear() == [lost.encode()]


def test_a_shard_that_loses_a_slot_says_so() -> None:
    with LocalCluster(shards=2, gateway=False) as cluster:
        key, *_ = keys_of(cluster, 0)
        with Talk(cluster.addresses[0]) as client:
            client.ask("CLIENT TRACKING ON")
            client.ask(f"GET {key}")

            def give_away(topology: Any) -> Any:
                owners = topology.owners.copy()
                owners[slot_of(key.encode())] = 1
                return owners

            cluster.move(give_away)
            assert client.hear() is None


def test_a_client_that_does_not_read_is_told_later_that_it_has_missed_something(keys: list[str]) -> None:
    with (LocalCluster(shards=1, gateway=False) as cluster, Cache(cluster.info) as writer,
          Talk(cluster.addresses[0]) as client):
        client.ask("CLIENT TRACKING ON BCAST")
        server = cluster.servers[0]
        assert server is not None
        names = [f"{number:050000d}" for number in range(20)]

        def is_paused() -> bool:
            writer.set_many(dict.fromkeys(names, 1))
            return cluster.call(lambda: any(one._has_missed for one in server.connections), 0)

        wait_until(is_paused)
        messages: list[Any] = []
        while True:
            messages.append(client.hear())
            if messages[-1] is None:
                break
        assert len(messages) > 1


@pytest.mark.parametrize("turn_on", [lambda client: client.ask("CLIENT TRACKING ON"), lambda client: None])
def test_whoever_does_not_track_pays_nothing(cluster: LocalCluster, keys: list[str],
                                             turn_on: Callable[[Talk], None]) -> None:
    server = cluster.servers[0]
    assert server is not None
    core = server.core
    with Talk(cluster.addresses[0]) as client:
        turn_on(client)
    wait_until(lambda: not core.tracking.sessions)
    assert (dict(core.watched), core.store.on_leave, core.tracking.key_count) == ({}, None, 0)
