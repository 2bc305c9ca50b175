"""Clients that know nothing of clusters, on the gateway's port: redis-py, Django's cache, redis-cli, raw pipelines."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from raycache.ring.slots import slot_of
from raycache.ring.topology import Topology
from raycache.shard.commands import TABLE
from raycache.testing.local import LocalCluster
from tests.support import require_program

SECRET = "a-secret"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=3, secret=SECRET) as running:
        yield running


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def client(cluster: LocalCluster, request: pytest.FixtureRequest) -> Iterator[Any]:
    host, port = cluster.gateway_address
    connected = redis.Redis(host=host, port=port, protocol=request.param, password=SECRET)
    connected.flushall()
    yield connected
    connected.close()


def spread(cluster: LocalCluster, keys: list[str]) -> set[str]:
    """Return the ids of the shards that hold `keys`."""
    owners = {cluster.topology.primary_of(slot_of(key.encode())) for key in keys}
    return {owner.id for owner in owners if owner is not None}


NAMES = [f"name:{number}" for number in range(60)]


def test_the_names_used_here_live_on_all_shards(cluster: LocalCluster) -> None:
    assert spread(cluster, NAMES) == {"s0", "s1", "s2"}


def test_without_the_secret_nothing_is_served(cluster: LocalCluster) -> None:
    host, port = cluster.gateway_address
    once = Retry(NoBackoff(), 0)
    with redis.Redis(host=host, port=port, retry=once) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.get("name:1")
    with (
        redis.Redis(host=host, port=port, retry=once, password="wrong") as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


@pytest.mark.parametrize("door", ["gateway", "shard"])
def test_strangers_cannot_fill_the_memory(cluster: LocalCluster, door: str) -> None:
    address = cluster.gateway_address if door == "gateway" else cluster.addresses[0]
    large = b"*3\r\n$3\r\nSET\r\n$4\r\n{b}k\r\n$%d\r\n" % (1 << 20)
    with socket.create_connection(address, timeout=10) as stranger:
        stranger.sendall(large + b"x" * 60_000)
        stranger.settimeout(0.1)
        with pytest.raises(TimeoutError):
            stranger.recv(100)
        stranger.settimeout(10)
        stranger.sendall(b"x" * 10_000)
        assert stranger.recv(100) == b"-ERR Protocol error: unauthenticated command too large\r\n"
        assert stranger.recv(100) == b""
    with socket.create_connection(address, timeout=10) as member:
        member.sendall(b"AUTH %b\r\n%b%b\r\nPING\r\n" % (SECRET.encode(), large, b"x" * (1 << 20)))
        replies = b""
        while not replies.endswith(b"+PONG\r\n"):
            replies += member.recv(1000)
        assert replies.startswith(b"+OK\r\n")


@pytest.mark.parametrize("door", ["gateway", "shard"])
@pytest.mark.parametrize("request_line", [b"POST / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n",
                                          b"*2\r\n$4\r\nPOST\r\n$1\r\n/\r\n"])
def test_a_page_in_a_browser_cannot_run_commands(cluster: LocalCluster, client: Any, door: str,
                                                 request_line: bytes) -> None:
    """What Redis does, too: the connection closes at the request's first lines, before its body."""
    address = cluster.gateway_address if door == "gateway" else cluster.addresses[0]
    client.set("{b}kept", "here")
    with socket.create_connection(address, timeout=10) as page:
        page.sendall(b"AUTH %b\r\n" % SECRET.encode())
        assert page.recv(100) == b"+OK\r\n"
        page.sendall(request_line + b"Content-Type: text/plain\r\n\r\nFLUSHALL\r\nDEL {b}kept\r\n")
        replies = b""
        while chunk := page.recv(1000):
            replies += chunk
    assert replies in (b"", b"-ERR wrong number of arguments for 'get' command\r\n")
    assert client.get("{b}kept") == b"here"


def test_single_keys(client: Any) -> None:
    for name in NAMES:
        assert client.set(name, name.upper(), ex=100)
    assert [client.get(name) for name in NAMES] == [name.upper().encode() for name in NAMES]
    assert client.get("none") is None
    assert client.incr("counter", 5) == 5
    assert client.set("counter", 1, nx=True) is None
    assert 0 < client.ttl("name:3") <= 100
    with pytest.raises(redis.ResponseError, match="not an integer"):
        client.incr("name:3")


