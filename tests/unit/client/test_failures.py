"""Both handles against shards that fail in every way: an answer or one clear error, always before the deadline."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import pytest

from raycache.client import ConnectionInfo
from raycache.errors import (
    AuthenticationError,
    CallerError,
    ClusterLoadingError,
    ClusterNotFoundError,
    DeadlineExceededError,
    OutOfMemoryError,
    ProtocolError,
    ShardUnavailableError,
    UnsupportedTypeError,
    WrongTypeError,
)

SHORT_S = 1.0
"""Long enough to connect on a machine that has much else to do."""
HELLO = b"$6\r\n\x00hello\r\n"


def refused_address() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()


def test_a_shard_that_never_answers_meets_the_deadline(peer: Any, info: ConnectionInfo, open_handle: Any) -> None:
    peer.script = lambda argv: None
    with pytest.raises(DeadlineExceededError, match="no reply from 127"):
        open_handle(info, timeout_s=SHORT_S).get("k")


def test_half_an_answer_meets_the_deadline(peer: Any, info: ConnectionInfo, open_handle: Any) -> None:
    peer.script = lambda argv: b"$6\r\n\x00he"
    with pytest.raises(DeadlineExceededError):
        open_handle(info, timeout_s=SHORT_S).get("k")


def test_a_late_answer_is_not_taken_for_the_next_ones(peer: Any, info: ConnectionInfo, open_handle: Any) -> None:
    peer.script = lambda argv: None if argv[1] == b"slow" else b"$5\r\n\x00mine\r\n"
    handle = open_handle(info, timeout_s=SHORT_S)
    with pytest.raises(DeadlineExceededError):
        handle.get("slow")
    assert handle.get("k") == b"mine"
    assert peer.connections == 2  # the silent one was given up


def test_a_read_survives_a_shard_that_dies_mid_reply(peer: Any, info: Any, open_handle: Any, hang_up: Any) -> None:
    def script(argv: list[bytes]) -> bytes:
        if len(peer.named(b"RC.GET")) == 1:
            raise hang_up(b"$6\r\n\x00he")
        return HELLO

    peer.script = script
    assert open_handle(info).get("k") == b"hello"
    assert peer.connections == 2


def test_a_lost_incr_is_not_repeated(peer: Any, info: ConnectionInfo, open_handle: Any, hang_up: Any) -> None:
    def script(argv: list[bytes]) -> bytes:
        raise hang_up

    peer.script = script
    handle = open_handle(info)
    for work in (lambda: handle.incr("n"), lambda: handle.add("k", 1), lambda: handle.compare_and_set("k", 1, 5)):
        with pytest.raises(ShardUnavailableError, match="may or may not have happened"):
            work()
    assert [argv[0] for argv in peer.commands] == [b"RC.INCRBY", b"RC.SET", b"RC.CAS"]


def test_a_stale_connection_does_not_fail_an_incr(peer: Any, info: Any, open_handle: Any, hang_up: Any) -> None:
    closed = threading.Event()

    def script(argv: list[bytes]) -> bytes:
        if argv[0] == b"RC.GET":
            closed.set()
            raise hang_up(HELLO)
        return b":1\r\n"

    peer.script = script
    handle = open_handle(info)
    assert handle.get("k") == b"hello"
    closed.wait(5)
    peer.wait_closed()
    assert handle.incr("n") == 1


def test_a_refused_connection_ends_at_the_deadline(open_handle: Any) -> None:
    handle = open_handle(ConnectionInfo("test", (refused_address(),)), timeout_s=SHORT_S)
    with pytest.raises(ShardUnavailableError, match="cannot connect to"):
        handle.get("k")
    with pytest.raises(ShardUnavailableError, match="cannot connect to"):
        handle.incr("k")


def test_every_operation_ends_at_the_deadline(peer: Any, info: ConnectionInfo, open_handle: Any) -> None:
    peer.script = lambda argv: None
    handle = open_handle(info, timeout_s=0.5)
    for work in (
        lambda: handle.set("k", 1), lambda: handle.get_many(["a", "b"]), lambda: handle.set_many({"a": 1}),
        lambda: handle.delete_many(["a"]), lambda: handle.exists("a"), lambda: handle.ttl("a"),
        lambda: handle.touch("a", None), lambda: list(handle.scan()), handle.clear,
    ):  # fmt: skip
        with pytest.raises(DeadlineExceededError):
            work()


@pytest.mark.parametrize("rubbish", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b":7\r\n", b"$0\r\n\r\n", b"*1\r\n:1\r\n"])
def test_rubbish_is_a_protocol_error(peer: Any, info: ConnectionInfo, open_handle: Any, rubbish: bytes) -> None:
    peer.script = lambda argv: rubbish
    with pytest.raises(ProtocolError):
        open_handle(info).get("k")


def test_a_surplus_reply_never_reaches_another_key(peer: Any, info: ConnectionInfo, open_handle: Any) -> None:
    peer.script = lambda argv: HELLO * 2 if argv[1] == b"a" else b"$4\r\n\x00own\r\n"
    handle = open_handle(info)
    with contextlib.suppress(ProtocolError):  # or not yet seen: then it is the next read that must not take it
        assert handle.get("a") == b"hello"
    assert handle.get("b") == b"own"


def test_moved_costs_one_refresh_and_one_retry(new_peer: Any, describe: Any, topologies: Any, open_handle: Any) -> None:
    old, new = new_peer(), new_peer()
    old.script = lambda argv: b"-MOVED 1 %b:%d\r\n" % (new.address[0].encode(), new.address[1])
    new.script = lambda argv: HELLO
    old.topology = new.topology = topologies(new, epoch=2).to_bytes()
    handle = open_handle(describe(old))
    assert [handle.get(f"k{i}") for i in range(5)] == [b"hello"] * 5
    assert len(old.named(b"RC.GET")) == 1
    assert len(old.named(b"RC.TOPOLOGY") + new.named(b"RC.TOPOLOGY")) == 1


def test_an_older_topology_is_not_taken(new_peer: Any, describe: Any, topologies: Any, open_handle: Any) -> None:
    old, new = new_peer(), new_peer()
    new.topology = topologies(old, epoch=1).to_bytes()
    answers = [b"-MOVED 1 127.0.0.1:1\r\n", b"-CLUSTERDOWN Hash slot not served\r\n", HELLO]
    new.script = lambda argv: answers.pop(0)
    assert open_handle(describe(new, topology=topologies(new, epoch=5).to_bytes())).get("k") == b"hello"
    assert old.commands == []


def test_endless_moved_and_clusterdown_end_at_the_deadline(peer: Any, info: ConnectionInfo, open_handle: Any) -> None:
    handle = open_handle(info, timeout_s=SHORT_S)
    for reply in (b"-MOVED 1 127.0.0.1:1\r\n", b"-CLUSTERDOWN Hash slot not served\r\n"):
        peer.script = lambda argv, reply=reply: reply
        # The others where the deadline falls into an attempt.
        with pytest.raises((ClusterLoadingError, DeadlineExceededError, ShardUnavailableError)):
            handle.get("k")
        with pytest.raises((ClusterLoadingError, DeadlineExceededError, ShardUnavailableError)):
            handle.incr("k")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", OutOfMemoryError),
        (b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", WrongTypeError),
        (b"-ERR unknown command\r\n", CallerError),
    ],
)
def test_a_refusal_keeps_the_connection(peer: Any, info: Any, open_handle: Any, reply: bytes, error: Any) -> None:
    peer.script = lambda argv: reply
    handle = open_handle(info)
    for _ in range(3):
        with pytest.raises(error):
            handle.set("k", 1)
    assert (peer.connections, len(peer.commands)) == (1, 3)


def test_a_refusal_for_good_leaves_no_reply_of_another_shard_behind(
    new_peer: Any, describe: Any, open_handle: Any, wait_until: Any
) -> None:
    refusing, good = new_peer(), new_peer()
    refusing.script = lambda argv: b"-WRONGTYPE no\r\n"
    good.script = lambda argv: b"*%d\r\n" % (len(argv) - 1) + HELLO * (len(argv) - 1)
    handle = open_handle(describe(refusing, good))
    for _ in range(3):
        with pytest.raises(WrongTypeError):
            handle.get_many([f"k{i}" for i in range(20)])
    wait_until(lambda: good.connections)  # the refusal may have come first
    assert (refusing.connections, good.connections) == (1, 1)


def test_one_shard_that_fails_fails_get_many_by_name(new_peer: Any, describe: Any, open_handle: Any) -> None:
    good, bad = new_peer(), new_peer()
    good.script = lambda argv: b"*%d\r\n" % (len(argv) - 1) + HELLO * (len(argv) - 1)
    handle = open_handle(describe(good, bad), timeout_s=SHORT_S)
    bad.close()
    with pytest.raises(ShardUnavailableError, match=str(bad.address[1])):
        handle.get_many([f"k{i}" for i in range(20)])
    assert len(good.named(b"RC.MGET")) == 1  # what was answered is not asked again


def test_a_wrong_secret_is_said_at_once(peer: Any, describe: Any, open_handle: Any) -> None:
    wrong, noauth = b"-WRONGPASS invalid username-password pair\r\n", b"-NOAUTH Authentication required.\r\n"
    peer.script = lambda argv: wrong if argv[0] == b"AUTH" else noauth
    with pytest.raises(AuthenticationError, match="WRONGPASS"):
        open_handle(describe(peer, secret="guess")).get("k")
    with pytest.raises(AuthenticationError, match="NOAUTH"):
        open_handle(describe(peer)).get("k")


def test_a_secret_that_nobody_asks_for_does_no_harm(peer: Any, describe: Any, open_handle: Any) -> None:
    no_need = b"-ERR AUTH <password> called without any password configured for the default user.\r\n"
    peer.script = lambda argv: no_need if argv[0] == b"AUTH" else HELLO
    assert open_handle(describe(peer, secret="s")).get("k") == b"hello"


def test_ray_is_asked_when_no_shard_answers(peer: Any, describe: Any, topologies: Any, open_handle: Any) -> None:
    peer.script = lambda argv: HELLO
    asked: list[int] = []

    def refresh() -> ConnectionInfo:
        asked.append(1)
        return describe(peer)

    handle = open_handle(ConnectionInfo("test", (refused_address(),)), refresh_info=refresh)
    assert (handle.get("k"), handle.get("k"), len(asked)) == (b"hello", b"hello", 1)


def test_a_cluster_started_anew_is_found_though_its_epochs_began_anew(
    new_peer: Any, describe: Any, topologies: Any, open_handle: Any
) -> None:
    gone, new = new_peer(), new_peer()
    old = describe(gone, secret="old", topology=topologies(gone, epoch=9).to_bytes())
    gone.close()
    new.script = lambda argv: b"+OK\r\n" if argv[0] == b"AUTH" else HELLO
    handle = open_handle(old, refresh_info=lambda: describe(new, secret="new"))
    assert handle.get("k") == b"hello"
    assert new.named(b"AUTH") == [[b"AUTH", b"new"]]


def test_what_ray_says_about_the_cluster_reaches_the_caller(open_handle: Any) -> None:
    def refresh() -> ConnectionInfo:
        raise ClusterNotFoundError("no cluster 'test'; there is: 'other'")

    with pytest.raises(ClusterNotFoundError, match="other"):
        open_handle(ConnectionInfo("test", (refused_address(),)), refresh_info=refresh).get("k")


def test_a_hung_ray_does_not_hang_the_caller(open_handle: Any) -> None:
    release = threading.Event()
    handle = open_handle(
        ConnectionInfo("test", (refused_address(),)), timeout_s=SHORT_S, refresh_info=lambda: release.wait(30)
    )
    try:
        with pytest.raises(ShardUnavailableError):
            handle.get("k")
    finally:
        release.set()


def test_a_closed_handle_says_so(peer: Any, info: ConnectionInfo, open_handle: Any) -> None:
    peer.script = lambda argv: HELLO
    handle = open_handle(info)
    assert handle.get("k") == b"hello"
    handle.close()
    for work in (lambda: handle.get("k"), lambda: handle.get_many(["k"]), handle.stats, handle.clear):
        with pytest.raises(CallerError, match="closed"):
            work()


def test_bad_arguments_send_nothing(peer: Any, info: ConnectionInfo, open_handle: Any) -> None:
    handle = open_handle(info)
    for ttl in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="ttl must be positive"):
            handle.set("k", 1, ttl=ttl)
    with pytest.raises(UnsupportedTypeError, match="of type object"):
        handle.set("k", object())
    with pytest.raises(UnsupportedTypeError):
        handle.set_many({"a": 1, "b": object()})
    with pytest.raises(UnsupportedTypeError, match=r"\[key\]"):
        handle.get_many("abc")
    with pytest.raises(ValueError, match="batch"):
        handle.scan(batch=0)
    assert peer.commands == []
