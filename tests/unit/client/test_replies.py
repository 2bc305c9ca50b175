"""Every operation of both handles: the command it sends, and how it reads the reply. Statistics, too."""

from __future__ import annotations

import inspect
import math
from typing import Any

import msgpack
import pytest

from raycache.client import AsyncCache, Cache, ClusterStats, ConnectionInfo, ShardStats, Versioned
from raycache.errors import NotANumberError, ProtocolError, ShardUnavailableError

STATS = {
    "shard_id": "s0", "policy": "lru", "epoch": 3, "slots": 16384, "entries": 5, "used_bytes": 500,
    "capacity_bytes": 1000, "hits": 3, "misses": 1, "evicted": 2, "expired": 1, "deleted": 0, "rejected": 0,
    "commands": 9, "connections": 1, "uptime_s": 1.5, "of_a_later_version": "x",
}  # fmt: skip

CASES: list[tuple[str, tuple[Any, ...], dict[str, Any], bytes, bytes, Any]] = [
    ("get", ("k",), {}, b"RC.GET k", b"$3\r\n\x0242\r\n", 42),
    ("get", ("k",), {}, b"RC.GET k", b"$-1\r\n", None),
    ("get", ("k", "else"), {}, b"RC.GET k", b"$-1\r\n", "else"),
    ("get", ("k", "else"), {}, b"RC.GET k", b"$2\r\n\x01\xc0\r\n", None),
    ("set", ("k", b"v"), {}, b"RC.SET k 0 v 0", b"+OK\r\n", None),
    ("set", (b"k", "v"), {"ttl": 1.5}, b"RC.SET k 3 v 1500", b"+OK\r\n", None),
    ("add", ("k", 7), {"ttl": 1}, b"RC.SET k 2 7 1000 NX", b"+OK\r\n", True),
    ("add", ("k", 7), {}, b"RC.SET k 2 7 0 NX", b"$-1\r\n", False),
    ("replace", ("k", 7), {}, b"RC.SET k 2 7 0 XX", b"$-1\r\n", False),
    ("delete", ("k",), {}, b"DEL k", b":1\r\n", True),
    ("delete", ("k",), {}, b"DEL k", b":0\r\n", False),
    ("delete_many", (["a", "b"],), {}, b"DEL a b", b":1\r\n", 1),
    ("exists", ("k",), {}, b"EXISTS k", b":1\r\n", True),
    ("incr", ("n",), {}, b"RC.INCRBY n 1 0", b":5\r\n", 5),
    ("incr", ("n", -3), {"ttl": 2}, b"RC.INCRBY n -3 2000", b":2\r\n", 2),
    ("decr", ("n", 3), {}, b"RC.INCRBY n -3 0", b":2\r\n", 2),
    ("touch", ("k", 2), {}, b"PEXPIRE k 2000", b":1\r\n", True),
    ("ttl", ("k",), {}, b"PTTL k", b":1500\r\n", 1.5),
    ("ttl", ("k",), {}, b"PTTL k", b":-1\r\n", math.inf),
    ("ttl", ("k",), {}, b"PTTL k", b":-2\r\n", None),
    ("get_with_version", ("k",), {}, b"RC.GETV k", b"*2\r\n:9\r\n$2\r\n\x00v\r\n", Versioned(b"v", 9)),
    ("get_with_version", ("k",), {}, b"RC.GETV k", b"$-1\r\n", None),
    ("compare_and_set", ("k", b"v", 9), {"ttl": 1}, b"RC.CAS k 9 0 v 1000", b":1\r\n", True),
    ("compare_and_set", ("k", b"v", 0), {}, b"RC.CAS k 0 0 v 0", b":0\r\n", False),
    ("get_many", (["a", b"b", "a"],), {}, b"RC.MGET a b a", b"*3\r\n$1\r\n\x00\r\n$-1\r\n$1\r\n\x00\r\n", {"a": b""}),
    ("get_many", ([],), {}, b"", b"", {}),
    ("set_many", ({"a": b"1", b"b": 2},), {"ttl": 1}, b"RC.MSET 1000 0 a 1 2 b 2", b"+OK\r\n", None),
    ("set_many", ({},), {}, b"", b"", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "kwargs", "command", "reply", "result"), CASES)
def test_an_operation(
    peer: Any, info: Any, open_handle: Any, name: str, args: Any, kwargs: Any, command: bytes, reply: bytes, result: Any
) -> None:
    peer.script = lambda argv: reply
    assert getattr(open_handle(info), name)(*args, **kwargs) == result
    assert [b" ".join(argv) for argv in peer.commands] == ([command] if command else [])


def test_touch_with_none_says_whether_the_key_is_there(peer: Any, info: ConnectionInfo, open_handle: Any) -> None:
    peer.script = lambda argv: b":0\r\n" if argv[0] == b"PERSIST" else b":1\r\n"
    assert open_handle(info).touch("k", None) is True
    assert [argv[0] for argv in peer.commands] == [b"PERSIST", b"EXISTS"]


def test_clear_counts(peer: Any, info: ConnectionInfo, open_handle: Any) -> None:
    peer.script = lambda argv: b":7\r\n"
    assert open_handle(info).clear() == 7
    assert peer.commands == [[b"RC.CLEAR"]]


