"""The threat model's rows, each tried from outside: real sockets, real handshakes, and the answers that must come.

docs/security.md names the test of each row. What users may send is tried command by command in
tests/unit/shard/test_access.py; here it goes through doors, gateways, restarts and handles.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import socket
import ssl
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest
import redis
from redis.cluster import RedisCluster

import raycache
from raycache.client.aio import AsyncCache
from raycache.client.sync import Cache
from raycache.config import Limits
from raycache.connecting import _login
from raycache.shard.server import DoorStats
from raycache.testing import LocalCluster
from raycache.tls import TlsSettings
from serve_app.clusters import Clusters, connecting_as
from serve_app.settings import HttpSettings
from tests.certificates import CLUSTER_NAME, Authority
from tests.clients.http_door import http_door
from tests.support import wait_until

SECRET = "open sesame"
USERS = ("user ada on >pw-of-ada ~ada:* ~__raycache_tag__:* +@read +@write +@connection +@transaction "
         "-@dangerous",
         "user reader on >pw-of-reader ~* +@read +@connection")
FEW = Limits(max_unauthenticated=5, auth_timeout_s=0.5, handshake_timeout_s=0.5, max_unauthenticated_bytes=4096,
             max_connections=50)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def plain() -> Iterator[LocalCluster]:
    """Doors without TLS that demand the secret, as they do beyond loopback."""
    with LocalCluster(3, secret=SECRET, copies=2, users=USERS) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def encrypted(authority: Authority) -> Iterator[LocalCluster]:
    with LocalCluster(2, secret=SECRET, copies=2, users=USERS, tls=authority.settings("both")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def guarded() -> Iterator[LocalCluster]:
    """Doors with tight limits on strangers."""
    with LocalCluster(1, secret=SECRET, limits=FEW) as cluster:
        yield cluster


def doors(cluster: LocalCluster) -> list[tuple[str, int]]:
    return [cluster.addresses[0], cluster.gateway_address]


def client(address: tuple[str, int], user: str | None = None, password: str = SECRET, **options: object) -> redis.Redis:
    return redis.Redis(host=address[0], port=address[1], username=user, password=password, **options)  # type: ignore[arg-type]


def said(sock: socket.socket, line: bytes) -> bytes:
    sock.sendall(line)
    return sock.recv(65536)


def is_closed(sock: socket.socket) -> bool:
    """Return whether the other side has ended the connection; what it has said before counts nothing."""
    sock.settimeout(5)
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        return True
    return True


# Strangers


@pytest.mark.parametrize("door", [0, 1], ids=["shard", "gateway"])
@pytest.mark.parametrize("line", [
    b"GET ada:1\r\n", b"SET a b\r\n", b"FLUSHALL\r\n", b"CONFIG GET *\r\n", b"INFO\r\n", b"RC.TOPOLOGY\r\n",
    b"ACL LIST\r\n", b"CLUSTER SLOTS\r\n", b"MULTI\r\n", b"EXEC\r\n", b"RC.PEER router x\r\n", b"RC.ACCESS x\r\n",
    b"WATCH a\r\n", b"CLIENT LIST\r\n", b"PING\r\n", b"COMMAND\r\n",
])
def test_a_stranger_gets_nothing_but_noauth(plain: LocalCluster, door: int, line: bytes) -> None:
    with socket.create_connection(doors(plain)[door], 5) as sock:
        assert said(sock, line).startswith((b"-NOAUTH", b"-EXECABORT")), line


@pytest.mark.parametrize("door", [0, 1], ids=["shard", "gateway"])
@pytest.mark.parametrize("words", ["AUTH open", "AUTH default open", "AUTH ada open sesame", "AUTH reader x",
                                   "AUTH nobody x", "HELLO 3 AUTH default x", "HELLO 3"])
def test_wrong_words_open_nothing(plain: LocalCluster, door: int, words: str) -> None:
    with socket.create_connection(doors(plain)[door], 5) as sock:
        assert said(sock, words.encode() + b"\r\n").startswith((b"-WRONGPASS", b"-NOAUTH", b"-ERR")), words
        assert said(sock, b"GET a\r\n").startswith(b"-NOAUTH")


@pytest.mark.parametrize("door", [0, 1], ids=["shard", "gateway"])
def test_who_guesses_passwords_is_cut_off(plain: LocalCluster, door: int) -> None:
    with socket.create_connection(doors(plain)[door], 5) as sock:
        sock.sendall(b"AUTH guess\r\n" * 50 + b"AUTH default %b\r\n" % b'"open sesame"')
        sock.settimeout(5)
        data = b""
        with contextlib.suppress(ConnectionError):
            while chunk := sock.recv(65536):
                data += chunk
        assert data.count(b"-WRONGPASS") == 8
        assert b"+OK" not in data


@pytest.mark.parametrize("door", [0, 1], ids=["shard", "gateway"])
def test_strangers_may_not_stay(guarded: LocalCluster, door: int) -> None:
    with socket.create_connection(doors(guarded)[door], 5) as sock:
        assert said(sock, b"PING\r\n").startswith(b"-NOAUTH")
        assert is_closed(sock)
    with client(doors(guarded)[door]) as member:
        member.ping()


@pytest.mark.parametrize("door", [0, 1], ids=["shard", "gateway"])
def test_strangers_cannot_take_all_connections(guarded: LocalCluster, door: int) -> None:
    with contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection(doors(guarded)[door], 5)) for _ in range(200)]
        member = stack.enter_context(client(doors(guarded)[door]))
        assert member.ping()
        server = guarded.servers[0] if door == 0 else guarded.gateway
        assert server is not None
        assert len(server.strangers) <= FEW.max_unauthenticated
        assert is_closed(crowd[0])


@pytest.mark.parametrize("door", [0, 1], ids=["shard", "gateway"])
def test_strangers_may_send_little(guarded: LocalCluster, door: int) -> None:
    with socket.create_connection(doors(guarded)[door], 5) as sock:
        sock.settimeout(5)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                sock.sendall(b"PING\r\n" * 100)
                sock.recv(65536)
        assert is_closed(sock)


def test_what_happened_at_the_door_is_counted(guarded: LocalCluster) -> None:
    server = guarded.servers[0]
    assert server is not None
    with socket.create_connection(guarded.addresses[0], 5) as sock:
        before = server.stats.dropped_strangers
        assert is_closed(sock)
    assert server.stats.dropped_strangers > before
    assert "dropped_strangers" in DoorStats().as_dict()


# Users, through every door


FORBIDDEN = (
    ("GET", "theirs"), ("MGET", "ada:1", "theirs"), ("SET", "theirs", "x"), ("DEL", "ada:1", "theirs"), ("KEYS", "*"),
    ("SCAN", "0"), ("RANDOMKEY",), ("FLUSHALL",), ("CONFIG", "GET", "*"), ("RC.CLEAR",), ("ACL", "LIST"),
    ("ACL", "SETUSER", "ada", "+@all"), ("RC.TOP", "5"), ("CLIENT", "LIST"), ("CLIENT", "KILL", "ID", "1"),
    ("RC.WRITE", b"\x80", "SET", "theirs", "x"),
    ("RC.GET", "theirs"), ("RC.SCAN", "0", "", "10"), ("WATCH", "theirs"), ("RC.LEASE", "1", "1", "theirs", "1"),
    ("RC.HOTTEST", "5"), ("RC.RECORD", "START", "x"), ("RC.PEER", "router", "x"), ("RC.ACCESS", "x"))


@pytest.mark.parametrize("door", [0, 1], ids=["shard", "gateway"])
def test_a_user_reaches_its_keys_and_no_others(plain: LocalCluster, door: int) -> None:
    with client(plain.gateway_address) as member, client(doors(plain)[door], "ada", "pw-of-ada") as ada:
        member.mset({"theirs": "secret", "ada:1": "hers"})
        for line in FORBIDDEN:
            with pytest.raises((redis.ResponseError, redis.AuthenticationError)) as caught:
                ada.execute_command(*line)
            assert "MOVED" not in str(caught.value), line
        assert member.mget("theirs", "ada:1") == [b"secret", b"hers"]
        if door == 1:
            assert ada.mget("ada:1", "ada:2") == [b"hers", None]
            assert sorted(ada.scan_iter("ada:*")) == [b"ada:1"]


def test_a_pipeline_and_a_transaction_at_the_gateway(plain: LocalCluster) -> None:
    with client(plain.gateway_address) as member, client(plain.gateway_address, "ada", "pw-of-ada") as ada:
        member.set("theirs", "secret")
        replies = ada.pipeline(transaction=False).set("ada:2", "x").get("theirs").get("ada:2").execute(
            raise_on_error=False)
        assert [type(one).__name__ for one in replies] == ["bool", "NoPermissionError", "bytes"]
        with pytest.raises(redis.ResponseError):
            ada.pipeline(transaction=True).set("ada:2", "y").set("theirs", "y").execute()
        assert member.get("ada:2") == b"x"
        with socket.create_connection(plain.gateway_address, 5) as sock:
            said(sock, b"AUTH ada pw-of-ada\r\n")
            said(sock, b"MULTI\r\n")
            assert said(sock, b"SET ada:2 z\r\n") == b"+QUEUED\r\n"
            member.execute_command("ACL", "SETUSER", "ada", "-set")
            try:
                assert said(sock, b"EXEC\r\n").startswith(b"-NOPERM")
            finally:
                member.execute_command("ACL", "SETUSER", "ada", "+set")
        assert member.get("ada:2") == b"x"


def test_the_gateway_lends_nobody_its_own_rights(plain: LocalCluster) -> None:
    with client(plain.gateway_address) as member:  # the secret's rights, but no part of the cluster
        for line in (("RC.PEER", "router", "x"), ("RC.ACCESS", "MERGE", "x"), ("RC.ACCESS", "x"), ("RC.VERIFY",)):
            with pytest.raises(redis.ResponseError):
                member.execute_command(*line)


def test_handles_of_a_user(plain: LocalCluster) -> None:
    host, port = plain.addresses[0]
    options = {"address": f"{host}:{port}", "user": "ada", "password": "pw-of-ada"}
    with raycache.connect("local", **options) as ada:
        ada.set("ada:3", {"a": 1})
        assert ada.get("ada:3") == {"a": 1}
        assert ada.get_or_load("ada:4", lambda: 7, ttl=60, tags=["t"]) == 7
        assert {"ada:3", "ada:4"} <= set(ada.scan("ada:"))
        for attempt in (lambda: ada.get("theirs"), lambda: ada.set("theirs", 1), lambda: list(ada.scan("")),
                        lambda: ada.clear(), lambda: ada.get_many(["ada:3", "theirs"])):
            with pytest.raises(raycache.NotPermittedError):
                attempt()
    with raycache.connect("local", address=f"{host}:{port}", user="ada", password="x") as wrong, \
            pytest.raises(raycache.AuthenticationError):
        wrong.get("ada:3")

    async def asynchronously() -> None:
        async with await raycache.connect_async("local", **options) as ada:
            assert await ada.get("ada:3") == {"a": 1}
            with pytest.raises(raycache.NotPermittedError):
                await ada.get("theirs")

    asyncio.run(asynchronously())


@pytest.mark.parametrize("credentials", [("s", "u", "p"), (None, "u", None), (None, None, "p")])
def test_credentials_that_make_no_sense(credentials: tuple[str | None, str | None, str | None]) -> None:
    with pytest.raises(ValueError, match="user"):
        _login(*credentials, None)


# Users, on all shards and after restarts


def names(cluster: LocalCluster) -> list[list[str]]:
    cores = [server.core for server in cluster.servers if server is not None]
    assert cluster.gateway is not None
    return [core.guard.users.names() for core in (*cores, cluster.gateway.core)]


def everywhere(cluster: LocalCluster, name: str, *, there: bool) -> None:
    wait_until(lambda: all((name in known) is there for known in names(cluster)), 5.0)


def test_users_reach_all_doors_and_survive_restarts() -> None:
    with LocalCluster(3, secret=SECRET, copies=2, users=USERS) as cluster:
        with client(cluster.gateway_address) as gateway, client(cluster.addresses[1]) as shard:
            gateway.execute_command("ACL", "SETUSER", "eve", "on", ">x", "~*", "+get")
            assert all("eve" in known for known in names(cluster)), "the gateway answers when all shards know"
            shard.execute_command("ACL", "DELUSER", "reader")
            everywhere(cluster, "reader", there=False)
        cluster.kill(0)
        cluster.kill_router()
        cluster.start_router()
        cluster.restart(0)
        cluster.wait_until_settled()
        everywhere(cluster, "eve", there=True)
        everywhere(cluster, "reader", there=False)  # although the cluster was started with it
        with client(cluster.addresses[0], "eve", "x") as eve, pytest.raises(redis.ResponseError):
            eve.set("a", "b")


def test_users_reach_all_doors_where_no_router_runs() -> None:
    with LocalCluster(2, secret=SECRET) as cluster:
        with client(cluster.addresses[1]) as shard:
            shard.execute_command("ACL", "SETUSER", "eve", "on", ">x", "~*", "+get")
        everywhere(cluster, "eve", there=True)
        cluster.kill(0)
        cluster.restart(0)
        everywhere(cluster, "eve", there=True)


def test_a_deleted_user_is_thrown_out_everywhere(plain: LocalCluster) -> None:
    with client(plain.gateway_address) as member:
        member.execute_command("ACL", "SETUSER", "mallory", "on", ">x", "~*", "+@all")
        with contextlib.ExitStack() as stack:
            inside = [stack.enter_context(socket.create_connection(address, 5)) for address in doors(plain)]
            for sock in inside:
                assert said(sock, b"AUTH mallory x\r\n") == b"+OK\r\n"
            assert member.execute_command("ACL", "DELUSER", "mallory") == 1
            assert all(map(is_closed, inside))


# TLS


def test_everything_works_encrypted(encrypted: LocalCluster, authority: Authority) -> None:
    with Cache(encrypted.info) as cache:
        cache.set("a", {"x": 1})
        cache.set("large", b"x" * 3_000_000)
        assert cache.get("a") == {"x": 1}
        assert cache.get_many(["a", "large"])["large"] == b"x" * 3_000_000
        assert cache.get_or_load("loaded", lambda: 1, ttl=60) == 1

    async def asynchronously() -> None:
        async with AsyncCache(encrypted.info) as cache:
            assert await cache.get("a") == {"x": 1}
            await asyncio.gather(*(cache.set(f"k{number}", b"v" * 10_000) for number in range(100)))
            assert len(await cache.get_many([f"k{number}" for number in range(100)])) == 100

    asyncio.run(asynchronously())
    options = {"ssl": True, "ssl_ca_certs": authority.ca}
    for address in doors(encrypted):
        with client(address, **options) as plain_client:
            assert plain_client.ping()
    with client(encrypted.gateway_address, **options) as gateway:
        assert len(gateway.get("large")) == 3_000_000
        gateway.mset({f"m{number}": "x" for number in range(50)})
    host, port = encrypted.addresses[0]
    with RedisCluster(host=host, port=port, password=SECRET, **options) as cluster:
        assert cluster.get("m1") == b"x"
    assert all(server.core.replicator.stats()["peers"] for server in encrypted.servers if server is not None
               and server.core.replicator is not None)


def test_nothing_is_readable_on_the_wire(encrypted: LocalCluster) -> None:
    """A wire-tap between a client and a shard sees no key, no value and no password."""
    seen = bytearray()
    tap = socket.create_server(("127.0.0.1", 0))

    async def relay() -> None:
        tap.setblocking(False)
        loop = asyncio.get_running_loop()
        talking = asyncio.create_task(asyncio.to_thread(talk))
        near, _ = await loop.sock_accept(tap)
        far = socket.create_connection(encrypted.addresses[0])
        far.setblocking(False)

        async def pump(source: socket.socket, sink: socket.socket) -> None:
            while data := await loop.sock_recv(source, 65536):
                seen.extend(data)
                await loop.sock_sendall(sink, data)

        pumps = [asyncio.create_task(pump(near, far)), asyncio.create_task(pump(far, near))]
        await talking
        for task in pumps:
            task.cancel()
        near.close()
        far.close()

    def talk() -> None:
        tls = encrypted.info.tls
        assert tls is not None
        with client(tap.getsockname(), ssl=True, ssl_ca_certs=tls.ca) as member:
            member.execute_command("ECHO", "a very visible value")

    asyncio.run(relay())
    tap.close()
    assert len(seen) > 500
    assert b"visible" not in seen
    assert SECRET.encode() not in seen


@pytest.mark.parametrize("door", [0, 1], ids=["shard", "gateway"])
def test_without_tls_nobody_gets_in(encrypted: LocalCluster, door: int) -> None:
    with socket.create_connection(doors(encrypted)[door], 5) as sock:
        sock.sendall(b"AUTH default %b\r\nPING\r\n" % SECRET.encode())
        sock.settimeout(10)
        with contextlib.suppress(ConnectionError):
            assert not sock.recv(4096).startswith((b"+", b"-"))


@pytest.mark.parametrize("door", [0, 1], ids=["shard", "gateway"])
def test_old_versions_of_tls_are_refused(encrypted: LocalCluster, door: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")  # or this side would refuse by itself
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(doors(encrypted)[door], 5) as sock, pytest.raises(
            OSError, match=r"(?i)protocol|reset|EOF|alert"):
        context.wrap_socket(sock)


def test_a_shard_with_another_certificate_is_not_believed(encrypted: LocalCluster, tmp_path: Path) -> None:
    """Somebody else's authority, and the right authority with another name: both handles and redis-py refuse."""
    stranger = Authority.make(tmp_path, "stranger")
    host, port = encrypted.addresses[0]
    for tls in (TlsSettings(ca=stranger.ca), TlsSettings(ca=encrypted.info.tls.ca, server_name="bank.example")):  # type: ignore[union-attr]
        with raycache.connect("local", address=f"{host}:{port}", secret=SECRET, tls=tls) as cache, \
                pytest.raises(raycache.AuthenticationError, match="certificate"):
            cache.get("a")

        async def asynchronously(tls: TlsSettings = tls) -> None:
            async with await raycache.connect_async("local", address=f"{host}:{port}", secret=SECRET,
                                                    tls=tls) as cache:
                with pytest.raises(raycache.AuthenticationError, match="certificate"):
                    await cache.get("a")

        asyncio.run(asynchronously())


