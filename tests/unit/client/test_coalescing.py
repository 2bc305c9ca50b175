"""AsyncCache: what is asked within one turn of the loop leaves as one command per shard, in order.

Counted in commands at the peer and writes at the connection, never in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop

from raycache.client import AsyncCache, ConnectionInfo
from raycache.client.channel import Wire
from raycache.client.pending import MAX_RUN
from raycache.errors import KeyTooLargeError, ProtocolError


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    if request.param == "uvloop":
        return lambda work: uvloop.run(work)
    return lambda work: asyncio.run(work)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The number of items in each write."""
    counted: list[int] = []
    send = Wire.send

    def counting(self: Wire, items: Any) -> None:
        items = list(items)
        counted.append(len(items))
        send(self, items)

    monkeypatch.setattr(Wire, "send", counting)
    return counted


def echo(argv: list[bytes]) -> bytes:
    """Every key holds its own name; writes say OK."""
    if argv[0] == b"RC.MGET":
        return b"*%d\r\n" % (len(argv) - 1) + b"".join(bulk(key) for key in argv[1:])
    return bulk(argv[1]) if argv[0] == b"RC.GET" else b":1\r\n" if argv[0] == b"DEL" else b"+OK\r\n"


def bulk(key: bytes) -> bytes:
    return b"$%d\r\n\x00%b\r\n" % (len(key) + 1, key)


def test_a_thousand_gets_over_two_shards_are_two_commands_and_two_writes(
    new_peer: Any, describe: Any, run: Any, writes: list[int]
) -> None:
    peers = [new_peer(), new_peer()]
    for peer in peers:
        peer.script = echo
    keys = [f"key:{i}" for i in range(1000)]

    async def work() -> list[Any]:
        async with AsyncCache(describe(*peers)) as cache:
            return await asyncio.gather(*(cache.get(key) for key in keys))

    assert run(work()) == [key.encode() for key in keys]
    assert [len(peer.commands) for peer in peers] == [1, 1]
    assert [peer.connections for peer in peers] == [1, 1]
    assert writes == [1, 1]


def test_writes_of_one_turn_leave_in_one_write(peer: Any, info: ConnectionInfo, run: Any, writes: list[int]) -> None:
    peer.script = echo

    async def work() -> None:
        async with AsyncCache(info) as cache:
            keys = [f"k{i}" for i in range(50)]
            await asyncio.gather(*(cache.set(key, 1) for key in keys), *(cache.delete(key) for key in keys))

    run(work())
    assert writes == [100]


def test_nothing_overtakes_anything(peer: Any, info: ConnectionInfo, run: Any) -> None:
    peer.script = echo

    async def work() -> None:
        async with AsyncCache(info) as cache:
            await asyncio.gather(
                cache.get("a"), cache.get("b"), cache.set("a", b"1"), cache.get("a"), cache.delete("a"), cache.get("a")
            )

    run(work())
    assert [b" ".join(argv[:3]) for argv in peer.commands] == [
        b"RC.MGET a b", b"RC.SET a 0", b"RC.GET a", b"DEL a", b"RC.GET a",
    ]  # fmt: skip


def test_a_long_run_is_split(peer: Any, info: ConnectionInfo, run: Any, writes: list[int]) -> None:
    peer.script = echo

    async def work() -> list[Any]:
        async with AsyncCache(info) as cache:
            return await asyncio.gather(*(cache.get(f"k{i}") for i in range(MAX_RUN + 1)))

    assert len(run(work())) == MAX_RUN + 1
    assert [len(argv) - 1 for argv in peer.commands] == [MAX_RUN, 1]
    assert writes == [2]


def test_a_cancelled_waiter_disturbs_no_other(peer: Any, info: ConnectionInfo, run: Any) -> None:
    asked = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    answer: list[bytes] = []

    def script(argv: list[bytes]) -> bytes | None:
        if argv[0] == b"RC.MGET":
            answer.append(echo(argv))
            loops[0].call_soon_threadsafe(asked.set)
            return None
        return b"".join(answer) + echo(argv)  # the held reply first, then this one's

    peer.script = script

    async def work() -> list[Any]:
        loops.append(asyncio.get_running_loop())
        async with AsyncCache(info) as cache:
            tasks = [asyncio.ensure_future(cache.get(f"k{i}")) for i in range(3)]
            await asked.wait()
            tasks[1].cancel()
            await cache.get("release")
            return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = run(work())
    assert (first, third) == (b"k0", b"k2")
    assert isinstance(second, asyncio.CancelledError)


