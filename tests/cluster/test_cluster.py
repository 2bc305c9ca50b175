"""A cluster on real Ray: it starts, serves through every door, survives its deaths, and stops."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster

import raycache
from raycache.ring.slots import slot_of
from tests.support import wait_until

Start = Callable[..., raycache.ClusterStatus]


def address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def shard_pid(name: str, shard_id: str) -> int:
    import ray

    from raycache.actors import calls

    return int(ray.get(calls.find_shard(name, shard_id).report.remote())["pid"])  # type: ignore[attr-defined]


def key_of(topology: raycache.Topology, shard_id: str, prefix: str = "k") -> str:
    """A key that this shard owns."""
    slots = set(topology.slots_of(shard_id).tolist())
    return next(key for i in range(100_000) if slot_of((key := f"{prefix}{i}").encode()) in slots)


@pytest.fixture(scope="module")
def shared(ray_cluster: str) -> Iterator[str]:
    """A cluster of three shards for all tests that leave it whole: each of its actors costs a second to start."""
    raycache.start("shared", shards=3, memory="96MiB")
    yield "shared"
    raycache.stop("shared")


def test_start_serves_through_every_door_and_attaches_the_second_time(cluster_name: str, start: Start) -> None:
    status = start(policy="lru")
    assert status.serving
    assert [shard.id for shard in status.shards] == ["s0", "s1", "s2"]
    assert sum(shard.slots for shard in status.shards) == 16384
    assert not status.requires_auth

    with raycache.connect(cluster_name) as cache:
        cache.set("user:1", {"name": "Ada"}, ttl=300)
        assert cache.get("user:1") == {"name": "Ada"}
        cache.set_many({f"n{i}": i for i in range(100)})
        assert cache.get_many([f"n{i}" for i in range(100)]) == {f"n{i}": i for i in range(100)}

        host, port = address(status.gateways[0])
        with redis.Redis(host=host, port=port, decode_responses=True) as plain:
            assert plain.get("n7") == "7"
            plain.set("from-redis", "text")
            assert plain.mget("n1", "n2", "from-redis") == ["1", "2", "text"]
        assert cache.get("from-redis") == b"text"

        host, port = address(status.shards[1].address)
        with RedisCluster(host=host, port=port) as clustered:
            assert clustered.get("n7") == b"7"
            assert clustered.mget_nonatomic([f"n{i}" for i in range(20)]) == [str(i).encode() for i in range(20)]

    again = start()
    assert (again.epoch, again.secret) == (status.epoch, status.secret)
    now = raycache.status(cluster_name)
    assert now.entries == 102
    assert now.hit_ratio > 0.9


def test_tasks_and_actors_use_a_pickled_handle(shared: str) -> None:
    import ray

    cache = raycache.connect(shared)

    @ray.remote
    def write(cache: raycache.Cache, number: int) -> str:
        cache.set(f"task:{number}", number)
        return type(pickle.loads(pickle.dumps(cache))).__name__

    written = {f"task:{number}": number for number in range(4)}
    assert set(ray.get([write.remote(cache, number) for number in written.values()])) == {"Cache"}
    assert cache.get_many(list(written)) == written

    @ray.remote
    class Reader:
        async def read(self, name: str) -> list[Any]:
            async with await raycache.connect_async(name) as cache:
                return list(await asyncio.gather(*(cache.get(f"task:{number}") for number in range(4))))

    assert ray.get(Reader.remote().read.remote(shared)) == [0, 1, 2, 3]
    cache.close()


def test_an_unknown_cluster_lists_those_that_run(shared: str) -> None:
    with pytest.raises(raycache.ClusterNotFoundError, match=shared):
        raycache.connect("no-such-cluster")
    with pytest.raises(raycache.ClusterNotFoundError, match=shared):
        raycache.stop("no-such-cluster")


def test_a_killed_shard_under_load_costs_its_own_keys_and_no_more(shared: str) -> None:
    cache = raycache.connect(shared, timeout_s=10)
    restarts = [shard.restarts for shard in raycache.status(shared).shards]
    keys = [f"load:{i}" for i in range(3000)]
    cache.set_many(dict.fromkeys(keys, "value"))
    table = raycache.topology(shared)
    victims = {key for key in keys if table.primary_of(slot_of(key.encode())).id == "s1"}  # type: ignore[union-attr]
    assert 500 < len(victims) < 1500

    stop, problems, longest, reads = threading.Event(), [], [0.0], [0]

    def load() -> None:
        mine = raycache.connect(shared, timeout_s=10)
        while not stop.is_set():
            for key in keys[::50]:
                began = time.monotonic()
                try:
                    found = mine.get(key)
                except Exception as error:
                    problems.append(repr(error))
                else:
                    if found is None and key not in victims:
                        problems.append(f"{key} is gone")
                longest[0] = max(longest[0], time.monotonic() - began)
                reads[0] += 1
        mine.close()

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: reads[0] > 200)
    epoch = raycache.status(shared).epoch
    os.kill(shard_pid(shared, "s1"), signal.SIGKILL)
    wait_until(lambda: (s := raycache.status(shared)).serving and s.epoch > epoch, 20)
    seen = reads[0]
    wait_until(lambda: reads[0] > seen + 200)
    stop.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "a client hangs"
    assert problems == []
    assert longest[0] < 10
    status = raycache.status(shared)
    assert [shard.restarts - before for shard, before in zip(status.shards, restarts, strict=True)] == [0, 1, 0]
    assert set(cache.get_many(keys)) == set(keys) - victims
    victim = min(victims)
    cache.set(victim, "again")
    assert cache.get(victim) == "again"
    cache.close()


def test_redis_clients_find_a_killed_shard_again(cluster_name: str, start: Start) -> None:
    status = start(shards=2)
    table = raycache.topology(cluster_name)
    host, port = address(status.gateways[0])
    with redis.Redis(host=host, port=port, socket_timeout=10) as plain:
        mine, other = key_of(table, "s0"), key_of(table, "s1")
        plain.mset({mine: "a", other: "b"})
        os.kill(shard_pid(cluster_name, "s0"), signal.SIGKILL)
        assert plain.get(other) == b"b"

        def is_back() -> bool:
            try:
                return bool(plain.set(mine, "c"))
            except redis.RedisError:
                return False

        wait_until(is_back, 20)
        assert plain.mget(mine, other) == [b"c", b"b"]
    host, port = address(raycache.status(cluster_name).shards[1].address)
    with RedisCluster(host=host, port=port) as clustered:
        assert clustered.get(mine) == b"c"


def test_the_router_is_not_on_the_data_path_and_recovers_from_the_shards(cluster_name: str, start: Start) -> None:
    import ray

    from raycache.actors import calls

    before = start()
    cache = raycache.connect(cluster_name)
    cache.set("k", 1)
    raycache.scale(cluster_name, 4)
    scaled = raycache.topology(cluster_name)
    ray.kill(calls.find_router(cluster_name), no_restart=False)  # type: ignore[arg-type]
    for _ in range(100):
        cache.set("k", 2)
        assert cache.get("k") == 2
    after = raycache.scale(cluster_name, 4)
    table = raycache.topology(cluster_name)
    assert len(after.shards) == 4, "the wanted number of shards was forgotten"
    assert table.epoch >= scaled.epoch > before.epoch
    assert (table.owners == scaled.owners).all()
    assert raycache.status(cluster_name).secret == before.secret
    cache.close()


def test_scaling_up_and_down_moves_slots_and_serves(cluster_name: str, start: Start) -> None:
    start()
    cache = raycache.connect(cluster_name)
    keys = [f"scale:{i}" for i in range(2000)]
    old = raycache.topology(cluster_name)
    for shards in (5, 2):
        status = raycache.scale(cluster_name, shards)
        assert len(status.shards) == shards
        cache.set_many(dict.fromkeys(keys, shards))
        assert cache.get_many(keys) == dict.fromkeys(keys, shards)
        table = raycache.topology(cluster_name)
        assert table.epoch > old.epoch
        old = table
    assert raycache.status(cluster_name).entries >= len(keys)
    cache.close()


def test_a_second_change_is_refused_in_one_line_and_what_happened_is_in_the_status(cluster_name: str, start: Start,
                                                                                 caplog: Any) -> None:
    from raycache.actors import calls

    start(copies=2)
    calls.scale(calls.find_router(cluster_name), 4, 10.0)  # returns when it has begun
    with pytest.raises(raycache.ChangeUnderWayError, match=r"^scale from 3 to 4 shards is under way since .*it$"):
        raycache.scale(cluster_name, 5)
    raycache.scale(cluster_name, 4)
    events = raycache.status(cluster_name).events
    assert any(event.kind == "refused" for event in events)
    assert events[0].age_s <= events[-1].age_s
    assert start(shards=4).copies == 2  # attaches, and says that this is another cluster than was asked for
    assert "copies=2 (primary-replica), not 4 shards" in caplog.text


def test_an_old_handle_follows_a_cluster_that_was_started_anew(cluster_name: str, start: Start) -> None:
    start(shards=2)
    with raycache.connect(cluster_name, timeout_s=10) as cache:
        cache.set("k", "old")
        raycache.scale(cluster_name, 3)
        raycache.stop(cluster_name)
        with pytest.raises(raycache.RayCacheError):
            cache.get("k")
        start(shards=2)
        cache.set("k", "new")
        assert cache.get("k") == "new"
        assert raycache.status(cluster_name).entries == 1


def test_fixed_ports_and_a_port_that_is_taken(cluster_name: str, start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(raycache.RayCacheError, match=f"cannot listen on .*:{port}"):
            start(shards=1, port=port)
        assert cluster_name not in raycache.clusters()
        with pytest.raises(raycache.RayCacheError, match=f"gateway port {port} is taken"):
            start(shards=1, gateway_port=port)
    status = start(shards=1, port=port)
    assert address(status.shards[0].address)[1] == port
    os.kill(shard_pid(cluster_name, "s0"), signal.SIGKILL)
    wait_until(lambda: raycache.status(cluster_name).shards[0].restarts == 1, 20)
    assert address(raycache.status(cluster_name).shards[0].address)[1] == port


def test_beyond_loopback_every_door_demands_the_secret(cluster_name: str, start: Start) -> None:
    import ray

    node = ray.util.get_node_ip_address()
    status = start(shards=2, bind=node)
    assert status.requires_auth
    for text in (status.gateways[0], status.shards[0].address):
        host, port = address(text)
        assert host == node
        with redis.Redis(host=host, port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.get("k")
        with redis.Redis(host=host, port=port, password="wrong") as liar, pytest.raises(redis.AuthenticationError):
            liar.get("k")
    host, port = address(status.gateways[0])
    with redis.Redis(host=host, port=port, password=status.secret) as member:
        assert member.set("k", "v")
    with raycache.connect(cluster_name) as cache:
        assert cache.get("k") == b"v"
    assert "secret" not in repr(status)


def test_the_secret_comes_from_rays_token_and_does_not_give_it_away(shared: str) -> None:
    from raycache.actors import environment

    token = environment.ray_token()
    secret = raycache.status(shared).secret
    assert len(secret) >= 32
    if token is None:  # RAY_AUTH_MODE=disabled: then it is random
        return
    expected = hmac.new(token.encode(), b"raycache/1:" + shared.encode(), hashlib.sha256).hexdigest()
    assert secret == expected
    assert token not in secret


def test_a_paused_shard_is_marked_down_and_comes_back_with_its_keys(shared: str) -> None:
    with raycache.connect(shared) as cache:
        key = key_of(raycache.topology(shared), "s2")
        cache.set(key, "kept")
        pid = shard_pid(shared, "s2")
        os.kill(pid, signal.SIGSTOP)
        try:
            wait_until(lambda: raycache.status(shared).shards[2].state == "down", 15)
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: raycache.status(shared).serving, 15)
        assert cache.get(key) == "kept"


def test_cpu_reservations_that_do_not_fit_do_not_stop_the_start(cluster_name: str, start: Start) -> None:
    status = start(shards=2, cpus_per_shard=3)
    assert status.serving
    assert any("does not fit" in warning for warning in status.warnings)


@pytest.mark.parametrize(("settings", "reason"), [
    ({"policy": "mru"}, "no policy 'mru'"), ({"memory": "1KiB"}, "too small"), ({"shards": 0}, "shards must be 1"),
    ({"memory": "lots"}, "is not a size"), ({"port": 65535}, "port"), ({"max_entries": 0}, "max_entries"),
])
def test_settings_that_make_no_sense_say_so(cluster_name: str, start: Start, settings: dict[str, Any],
                                            reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        start(**settings)
    assert cluster_name not in raycache.clusters()
