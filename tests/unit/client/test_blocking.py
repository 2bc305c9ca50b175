"""What only the sync handle has: one connection per shard, threads that share it, forks, pickles, exact deadlines."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import hiredis
import pytest

from raycache.client import AsyncCache, Cache, ConnectionInfo
from raycache.client.connection import Connection
from raycache.client.pool import MAX_CONNECTIONS, Pool
from raycache.client.requests import get
from raycache.client.retry import Lost
from raycache.client.settings import ClientSettings
from raycache.errors import DeadlineExceededError, ProtocolError

HELLO = b"$6\r\n\x00hello\r\n"


def test_one_thread_has_one_connection(peer: Any, info: ConnectionInfo) -> None:
    peer.script = lambda argv: HELLO
    with Cache(info) as cache:
        assert {cache.get(f"k{i}") for i in range(50)} == {b"hello"}
    assert peer.connections == 1


def test_many_threads_have_a_few_and_none_gets_anothers_reply(peer: Any, info: ConnectionInfo) -> None:
    peer.script = lambda argv: b"$%d\r\n\x00%b\r\n" % (len(argv[1]) + 1, argv[1])
    with Cache(info) as cache, ThreadPoolExecutor(16) as threads:
        keys = [f"k{i}" for i in range(2000)]
        assert list(threads.map(cache.get, keys)) == [key.encode() for key in keys]
    assert 1 <= peer.connections <= MAX_CONNECTIONS


def test_a_thread_that_finds_all_connections_busy_meets_its_deadline(peer: Any) -> None:
    pool = Pool(peer.address, None, ClientSettings())
    taken = [pool.take(time.monotonic() + 5) for _ in range(MAX_CONNECTIONS)]
    with pytest.raises(DeadlineExceededError, match="busy"):
        pool.take(time.monotonic() + 0.05)
    waiter = threading.Thread(target=lambda: taken.append(pool.take(time.monotonic() + 5)))
    waiter.start()
    pool.give_back(taken[0])
    waiter.join(5)
    assert taken[-1] is taken[0]
    for connection in taken:
        connection.close()


def test_a_broken_connection_makes_room_for_another(peer: Any) -> None:
    pool = Pool(peer.address, None, ClientSettings())
    for _ in range(MAX_CONNECTIONS * 2):
        pool.discard(pool.take(time.monotonic() + 5))
    assert not pool.is_live()


@pytest.fixture
def pair() -> Any:
    """A connection and the other end of its socket."""
    ours, theirs = socket.socketpair()
    connection = Connection(("peer", 1), ours)
    yield connection, theirs
    connection.close()
    theirs.close()


def exchange(connection: Connection, deadline_s: float) -> Any:
    return connection.exchange(get(b"k"), time.monotonic() + deadline_s)


def test_a_reply_may_come_in_any_pieces(pair: Any) -> None:
    connection, theirs = pair
    for cut in range(1, len(HELLO)):
        theirs.sendall(HELLO[:cut])
        feeder = threading.Timer(0.0, theirs.sendall, (HELLO[cut:],))
        feeder.start()
        assert exchange(connection, 5) == b"\x00hello"
        feeder.join()


def test_a_peer_that_trickles_does_not_stretch_the_deadline(pair: Any) -> None:
    connection, theirs = pair
    stop = threading.Event()

    def trickle() -> None:
        theirs.sendall(b"$1000000\r\n")
        while not stop.wait(0.02):
            theirs.sendall(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    started = time.monotonic()
    try:
        with pytest.raises(DeadlineExceededError):
            exchange(connection, 0.3)
    finally:
        stop.set()
        thread.join()
    # Not a measurement: each byte anew would keep it waiting for hours.
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("send", [Connection.send, Connection.ask])
def test_a_peer_that_does_not_read_meets_the_deadline(pair: Any, send: Callable[..., Any]) -> None:
    connection, _ = pair
    with pytest.raises(Exception, match="did not take the command in"):
        send(connection, b"x" * 50_000_000, time.monotonic() + 0.2)


def test_a_deadline_that_has_passed_sends_nothing(pair: Any) -> None:
    connection, theirs = pair
    with pytest.raises(Lost) as caught:
        exchange(connection, -1)
    assert not caught.value.sent
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        theirs.recv(1)


def test_a_short_deadline_does_not_stay_with_the_connection(pair: Any) -> None:
    connection, theirs = pair
    theirs.sendall(HELLO)
    assert exchange(connection, 0.05) == b"\x00hello"
    answer = threading.Timer(0.2, theirs.sendall, (HELLO,))
    answer.start()
    assert exchange(connection, 10) == b"\x00hello"
    answer.join()


def test_a_surplus_reply_ends_the_connection(pair: Any) -> None:
    connection, theirs = pair
    theirs.sendall(HELLO * 2)
    with pytest.raises(ProtocolError, match="more replies"):
        exchange(connection, 5)


def test_what_is_received_apart_from_what_was_sent_is_the_same(pair: Any) -> None:
    """Several shards are sent their parts before the first is listened to."""
    connection, theirs = pair
    for replies, expected in ((HELLO, b"\x00hello"), (HELLO * 2, ProtocolError), (b"@no\r\n", ProtocolError)):
        theirs.sendall(replies)
        connection.send(get(b"k").frame, time.monotonic() + 5)
        if isinstance(expected, bytes):
            assert connection.receive(1, time.monotonic() + 5) == expected
        else:
            with pytest.raises(expected):
                connection.receive(1, time.monotonic() + 5)
            connection._reader = hiredis.Reader()
    connection.send(get(b"k").frame, time.monotonic() + 0.05)
    with pytest.raises(DeadlineExceededError):
        connection.receive(1, time.monotonic() + 0.05)
    theirs.close()
    with pytest.raises(Lost):
        connection.receive(1, time.monotonic() + 5)


@pytest.mark.parametrize(("replies", "expected"), [(b"@no\r\n", ProtocolError), (b"", Lost)])
def test_what_answers_nothing_ends_the_connection(pair: Any, replies: bytes, expected: type[Exception]) -> None:
    connection, theirs = pair
    theirs.sendall(replies)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(expected) as caught:
        exchange(connection, 5)
    assert getattr(caught.value, "sent", True)


def test_a_closed_or_talking_peer_makes_a_connection_stale(pair: Any) -> None:
    connection, theirs = pair
    assert not connection.is_stale()
    theirs.sendall(b"+OK\r\n")
    assert connection.is_stale()


def test_an_exception_in_the_middle_gives_the_connection_up(peer: Any, info: ConnectionInfo, monkeypatch: Any) -> None:
    peer.script = lambda argv: HELLO
    with Cache(info) as cache:
        assert cache.get("a") == b"hello"
        with monkeypatch.context() as patched:

            def interrupted(self: Connection, frame: bytes, deadline_s: float) -> None:
                self.send(frame, deadline_s)
                raise KeyboardInterrupt

            patched.setattr(Connection, "ask", interrupted)
            with pytest.raises(KeyboardInterrupt):
                cache.get("a")
        assert cache.get("b") == b"hello"
    assert peer.connections == 2


def in_child(work: Callable[[], bool]) -> int:
    """Return the exit code of a forked child that ran `work`: 0 = it returned true."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_opens_connections_of_its_own(peer: Any, info: ConnectionInfo) -> None:
    peer.script = lambda argv: b"$%d\r\n\x00%b\r\n" % (len(argv[1]) + 1, argv[1])
    with Cache(info) as cache:
        assert cache.get("parent") == b"parent"
        assert in_child(lambda: cache.get("child") == b"child") == 0
        assert peer.connections == 2
        assert cache.get("parent") == b"parent"  # the child's end did not end ours
        assert peer.connections == 2


def test_a_pickled_handle_reconnects_with_what_it_knew(peer: Any, info: ConnectionInfo) -> None:
    peer.script = lambda argv: HELLO
    with Cache(info, timeout_s=7) as cache:
        assert cache.get("k") == b"hello"
        with pickle.loads(pickle.dumps(cache)) as other:
            assert other.get("k") == b"hello"
            assert other._settings.timeout_s == 7
    assert isinstance(pickle.loads(pickle.dumps(AsyncCache(info))), AsyncCache)


def test_a_reduce_hook_decides_what_is_pickled(info: ConnectionInfo) -> None:
    with Cache(info, reduce=lambda: (str, ("reconnected",))) as cache:  # type: ignore[arg-type, return-value]
        assert pickle.loads(pickle.dumps(cache)) == "reconnected"


def test_the_secret_is_not_shown() -> None:
    assert "hush" not in repr(ConnectionInfo("test", (), "hush"))


@pytest.mark.parametrize("name", ["timeout_s", "connect_timeout_s"])
def test_times_are_positive(info: ConnectionInfo, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Cache(info, **{name: 0})  # type: ignore[arg-type]