def test_a_name_for_all_certificates(authority: Authority) -> None:
    """Certificates that name no address, only the cluster: for machines whose addresses nobody knows beforehand."""
    tls = authority.settings("named", server_name=CLUSTER_NAME, addresses=())
    with LocalCluster(2, secret=SECRET, copies=2, tls=tls) as cluster, Cache(cluster.info) as cache:
        cache.set("a", 1)
        assert cache.get("a", read_from="replica") == 1


def certified(address: tuple[str, int], authority: Authority, cert: tuple[str, str] | None) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=authority.ca)
    if cert is not None:
        context.load_cert_chain(*cert)
    sock = context.wrap_socket(socket.create_connection(address, 5), server_hostname="127.0.0.1")
    sock.sendall(b"AUTH default %b\r\n" % b'"open sesame"')
    return sock


def is_turned_away(address: tuple[str, int], authority: Authority, cert: tuple[str, str] | None) -> bool:
    """Return whether the door ends the connection without an answer. (TLS 1.3: a client hears of it when it reads.)"""
    try:
        with certified(address, authority, cert) as sock:
            return not sock.recv(100)
    except OSError:
        return True


def test_the_secret_alone_does_not_make_a_shard(authority: Authority, tmp_path: Path) -> None:
    """Who has stolen the secret can be a client, but cannot speak as a shard or the router does."""
    tls = authority.settings("members", server_name=CLUSTER_NAME)
    client_cert = authority.issue("client", names=("app.example",))
    with LocalCluster(2, secret=SECRET, copies=2, tls=tls) as cluster:
        assert tls.cert is not None
        assert tls.key is not None
        for cert, may in ((None, False), (client_cert, False), ((tls.cert, tls.key), True)):
            with certified(cluster.addresses[0], authority, cert) as sock:
                assert sock.recv(100) == b"+OK\r\n"
                sock.sendall(b"RC.PEER s1 \x90\r\n")
                answer = sock.recv(100)
                assert answer.startswith(b"-NOAUTH") is not may, (cert, answer)
                sock.sendall(b"RC.ACCESS x\r\n")
                assert sock.recv(4096).startswith(b"-NOAUTH") is not may


