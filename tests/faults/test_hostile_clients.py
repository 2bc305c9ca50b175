"""Clients that break the rules: each gets its error, and the shard goes on serving everybody else."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from raycache.config import MIB, Limits
from raycache.ring.slots import slot_of
from raycache.testing.local import LocalCluster
from tests.support import wait_until

LIMITS = Limits(max_value_bytes=4 * MIB, max_connections=20, slow_client_timeout_s=1.0, half_sent_timeout_s=1.0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=1, gateway=False, limits=LIMITS) as running:
        yield running


@pytest.fixture
def friend(cluster: LocalCluster) -> Iterator[Any]:
    """A well-behaved client that must never notice anything."""
    host, port = cluster.addresses[0]
    client = redis.Redis(host=host, port=port)
    client.set("friend", "here")
    yield client
    assert client.get("friend") == b"here"
    client.close()


def dial(cluster: LocalCluster) -> socket.socket:
    sock = socket.create_connection(cluster.addresses[0], timeout=10)
    sock.settimeout(10)
    return sock


def read_all(sock: socket.socket) -> bytes:
    """Read until the server closes."""
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


def door(cluster: LocalCluster, name: str) -> int:
    server = cluster.servers[0]
    assert server is not None
    return cluster.call(lambda: getattr(server.stats, name))


@pytest.mark.parametrize(("data", "error"), [
    (b"*2\r\n$3\r\nGET\r\n:1\r\n", b"-ERR Protocol error"),
    (b"*70000\r\n", b"-ERR Protocol error: invalid multibulk length"),
    (b"*1000000\r\n", b"-ERR Protocol error: invalid multibulk length"),
    (b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5000000\r\n", b"-ERR Protocol error: invalid bulk length"),
    (b"$5\r\nhello\r\n", b"-ERR Protocol error"),
    (b"*2\r\n$3\r\nGET\r\n%1\r\n+a\r\n+b\r\n", b"-ERR Protocol error"),
    (b"*1\r\n$abc\r\n", b"-ERR Protocol error"),
    (b"a" * 70_000, b"-ERR Protocol error: too big inline request"),
    (b'set "unbalanced\r\n', b"-ERR Protocol error: unbalanced quotes in request"),
])
def test_broken_framing_gets_an_error_and_the_connection_closes(cluster: LocalCluster, friend: Any, data: bytes,
                                                                error: bytes) -> None:
    before = door(cluster, "protocol_errors")
    with dial(cluster) as sock:
        sock.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert sock.recv(100) == b"+PONG\r\n"
        sock.sendall(data)
        reply = read_all(sock)
    assert reply.startswith(error)
    assert reply.endswith(b"\r\n")
    assert door(cluster, "protocol_errors") == before + 1


def test_a_command_with_a_million_arguments_changes_nothing(cluster: LocalCluster, friend: Any) -> None:
    size = friend.dbsize()
    pair = b"$1\r\na\r\n$1\r\nb\r\n"
    with dial(cluster) as sock, contextlib.suppress(ConnectionError):  # it may close while this still sends
        sock.sendall(b"*1000001\r\n$4\r\nMSET\r\n" + pair * 500_000)
        assert read_all(sock).startswith(b"-ERR Protocol error: invalid multibulk length")
    assert friend.dbsize() == size


def test_an_oversized_key_and_value_are_refused_and_change_nothing(cluster: LocalCluster, friend: Any) -> None:
    size = friend.dbsize()
    with pytest.raises(redis.ResponseError, match="key"):
        friend.set("k" * 70_000, "v")
    assert friend.dbsize() == size


def test_a_command_left_half_sent_is_closed_and_counted(cluster: LocalCluster, friend: Any) -> None:
    before = door(cluster, "dropped_half_sent")
    with dial(cluster) as sock:
        sock.sendall(b"*3\r\n$3\r\nSET\r\n$6\r\nfriend\r\n$100\r\nhalf")
        assert read_all(sock) == b""
    assert door(cluster, "dropped_half_sent") == before + 1


def test_an_idle_connection_is_left_alone(cluster: LocalCluster, friend: Any) -> None:
    with dial(cluster) as idle, dial(cluster) as half:
        idle.sendall(b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nKEYS\r\n$4\r\nnone\r\n")
        replies = b""
        while len(replies) < len(b"+PONG\r\n*0\r\n"):
            replies += idle.recv(100)
        assert replies == b"+PONG\r\n*0\r\n"
        half.sendall(b"*1\r\n$4\r\nPI")
        assert read_all(half) == b""  # by now the idle one has been idle for just as long
        idle.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert idle.recv(100) == b"+PONG\r\n"


def test_a_client_that_never_reads_is_dropped_and_costs_bounded_memory(cluster: LocalCluster, friend: Any) -> None:
    friend.set("large", b"x" * MIB)
    before = door(cluster, "dropped_slow")
    server = cluster.servers[0]
    assert server is not None
    with dial(cluster) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n" * 2000)  # 2 GB of replies
        most = 0

        def is_dropped() -> bool:
            nonlocal most
            sizes = cluster.call(lambda: [c.transport.get_write_buffer_size() for c in server.connections])
            most = max([most, *sizes])
            return door(cluster, "dropped_slow") > before

        wait_until(is_dropped, 10)
        assert MIB <= most < 4 * MIB
    assert door(cluster, "dropped_slow") == before + 1


def test_a_client_that_reads_slowly_but_steadily_is_served(cluster: LocalCluster, friend: Any) -> None:
    friend.set("large", b"x" * MIB)
    expected = (len(b"$1048576\r\n") + MIB + 2) * 30
    with dial(cluster) as sock:
        sock.sendall(b"*2\r\n$3\r\nGET\r\n$5\r\nlarge\r\n" * 30)
        received = 0
        while received < expected:
            received += len(sock.recv(65536))
        assert received == expected


def test_a_client_that_sends_faster_than_it_is_served_costs_bounded_memory(cluster: LocalCluster, friend: Any) -> None:
    ping, server, most = b"*1\r\n$4\r\nPING\r\n", cluster.servers[0], 0
    assert server is not None
    with dial(cluster) as sock:
        sender = threading.Thread(target=lambda: sock.sendall(ping * 500_000))  # 7 MB
        sender.start()
        received, expected = 0, 500_000 * len(b"+PONG\r\n")
        while received < expected:
            received += len(sock.recv(1 << 16))
            if received % 7 == 0:
                most = max([most, *cluster.call(lambda: [c.parser.pending_bytes for c in server.connections])])
        sender.join()
        assert received == expected
    assert 0 < most < 2 * MIB


def test_what_came_before_the_clients_end_is_run_and_answered(cluster: LocalCluster, friend: Any) -> None:
    with dial(cluster) as sock:
        sock.sendall(b"".join(b"SET last:%d x\r\n" % number for number in range(3000)) + b"KEYS last:*\r\n")
        sock.shutdown(socket.SHUT_WR)
        replies = read_all(sock)
    assert replies.startswith(b"+OK\r\n" * 3000 + b"*3000\r\n")
    assert replies.count(b"\r\n") == 3000 + 1 + 2 * 3000


def test_a_map_behind_a_frame_is_an_inline_command_as_in_redis(cluster: LocalCluster, friend: Any) -> None:
    with dial(cluster) as sock:
        sock.sendall(b"*1\r\n$4\r\nPING\r\n%1\r\nPING\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == (b"+PONG\r\n-ERR unknown command '%1', with args beginning with: \r\n+PONG\r\n")


def test_connections_over_the_limit_are_refused_with_redis_error(cluster: LocalCluster, friend: Any) -> None:
    before = door(cluster, "connections_refused")
    socks = [dial(cluster) for _ in range(LIMITS.max_connections + 2)]
    try:
        wait_until(lambda: door(cluster, "connections_refused") > before)
        socks[-1].settimeout(5)
        assert read_all(socks[-1]) == b"-ERR max number of clients reached\r\n"
    finally:
        for sock in socks:
            sock.close()
    server = cluster.servers[0]
    assert server is not None
    wait_until(lambda: cluster.call(lambda: len(server.connections)) <= 2)


def test_a_connection_that_vanishes_in_a_long_command_harms_nobody(cluster: LocalCluster, friend: Any) -> None:
    friend.mset({f"many:{i}": "x" for i in range(5000)})
    for _ in range(20):
        with dial(cluster) as sock:
            sock.sendall(b"*2\r\n$4\r\nKEYS\r\n$1\r\n*\r\n" * 5)
    assert len(friend.keys("many:*")) == 5000
    server = cluster.servers[0]
    assert server is not None
    # What they asked for is run, and then their connections must go, too.
    wait_until(lambda: cluster.call(lambda: len(server.connections)) <= 2)


@pytest.fixture
def pair() -> Iterator[tuple[LocalCluster, bytes]]:
    """Two shards with a copy of everything each, and the command that writes a key which the first one leads."""
    with LocalCluster(2, copies=2, gateway=False) as cluster:
        server, owners = cluster.servers[0], cluster.newest_topology.owners
        assert server is not None
        wait_until(lambda: cluster.call(server.core.may_serve, 0))
        keys = (f"k{number}".encode() for number in range(100))
        yield cluster, b"SET %b 1\r\n" % next(key for key in keys if owners[slot_of(key)][0] == 0)


def test_who_has_gone_while_wait_waits_for_ever_is_let_go(pair: tuple[LocalCluster, bytes]) -> None:
    cluster, write = pair
    server = cluster.servers[0]
    assert server is not None
    before = cluster.call(lambda: len(server.connections), 0)
    for _ in range(5):
        with socket.create_connection(cluster.addresses[0], 5) as sock:
            sock.sendall(write)
            assert sock.recv(100) == b"+OK\r\n"
            sock.sendall(b"WAIT 4 0\r\n")  # four copies that there will never be
    wait_until(lambda: cluster.call(lambda: len(server.connections), 0) <= before)


def test_who_has_ended_their_side_gets_the_reply_of_a_wait_that_ends(pair: tuple[LocalCluster, bytes]) -> None:
    cluster, write = pair
    with socket.create_connection(cluster.addresses[0], 5) as sock:
        sock.sendall(write + b"WAIT 4 700\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock) == b"+OK\r\n:1\r\n"


def test_a_connection_killed_in_its_own_turn_harms_nobody(cluster: LocalCluster, friend: Any) -> None:
    with dial(cluster) as sock:
        sock.sendall(b"CLIENT ID\r\n")
        own = sock.recv(100)[1:-2]
        sock.sendall(b"CLIENT KILL ID %b SKIPME no\r\nPING\r\nKEYS *\r\n" % own)
        assert not read_all(sock).endswith(b"+PONG\r\n")
    others = [dial(cluster) for _ in range(4)]
    for sock in others:
        with contextlib.suppress(ConnectionError):  # killed by one before it
            sock.sendall(b"CLIENT KILL TYPE normal SKIPME yes\r\nKEYS *\r\n")
    for sock in others:
        sock.close()


COMMANDS = [b"SET", b"GET", b"MGET", b"DEL", b"INCR", b"EXPIRE", b"MULTI", b"EXEC", b"HELLO", b"CLIENT", b"SCAN",
            b"RC.SET", b"RC.MSET", b"RC.CAS", b"CONFIG", b"OBJECT", b"SETRANGE", b"GETEX", b"COMMAND", b"\xff"]


def mutated(rng: random.Random) -> bytes:
    argv = [rng.choice(COMMANDS)]
    argv += [rng.choice([b"fuzz", b"1", b"-1", b"9" * 30, b"\x00\xff", b"", b"EX", b"MATCH", b"NaN", b"*", b"x" * 300])
             for _ in range(rng.randrange(6))]
    data = bytearray(b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(a), a) for a in argv))
    for _ in range(rng.choice([0, 0, 1, 3])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


@pytest.mark.parametrize("seed", range(8))
def test_random_and_mutated_frames_never_take_the_shard_down(cluster: LocalCluster, friend: Any, seed: int) -> None:
    rng = random.Random(seed)
    server = cluster.servers[0]
    assert server is not None
    for _ in range(40):
        with dial(cluster) as sock:
            try:
                for _ in range(10):
                    sock.sendall(mutated(rng) if rng.random() < 0.9 else rng.randbytes(200))
                sock.shutdown(socket.SHUT_WR)
                read_all(sock)
            except OSError:
                continue  # it closed on us, as it may
        assert friend.set("friend", "here")  # a fuzzed FLUSHALL may have taken it
    assert cluster.call(lambda: server.core.failures) == 0, "a command raised what it should not; see the log"