def test_what_nobody_waits_for_any_more_is_not_sent(peer: Any, info: ConnectionInfo, run: Any) -> None:
    peer.script = echo

    async def work() -> None:
        async with AsyncCache(info) as cache:
            task = asyncio.ensure_future(cache.set("k", 1))
            other = asyncio.ensure_future(cache.get("a"))
            asyncio.get_running_loop().call_soon(task.cancel)  # after both have queued, before the dial is through
            assert await other == b"a"
            assert task.cancelled()

    run(work())
    assert [argv[0] for argv in peer.commands] == [b"RC.GET"]


def test_moved_refreshes_once_for_all_waiters(new_peer: Any, describe: Any, topologies: Any, run: Any) -> None:
    old, new = new_peer(), new_peer()
    old.script = lambda argv: b"-MOVED 1 %b:%d\r\n" % (new.address[0].encode(), new.address[1])
    new.script = echo
    old.topology = new.topology = topologies(new, epoch=2).to_bytes()

    async def work() -> list[Any]:
        async with AsyncCache(describe(old)) as cache:
            sets = (cache.set(f"s{i}", i) for i in range(9))
            return await asyncio.gather(*(cache.get(f"k{i}") for i in range(200)), *sets)

    assert run(work())[:2] == [b"k0", b"k1"]
    assert len(old.named(b"RC.TOPOLOGY") + new.named(b"RC.TOPOLOGY")) == 1
    assert len(new.named(b"RC.MGET")) == 1


def test_a_cancelled_leader_does_not_take_the_refresh_away(peer: Any, describe: Any, topologies: Any, run: Any) -> None:
    peer.topology = topologies(peer).to_bytes()
    peer.script = echo

    async def work() -> bytes:
        async with AsyncCache(describe(peer, topology=None)) as cache:
            leader = asyncio.ensure_future(cache.get("a"))
            follower = asyncio.ensure_future(cache.get("b"))
            while cache._dispatcher._searching is None:
                await asyncio.sleep(0)
            leader.cancel()
            return await follower

    assert run(work()) == b"b"
    assert len(peer.named(b"RC.TOPOLOGY")) == 1


def test_a_run_answered_with_too_few_values_fails_all_its_waiters(peer: Any, info: ConnectionInfo, run: Any) -> None:
    peer.script = lambda argv: b"*1\r\n$2\r\n\x00x\r\n"

    async def work() -> list[Any]:
        async with AsyncCache(info) as cache:
            return await asyncio.gather(*(cache.get(f"k{i}") for i in range(3)), return_exceptions=True)

    errors = run(work())
    assert [type(error) for error in errors] == [ProtocolError] * 3
    assert len({id(error) for error in errors}) == 3  # each raises its own, with its own traceback


def test_a_key_that_is_refused_fails_no_other_read(peer: Any, info: ConnectionInfo, run: Any) -> None:
    refused = "k" * 70_000
    peer.script = lambda argv: b"-ERR key is too large (70000 bytes)\r\n" if refused.encode() in argv else echo(argv)

    async def work() -> list[Any]:
        async with AsyncCache(info) as cache:
            return await asyncio.gather(*(cache.get(key) for key in ("a", refused, "b")), return_exceptions=True)

    first, second, third = run(work())
    assert (first, type(second), third) == (b"a", KeyTooLargeError, b"b")


def test_one_handle_serves_one_loop_after_another(peer: Any, info: ConnectionInfo, run: Any) -> None:
    peer.script = echo
    cache = AsyncCache(info)

    async def work() -> bytes:
        value = await cache.get("k")
        await cache._dispatcher.disconnect()
        return value

    assert [run(work()), run(work())] == [b"k", b"k"]
    assert peer.connections == 2