def test_many_keys_are_scattered_and_gathered_in_order(client: Any) -> None:
    assert client.mset({name: name for name in NAMES})
    assert client.mget([*NAMES, "none", NAMES[0]]) == [*[name.encode() for name in NAMES], None, NAMES[0].encode()]
    assert client.exists(*NAMES, NAMES[0], "none") == len(NAMES) + 1
    assert client.touch(*NAMES) == len(NAMES)
    assert client.dbsize() == len(NAMES)
    assert client.unlink(*NAMES[:10]) == 10
    assert client.delete(*NAMES) == len(NAMES) - 10
    assert client.dbsize() == 0


def test_thousands_of_keys_in_one_command(client: Any) -> None:
    many = {f"many:{number}": f"value {number}" for number in range(5000)}
    assert client.mset(many)
    assert client.mget(list(many)) == [value.encode() for value in many.values()]
    assert client.delete(*many) == 5000


def test_scan_and_keys_see_every_key_once_all_is_said(client: Any) -> None:
    client.mset(dict.fromkeys(NAMES, 1))
    client.mset({f"other:{number}": 1 for number in range(20)})
    everything = {name.encode() for name in NAMES} | {b"other:%d" % number for number in range(20)}
    assert set(client.scan_iter(count=7)) == everything
    assert set(client.scan_iter(match="other:*", count=3)) == {b"other:%d" % number for number in range(20)}
    assert set(client.scan_iter(_type="string")) == everything
    assert set(client.scan_iter(_type="list")) == set()
    assert set(client.keys("name:1*")) == {name.encode() for name in NAMES if name.startswith("name:1")}
    assert {client.randomkey() for _ in range(60)} <= everything
    with pytest.raises(redis.ResponseError, match="invalid cursor"):
        client.execute_command("SCAN", "nonsense")


def test_it_looks_like_one_standalone_redis(client: Any, cluster: LocalCluster) -> None:
    info = client.info()
    assert info["redis_mode"] == "standalone"
    assert (info["cluster_enabled"], info["loading"], info["role"]) == (0, 0, "master")
    assert info["redis_version"].startswith("7.")
    assert (info["tcp_port"], info["process_id"]) == (cluster.gateway_address[1], os.getpid())
    assert info["instantaneous_ops_per_sec"] >= 0
    assert info["raycache_shards"] == 3
    client.mset(dict.fromkeys(NAMES, 1))
    assert client.info("keyspace")["db0"]["keys"] == len(NAMES)
    with pytest.raises(redis.ResponseError, match="cluster support disabled"):
        client.execute_command("CLUSTER", "SLOTS")
    with pytest.raises(redis.ResponseError, match="cluster support disabled"):
        client.execute_command("READONLY")
    hello = client.execute_command("HELLO")
    fields = hello if isinstance(hello, dict) else dict(zip(hello[::2], hello[1::2], strict=True))
    assert fields[b"mode"] == b"standalone"


def test_local_commands(client: Any) -> None:
    assert client.ping()
    assert client.echo("hello") == b"hello"
    assert client.client_setname("tester")
    assert client.client_getname() in ("tester", b"tester")
    assert client.client_id() in {int(each["id"]) for each in client.client_list()}
    assert client.time()[0] > 1_700_000_000
    assert client.command_count() == len(TABLE)
    assert client.select(0)
    with pytest.raises(redis.ResponseError, match="DB index is out of range"):
        client.select(1)


def test_config_is_read_from_one_shard_and_written_to_all(client: Any, cluster: LocalCluster) -> None:
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
    client.mget(NAMES)
    assert client.info("stats")["keyspace_misses"] >= len(NAMES)
    assert client.config_resetstat()
    assert client.info("stats")["keyspace_misses"] == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["NOSUCH", "a"], "unknown command 'NOSUCH', with args beginning with: 'a'"),
        (["GET"], "wrong number of arguments for 'get'"),
        (["MSET", "a", "1", "b"], "wrong number of arguments for 'mset'"),
        (["CLIENT", "NOSUCH"], "unknown subcommand"),
        (["SET", "a", "1", "EX", "x"], "not an integer"),
        (["EXEC"], "EXEC without MULTI"),
        (["DISCARD"], "DISCARD without MULTI"),
    ],
)
def test_errors_are_those_of_redis(client: Any, command: list[str], message: str) -> None:
    with pytest.raises(redis.ResponseError, match=message):
        client.execute_command(*command)


