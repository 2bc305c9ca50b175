"""AsyncCache.get on the shortest way: what a waiting read leaves alive, when a crowd is sent, and the way back."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from raycache.client import AsyncCache, ConnectionInfo, requests
from raycache.client.channel import Channel, Wire
from raycache.client.pending import MAX_RUN
from raycache.client.retry import Lost
from raycache.errors import CallerError, ShardUnavailableError

VALUE = b"$2\r\n\x00v\r\n"


def values(argv: list[bytes]) -> bytes:
    return VALUE if argv[0] == b"RC.GET" else b"*%d\r\n" % (len(argv) - 1) + VALUE * (len(argv) - 1)


def alive() -> int:
    gc.collect()
    return len(gc.get_objects())


async def waiting(reads: list[Any]) -> tuple[int, asyncio.Future[Any]]:
    """Start a task for each, let all of them begin to wait; return how many objects that has made, and their end."""
    before = alive()
    end = asyncio.gather(*reads)
    await asyncio.sleep(0)
    return alive() - before, end


async def test_a_waiting_read_is_a_task_that_waits_for_a_future(peer: Any, info: ConnectionInfo) -> None:
    """What lives on while a crowd waits costs the collector more time than all the rest takes."""
    peer.script = values
    count = 500

    async def bare(future: asyncio.Future[Any]) -> Any:
        return await future

    async with AsyncCache(info) as cache:
        await cache.get("connected")
        futures = [asyncio.get_running_loop().create_future() for _ in range(count)]
        at_least, end = await waiting([bare(future) for future in futures])
        for future in futures:
            future.set_result(None)
        await end
        futures.clear()
        made, end = await waiting([cache.get("k") for _ in range(count)])
        assert set(await end) == {b"v"}
    assert made - at_least <= count * 1.1  # the futures, which the bare tasks had before, and what a run is


async def test_a_read_on_a_connection_makes_no_request(peer: Any, info: ConnectionInfo,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    peer.script = values
    async with AsyncCache(info) as cache:
        await cache.get("connected")
        monkeypatch.setattr(requests, "get", None)
        assert await asyncio.gather(*(cache.get(f"k{number}") for number in range(9))) == [b"v"] * 9
    assert [len(argv) - 1 for argv in peer.commands] == [1, 9]


async def test_a_full_run_is_sent_while_more_is_asked(peer: Any, info: ConnectionInfo,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    peer.script = values
    sent: list[int] = []
    send = Wire.send
    monkeypatch.setattr(Wire, "send", lambda wire, items: (sent.append(len(items)), send(wire, items)))
    async with AsyncCache(info) as cache:
        await cache.get("connected")
        sent.clear()
        channel = next(iter(cache._dispatcher._channels.values()))
        reads = [channel.read(b"k") for _ in range(MAX_RUN)]
        assert sent == []
        reads.append(channel.read(b"k"))
        assert sent == [1]
        written = channel.submit(requests.delete(b"k"), channel.now_s() + 5)
        reads.append(channel.read(b"k"))
        await asyncio.gather(*reads, written)
    assert sent == [1, 3]
    assert [(argv[0], len(argv) - 1) for argv in peer.commands[1:]] == [
        (b"RC.MGET", MAX_RUN), (b"RC.GET", 1), (b"DEL", 1), (b"RC.GET", 1)]


async def test_a_read_that_was_lost_is_tried_again_within_its_own_time(peer: Any, info: ConnectionInfo,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    peer.script = values
    async with AsyncCache(info, timeout_s=30) as cache:
        await cache.get("connected")
        plain, loop = cache._dispatcher.plain, asyncio.get_running_loop()
        deadlines: list[float] = []
        again = cache._dispatcher.run_again

        async def watched(key: bytes, request: Any, failure: Exception, deadline_s: float, seen: int) -> Any:
            deadlines.append(deadline_s)
            return await again(key, request, failure, deadline_s, seen)

        monkeypatch.setattr(cache._dispatcher, "run_again", watched)
        monkeypatch.setattr("raycache.client.aio_plain.monotonic", lambda: 120.0)
        began_s = loop.time()
        assert await plain.finish(b"k", Lost("gone", sent=True), 100.0, cache._dispatcher.refreshes) == b"v"
        with pytest.raises(ShardUnavailableError, match="gone"):
            await plain.finish(b"k", Lost("gone", sent=True), 90.0, cache._dispatcher.refreshes)
    assert deadlines[0] - began_s == pytest.approx(10, abs=5), "of 30 s, 20 had passed"
    assert deadlines[1] <= began_s + 5


async def test_a_connection_that_breaks_under_a_crowd_loses_none_of_it(peer: Any, info: ConnectionInfo,
                                                                       hang_up: Any) -> None:
    has_broken: list[bool] = []

    def script(argv: list[bytes]) -> bytes:
        if argv[0] == b"RC.MGET" and not has_broken:
            has_broken.append(True)
            raise hang_up
        return values(argv)

    peer.script = script
    async with AsyncCache(info) as cache:
        await cache.get("connected")
        assert await asyncio.gather(*(cache.get(f"k{number}") for number in range(50))) == [b"v"] * 50
    assert has_broken
    assert peer.connections == 2


async def test_a_closed_handle_refuses_reads(peer: Any, info: ConnectionInfo) -> None:
    peer.script = values
    cache = AsyncCache(info)
    assert await cache.get("k") == b"v"
    await cache.close()
    with pytest.raises(CallerError, match="closed"):
        await cache.get("k")


async def test_with_copies_a_shard_that_was_silent_is_not_asked_plainly(peer: Any, info: ConnectionInfo) -> None:
    peer.script = values
    async with AsyncCache(info) as cache:
        await cache.get("connected")
        plain = cache._dispatcher.plain
        channel: Channel = next(iter(cache._dispatcher._channels.values()))
        plain._has_copies = True
        asked = plain.begin(b"k")
        assert asked is not None
        await asked
        channel.suspect()
        assert plain.begin(b"k") is None