@pytest.mark.parametrize("door", [0, 1], ids=["shard", "gateway"])
def test_doors_that_demand_certificates(authority: Authority, tmp_path: Path, door: int) -> None:
    tls = authority.settings(f"demanding{door}", require_client_cert=True)
    stranger = Authority.make(tmp_path, "stranger")
    with LocalCluster(1, secret=SECRET, tls=tls) as cluster:
        for cert in (None, stranger.issue("foreign")):
            assert is_turned_away(doors(cluster)[door], authority, cert)
        with certified(doors(cluster)[door], authority, authority.issue("app")) as sock:
            assert sock.recv(100) == b"+OK\r\n"
        with Cache(cluster.info) as cache:  # which has the cluster's own
            cache.set("a", 1)
        with Cache(raycache.ConnectionInfo("local", tuple(cluster.addresses), SECRET, tls=TlsSettings(ca=tls.ca)),
                   timeout_s=0.5) as cache, pytest.raises(raycache.RayCacheError):
            cache.get("a")


def test_unfinished_handshakes_bound(authority: Authority) -> None:
    with LocalCluster(1, secret=SECRET, tls=authority.settings("slow"), limits=FEW) as cluster:
        for address in doors(cluster):
            with contextlib.ExitStack() as stack:
                crowd = [stack.enter_context(socket.create_connection(address, 5)) for _ in range(60)]
                crowd[-1].sendall(b"\x16\x03\x01")  # the beginning of a handshake, and no more
                with client(address, ssl=True, ssl_ca_certs=authority.ca) as member:
                    assert member.ping()
                assert all(map(is_closed, crowd))