def test_keys_that_belong_together_must_live_together(client: Any, cluster: LocalCluster) -> None:
    client.set("name:0", "kept")
    apart = next(name for name in NAMES if spread(cluster, [name]) != spread(cluster, ["name:0"]))
    for command in (["RENAME", "name:0", apart], ["MSETNX", "name:0", "1", apart, "2"], ["COPY", "name:0", apart]):
        with pytest.raises(redis.ResponseError, match=r"nothing was changed\. Keys with the same \{tag\}"):
            client.execute_command(*command)
    assert client.get("name:0") == b"kept"
    client.set("{t}a", 1)
    assert client.rename("{t}a", "{t}b")
    assert client.copy("{t}b", "{t}c")
    assert client.msetnx({"{t}d": 1, "{t}e": 2})


@pytest.mark.parametrize("transaction", [True, False])
def test_pipelines_over_all_shards(client: Any, transaction: bool) -> None:
    with client.pipeline(transaction=transaction) as pipe:
        for number, name in enumerate(NAMES):
            pipe.set(name, number).incr(name).get(name)
        pipe.mget(NAMES[:5]).ping().delete(*NAMES[:10]).dbsize()
        replies = pipe.execute()
    for number in range(len(NAMES)):
        assert replies[3 * number : 3 * number + 3] == [True, number + 1, b"%d" % (number + 1)]
    assert replies[3 * len(NAMES) :] == [[b"1", b"2", b"3", b"4", b"5"], True, 10, len(NAMES) - 10]


def test_deep_pipelines(client: Any) -> None:
    with client.pipeline(transaction=False) as pipe:
        for number in range(5000):
            pipe.set(f"deep:{number}", number)
            pipe.get(f"deep:{number}")
        assert pipe.execute()[1::2] == [b"%d" % number for number in range(5000)]


def test_a_bad_command_aborts_the_whole_transaction(client: Any) -> None:
    with client.pipeline() as pipe:
        pipe.set("name:1", 1).execute_command("NOSUCH").set("name:2", 2)
        with pytest.raises(redis.ResponseError, match="unknown command"):
            pipe.execute()
    assert client.mget("name:1", "name:2") == [None, None]


def test_a_failing_command_leaves_the_others(client: Any) -> None:
    client.set("name:1", "text")
    with client.pipeline() as pipe:
        pipe.incr("name:1").set("name:2", 2)
        replies = pipe.execute(raise_on_error=False)
    assert isinstance(replies[0], redis.ResponseError)
    assert replies[1] is True
    assert client.get("name:2") == b"2"


def test_watch_lets_the_transaction_run_if_nothing_changed(client: Any) -> None:
    client.set("{w}balance", 10)

    def double(pipe: Any) -> None:
        value = int(pipe.get("{w}balance"))
        pipe.multi()
        pipe.set("{w}balance", 2 * value).get("{w}balance").ping()

    assert client.transaction(double, "{w}balance") == [True, b"20", True]


@pytest.mark.parametrize("written", ["{w}mine", "name:1", "name:2"])
def test_watch_stops_the_transaction_if_any_watched_key_changed(
    client: Any, cluster: LocalCluster, written: str
) -> None:
    host, port = cluster.gateway_address
    with client.pipeline() as pipe, redis.Redis(host=host, port=port, password=SECRET) as other:
        pipe.watch("{w}mine", "name:1", "name:2")
        other.set(written, "changed")
        pipe.multi()
        pipe.set("{w}mine", "lost")
        with pytest.raises(redis.WatchError):
            pipe.execute()
        assert client.get("{w}mine") in (None, b"changed")
        pipe.watch("{w}mine")
        pipe.multi()
        pipe.set("{w}mine", "kept")
        assert pipe.execute() == [True]


def test_unwatch_and_discard_end_the_watching(client: Any) -> None:
    for ending in (["UNWATCH"], ["MULTI", "DISCARD"], ["MULTI", "EXEC"], ["RESET", f"AUTH {SECRET}"]):
        with client.client() as one, client.client() as other:
            one.execute_command("WATCH", "name:1")
            for command in ending:
                one.execute_command(*command.split())
            other.set("name:1", "changed")
            one.execute_command("MULTI")
            one.execute_command("SET", "name:2", "2")
            assert one.execute_command("EXEC") in ([b"OK"], [True], ["OK"])