def test_the_first_error_of_several_replies_counts(peer: Any, info: ConnectionInfo, open_handle: Any) -> None:
    peer.script = lambda argv: b"-NOTANUMBER\r\n" if argv[0] == b"PERSIST" else b":1\r\n"
    with pytest.raises(Exception, match="NOTANUMBER"):
        open_handle(info).touch("k", None)
    assert len(peer.commands) == 2  # all replies were read: the connection is still good
    assert peer.connections == 1


@pytest.mark.parametrize(("prefix", "expected"), [("p", ["p1", "p\udcff", "p2"]), (b"p", [b"p1", b"p\xff", b"p2"])])
def test_scan_follows_the_cursor(peer: Any, info: Any, open_handle: Any, prefix: Any, expected: Any) -> None:
    steps = [b"*2\r\n$2\r\n17\r\n*2\r\n$2\r\np1\r\n$2\r\np\xff\r\n", b"*2\r\n$1\r\n0\r\n*1\r\n$2\r\np2\r\n"]
    peer.script = lambda argv: steps.pop(0)
    assert list(open_handle(info).scan(prefix, batch=10)) == expected
    assert [b" ".join(argv) for argv in peer.commands] == [b"RC.SCAN 0 p 10", b"RC.SCAN 17 p 10"]


def test_decr_by_the_smallest_int_is_refused(peer: Any, info: ConnectionInfo, open_handle: Any) -> None:
    with pytest.raises(NotANumberError):
        open_handle(info).decr("n", -(2**63))
    assert peer.commands == []


def test_stats_name_who_did_not_answer(new_peer: Any, describe: Any, open_handle: Any) -> None:
    good, bad = new_peer(), new_peer()
    data = msgpack.packb(STATS)
    good.script = lambda argv: b"$%d\r\n%b\r\n" % (len(data), data)
    handle = open_handle(describe(good, bad), timeout_s=2)
    bad.close()
    stats = handle.stats()
    assert (stats.entries, stats.used_bytes, stats.capacity_bytes, stats.hit_ratio) == (5, 500, 1000, 0.75)
    assert (stats.evicted, stats.expired, stats.hits, stats.misses) == (2, 1, 3, 1)
    assert (stats.unreachable, stats.shards[0].hit_ratio, stats.epoch) == (("s1",), 0.75, 1)
    good.close()
    with pytest.raises(ShardUnavailableError, match="s0, s1"):
        handle.stats()


def test_statistics_before_the_first_read_have_a_hit_ratio() -> None:
    assert ClusterStats.of("c", 1, [], []).hit_ratio == 0.0
    for rubbish in (b"", b"\xc0", msgpack.packb({"shard_id": "s0"})):
        with pytest.raises(ProtocolError):
            ShardStats.from_bytes(rubbish)


def test_both_handles_have_the_same_public_face() -> None:
    def face(kind: type) -> dict[str, list[str]]:
        methods = {name: member for name, member in vars(kind).items() if not name.startswith("_") and callable(member)}
        return {name: list(inspect.signature(member).parameters) for name, member in methods.items()}

    assert face(Cache) == face(AsyncCache)
    assert all(member.__doc__ for kind in (Cache, AsyncCache) for name, member in vars(kind).items() if name[0] != "_")


def test_stats_show_who_follows_and_what_a_loss_would_cost(peer: Any, info: Any, open_handle: Any) -> None:
    copy = {"offset": 9, "acked": 7, "lag_mutations": 2, "lag_bytes": 80, "lag_s": 0.25, "connected": True,
            "hints_dropped": 0, "new_in_a_later_version": 1}
    replication = {"mode": "quorum", "copies": 2, "has_lease": True, "peers": {"s2": copy, "s1": copy | {"lag_s": 0.5}},
                   "loss_window": {"mutations": 2, "bytes": 80, "age_s": 0.5}, "arrivals": {"t1": {}}, "tombstones": 3,
                   "merged": 4, "ignored": 5, "repaired": 6, "transfer_misses": 7}
    data = msgpack.packb(STATS | {"replication": replication})
    peer.script = lambda argv: b"$%d\r\n%b\r\n" % (len(data), data)
    stats = open_handle(info).stats()
    found = stats.shards[0].replication
    assert found is not None
    assert [(replica.shard_id, replica.offset - replica.acked) for replica in found.replicas] == [("s1", 2), ("s2", 2)]
    assert (found.mode, found.arrivals, found.tombstones, found.repaired) == ("quorum", 1, 3, 6)
    assert (stats.lag_s, stats.loss_window.mutations, stats.loss_window.bytes, stats.loss_window.age_s) == (
        0.5, 2, 80, 0.5)


def test_stats_of_one_copy_have_nothing_to_say_of_others(peer: Any, info: Any, open_handle: Any) -> None:
    data = msgpack.packb(STATS | {"replication": {"copies": 1, "peers": {}}})
    peer.script = lambda argv: b"$%d\r\n%b\r\n" % (len(data), data)
    stats = open_handle(info).stats()
    assert (stats.shards[0].replication, stats.lag_s, stats.loss_window.mutations) == (None, 0.0, 0)