def test_new_certificates_are_used_without_a_restart(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    tls = authority.settings("door")
    assert tls.cert is not None
    with LocalCluster(2, secret=SECRET, copies=2, tls=tls) as cluster:

        def serial() -> str:
            context = ssl.create_default_context(cafile=authority.ca)
            with context.wrap_socket(socket.create_connection(cluster.addresses[0], 5),
                                     server_hostname="127.0.0.1") as sock:
                certificate = sock.getpeercert()
                assert certificate is not None
                return str(certificate["serialNumber"])

        with Cache(cluster.info) as cache:
            cache.set("a", 1)
            first = serial()
            Path(tls.cert).write_text("half a certificate")
            assert serial() == first  # what cannot be read stops nobody
            authority.issue("door")
            assert serial() != first
            assert cache.get("a") == 1  # connections that are open stay
        with Cache(cluster.info) as cache:
            assert cache.get("a") == 1


# Secrets stay secret


def test_secrets_are_in_no_log_repr_or_info(plain: LocalCluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    texts = [repr(plain.info), repr(plain.info.login), repr(plain.config)]
    for address in doors(plain):
        with client(address) as member:
            with pytest.raises(redis.AuthenticationError):
                member.execute_command("AUTH", "ada", "a wrong password")
            for line in (("INFO", "everything"), ("CLIENT", "LIST"), ("CONFIG", "GET", "*"), ("ACL", "LOG"),
                         ("ACL", "LIST")):
                texts.append(repr(member.execute_command(*line)))
    with raycache.connect("local", address="{}:{}".format(*plain.addresses[0]), user="ada",
                          password="pw-of-ada") as handle:
        handle.get("ada:1")
        texts.append(repr(handle))
    with socket.create_connection(plain.addresses[0], 5) as sock:
        said(sock, b"AUTH ada pw-of-ada-mistyped\r\nAUHT pw-of-ada\r\n")
    text = "\n".join(texts) + caplog.text
    for secret in (SECRET, "pw-of-ada", "a wrong password"):
        assert secret not in text


def test_no_door_listens_on_udp(plain: LocalCluster) -> None:
    """Nothing can be reflected off a cache that listens on no UDP port (the memcached attack of 2018)."""
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("udp", "udp6")]
    inodes = {line.split()[9] for table in tables for line in table}
    mine = {text[8:-1] for link in Path("/proc/self/fd").iterdir() if (text := _target(link)).startswith("socket:[")}
    assert mine
    assert not mine & inodes


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def test_comparing_takes_no_time_that_tells(plain: LocalCluster) -> None:
    """The comparisons are those that do not end early; timing them on a shared machine would show only its noise."""
    import inspect

    from raycache.access.users import Users
    from raycache.shard.guard import Guard

    for function in (Guard.authenticate, Users.owner_of):
        assert "compare_digest" in inspect.getsource(function)


def test_a_page_in_a_browser_cannot_send_commands(plain: LocalCluster) -> None:
    for address in doors(plain):
        with socket.create_connection(address, 5) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a b\r\n")
            assert is_closed(sock)


def test_the_http_door_has_the_rights_of_its_user(encrypted: LocalCluster, tmp_path: Path) -> None:
    """Over TLS to the shards, with a password that stands in a file and in no configuration."""
    file = tmp_path / "password"
    file.write_text("pw-of-ada\n")
    settings = HttpSettings(cluster="local", user="ada", password_file=str(file))
    host, port = encrypted.addresses[0]
    found = partial(raycache.connect_async, address=f"{host}:{port}", tls=encrypted.info.tls)
    clusters = Clusters(connecting_as(settings.user, settings.password_file, found), lambda: ["local"])
    assert "pw-of-ada" not in repr(settings) + repr(settings.as_mapping())
    with http_door(encrypted, settings, clusters) as door, httpx.Client(base_url=door.url) as client_:
        assert client_.put("/v1/local/keys/ada:http", content=b"x").status_code in (200, 201, 204)
        assert client_.get("/v1/local/keys/ada:http").content == b"x"
        for answer in (client_.get("/v1/local/keys/theirs"), client_.put("/v1/local/keys/theirs", content=b"x")):
            assert answer.status_code == 403, answer.text
        assert client_.post("/", json=["GET", "ada:http"]).json() == {"result": "x"}
        for command in (["GET", "theirs"], ["SET", "theirs", "x"], ["FLUSHALL"]):
            assert client_.post("/", json=command).json().get("error", "").startswith("NOPERM"), command
    with pytest.raises(ValueError, match="password_file"):
        HttpSettings(user="ada")


class Bomb:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a value was unpickled",)


def test_a_pickle_is_never_loaded(plain: LocalCluster) -> None:
    """Whatever a Redis client writes, of whatever kind it says it is, a handle loads no pickle."""
    bomb = pickle.dumps(Bomb())
    with client(plain.gateway_address) as member, Cache(plain.info) as cache:
        member.set("bomb", bomb)
        assert cache.get("bomb") == bomb
        for kind in range(16):
            with contextlib.suppress(redis.ResponseError, raycache.RayCacheError):
                member.execute_command("RC.SET", "bomb", str(kind), bomb, "0")
                cache.get("bomb")
        with pytest.raises(raycache.UnsupportedTypeError):
            cache.set("bomb", Bomb())