def test_concurrent_increments_by_watch_lose_nothing(client: Any) -> None:
    def add(pipe: Any) -> None:
        value = int(pipe.get("{c}sum") or 0)
        pipe.multi()
        pipe.set("{c}sum", value + 1)

    def many() -> None:
        for _ in range(10):
            client.transaction(add, "{c}sum")

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert client.get("{c}sum") == b"40"


def test_locks_of_redis_py_need_scripts_and_say_so(client: Any) -> None:
    """redis-py's Lock releases by EVAL, which this version does not have; taking one works."""
    lock = client.lock("lock", timeout=10)
    with pytest.raises(redis.ResponseError, match="unknown command"):
        lock.acquire() and lock.release()


def test_client_reply_off_and_skip(client: Any) -> None:
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command("CLIENT", "REPLY", "OFF")
        connection.send_command("SET", "name:1", "1")
        connection.send_command("GET", "name:1")
        connection.send_command("CLIENT", "REPLY", "ON")
        assert connection.read_response() in (b"OK", "OK", True)
        connection.send_command("CLIENT", "REPLY", "SKIP")
        connection.send_command("SET", "name:1", "2")
        connection.send_command("GET", "name:1")
        assert connection.read_response() == b"2"
    finally:
        connection.disconnect()
        client.connection_pool.release(connection)


def test_quit_answers_what_came_before_and_closes(cluster: LocalCluster) -> None:
    host, port = cluster.gateway_address
    connection = redis.Connection(host=host, port=port, password=SECRET)
    connection.connect()
    connection.send_packed_command(connection.pack_commands([("SET", "q", "1"), ("GET", "q"), ("QUIT",), ("GET", "q")]))
    assert [connection.read_response() for _ in range(3)] == [b"OK", b"1", b"OK"]
    with pytest.raises(redis.ConnectionError):
        connection.read_response()
    connection.disconnect()


async def test_redis_py_async(cluster: LocalCluster) -> None:
    host, port = cluster.gateway_address
    async with redis.asyncio.Redis(host=host, port=port, protocol=3, password=SECRET) as client:
        await client.flushall()
        await asyncio.gather(*[client.set(name, name) for name in NAMES])
        assert await client.mget(NAMES) == [name.encode() for name in NAMES]
        async with client.pipeline(transaction=True) as pipe:
            replies = await pipe.set("a", 1).incr("b").mget(NAMES[:2]).execute()
        assert replies == [True, 1, [b"name:0", b"name:1"]]
        assert {key async for key in client.scan_iter(match="name:*")} == {name.encode() for name in NAMES}


def test_split_transactions_off_refuses_several_shards_and_changes_nothing() -> None:
    with LocalCluster(shards=3, split_transactions=False) as strict:
        host, port = strict.gateway_address
        with redis.Redis(host=host, port=port) as client:
            with client.pipeline() as pipe:
                for name in NAMES:
                    pipe.set(name, 1)
                with pytest.raises(redis.exceptions.ExecAbortError, match="split_transactions is off"):
                    pipe.execute()
            assert client.dbsize() == 0
            with client.pipeline() as pipe:
                assert pipe.set("{t}a", 1).set("{t}b", 2).ping().execute() == [True, True, True]
            with pytest.raises(redis.ResponseError, match="don't live on one shard"):
                client.execute_command("WATCH", *NAMES)


def test_a_killed_shard_costs_its_own_keys_only_and_comes_back() -> None:
    with LocalCluster(shards=3) as mortal:
        host, port = mortal.gateway_address
        with redis.Redis(host=host, port=port, socket_timeout=30) as client:
            client.mset({name: name for name in NAMES})
            lost = {name for name in NAMES if spread(mortal, [name]) == {"s1"}}
            mortal.kill(1)
            for name in NAMES:
                if name not in lost:
                    assert client.get(name) == name.encode()
            revive = threading.Timer(0.5, mortal.restart, [1])
            revive.start()
            assert client.get(next(iter(lost))) is None, "waited for the shard, which came back empty"
            revive.join()
            assert client.mget(NAMES) == [None if name in lost else name.encode() for name in NAMES]


def test_moved_slots_are_followed() -> None:
    with LocalCluster(shards=2) as moving:
        host, port = moving.gateway_address
        with redis.Redis(host=host, port=port) as client:
            for _ in range(3):
                moving.move(lambda now: 1 - now.owners)
                for name in NAMES:
                    assert client.set(name, "here")
                    assert client.get(name) == b"here"


@pytest.fixture
def django_cache(cluster: LocalCluster) -> Iterator[Any]:
    from django.conf import settings
    from django.core.cache.backends.redis import RedisCache

    if not settings.configured:
        settings.configure(USE_TZ=True)
    host, port = cluster.gateway_address
    cache = RedisCache(f"redis://:{SECRET}@{host}:{port}/0", {})
    cache.clear()
    yield cache
    cache.close()


def test_djangos_cache_backend(django_cache: Any) -> None:
    cache = django_cache
    people = {f"person:{number}": {"name": f"Ada {number}", "tags": [1, 2.5, None]} for number in range(40)}
    assert cache.set_many(people, timeout=60) == []
    assert cache.get_many([*people, "nobody"]) == people
    cache.set("n", 1)
    assert cache.incr("n", 4) == 5
    assert cache.get("n") == 5
    assert cache.add("n", 9) is False
    assert cache.add("m", 9) is True
    assert cache.touch("m", 100) is True
    assert cache.has_key("m")
    assert cache.get_or_set("computed", lambda: 42, 10) == 42
    assert cache.delete("m") is True
    cache.delete_many(people)
    assert cache.get_many(people) == {}
    with pytest.raises(ValueError, match="not found"):
        cache.incr("absent")
    cache.clear()
    assert cache.get("n") is None


def redis_cli(cluster: LocalCluster, *words: str, stdin: str | None = None) -> str:
    program = require_program("redis-cli", "redis-tools")
    host, port = cluster.gateway_address
    command = [program, "-h", host, "-p", str(port), "-a", SECRET, "--no-auth-warning", *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=True).stdout


def test_redis_cli(cluster: LocalCluster) -> None:
    assert redis_cli(cluster, "FLUSHALL") == "OK\n"
    assert redis_cli(cluster, "MSET", *[word for name in NAMES for word in (name, name)]) == "OK\n"
    assert redis_cli(cluster, "MGET", "name:1", "name:2", "none").split("\n")[:3] == ["name:1", "name:2", ""]
    assert sorted(redis_cli(cluster, "--scan", "--pattern", "name:*").split()) == sorted(NAMES)
    assert json.loads(redis_cli(cluster, "-3", "--json", "MGET", "name:1", "none")) == ["name:1", None]
    transcript = redis_cli(cluster, stdin="MULTI\nINCR cli\nMGET name:1 name:2\nEXEC\nGET cli\nNOSUCH\n")
    assert transcript.split("\n")[:3] == ["OK", "QUEUED", "QUEUED"]
    assert "ERR unknown command" in transcript
    assert "redis_mode:standalone" in redis_cli(cluster, "INFO", "server")


def test_redis_benchmark_runs_through_it(cluster: LocalCluster) -> None:
    program = require_program("redis-benchmark", "redis-tools")
    host, port = cluster.gateway_address
    command = [
        program,
        "-h",
        host,
        "-p",
        str(port),
        "-a",
        SECRET,
        "-q",
        "-n",
        "2000",
        "-c",
        "20",
        "-P",
        "16",
        "-r",
        "1000",
    ]
    done = subprocess.run([*command, "-t", "set,get,mset,incr"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.count("requests per second") == 4
    assert "Error" not in done.stdout + done.stderr


def test_rc_topology_lets_a_handle_start_from_the_gateway(cluster: LocalCluster) -> None:
    host, port = cluster.gateway_address
    with redis.Redis(host=host, port=port, password=SECRET) as client:
        assert Topology.from_bytes(client.execute_command("RC.TOPOLOGY")) == cluster.topology
        assert client.execute_command("RC.TOPOLOGY", cluster.topology.epoch) is None
        for number in ("x", "9" * 5000):
            with pytest.raises(redis.ResponseError, match="not an integer"):
                client.execute_command("RC.TOPOLOGY", number)
