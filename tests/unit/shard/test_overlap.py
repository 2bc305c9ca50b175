"""Commands of one connection that wait for other shards at the same time; replies come in their order all the same."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from raycache.config import ClusterConfig
from raycache.shard.build import build_server
from raycache.shard.careful import Independent
from raycache.shard.commands.command import Steps
from raycache.shard.overlap import MOST_AT_ONCE, Overlap, independent_keys
from raycache.shard.server import ShardServer, listening_socket
from raycache.shard.wait import NEVER_S, Wait
from tests.unit.shard.harness import Shard

FAR_S = 1e8


class Waiting:
    """A shard whose STRLEN and INCR wait until `finish`; STRLEN is independent, INCR is not."""

    def __init__(self, server: ShardServer) -> None:
        self.server = server
        self.begun: list[bytes] = []
        self.ended: list[bytes] = []
        self.waits: dict[bytes, Wait] = {}
        self._execute = server.core.execute
        server.core.execute = self.execute  # type: ignore[method-assign]
        self.port = 0
        self.deadline_s = FAR_S

    def execute(self, session: Any, argv: list[bytes]) -> Any:
        if argv[0] not in (b"STRLEN", b"INCR"):
            return self._execute(session, argv)
        steps = self._steps(argv[1])
        return Independent(steps, [argv[1]]) if argv[0] == b"STRLEN" else steps

    def finish(self, key: bytes) -> None:
        self.waits.pop(key).finish()

    def _steps(self, key: bytes) -> Steps:
        self.begun.append(key)
        wait = self.waits[key] = Wait(self.deadline_s)
        try:
            yield wait
        finally:
            self.ended.append(key)
        return b"+%b\r\n" % key


@pytest.fixture
async def waiting() -> AsyncIterator[Waiting]:
    server = build_server(ClusterConfig(name="x"), "s0", secret=None, require_auth=False)
    sock = listening_socket("127.0.0.1", 0)
    port = sock.getsockname()[1]
    await server.start(sock)
    found = Waiting(server)
    found.port = port
    yield found
    await server.stop()


async def connect(waiting: Waiting) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", waiting.port)


def lines(*commands: str) -> bytes:
    return b"".join(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
                    for words in (command.encode().split() for command in commands))


async def until(what: Any) -> None:
    async with asyncio.timeout(5):
        while not what():
            await asyncio.sleep(0)


async def test_replies_come_in_the_order_of_the_commands_whatever_is_done_first(waiting: Waiting) -> None:
    reader, writer = await connect(waiting)
    writer.write(lines("STRLEN a", "STRLEN b", "PING", "STRLEN c"))
    await until(lambda: waiting.begun == [b"a", b"b"])
    waiting.finish(b"b")
    for _ in range(20):
        await asyncio.sleep(0)
    assert waiting.begun == [b"a", b"b"], "PING waits, and what comes behind it"
    waiting.finish(b"a")
    assert await reader.readexactly(15) == b"+a\r\n+b\r\n+PONG\r\n"
    await until(lambda: b"c" in waiting.waits)
    waiting.finish(b"c")
    assert await reader.readline() == b"+c\r\n"
    writer.write(lines("PING"))
    assert await reader.readline() == b"+PONG\r\n"
    writer.close()


async def test_what_comes_later_is_begun_while_the_first_waits(waiting: Waiting) -> None:
    reader, writer = await connect(waiting)
    for key in "abc":
        writer.write(lines(f"STRLEN {key}"))
        await until(lambda key=key: key.encode() in waiting.waits)
    for key in (b"c", b"b", b"a"):
        waiting.finish(key)
    assert await reader.readexactly(12) == b"+a\r\n+b\r\n+c\r\n"
    writer.close()


async def test_a_command_on_a_key_that_is_busy_waits(waiting: Waiting) -> None:
    reader, writer = await connect(waiting)
    writer.write(lines("STRLEN a", "STRLEN a", "STRLEN b"))
    await until(lambda: waiting.begun)
    for _ in range(20):
        await asyncio.sleep(0)
    assert waiting.begun == [b"a"]
    waiting.finish(b"a")
    assert await reader.readline() == b"+a\r\n"
    await until(lambda: waiting.begun == [b"a", b"a", b"b"])
    waiting.finish(b"b")
    waiting.finish(b"a")
    assert await reader.readexactly(8) == b"+a\r\n+b\r\n"
    writer.close()


async def test_a_command_that_is_not_independent_waits_and_is_waited_for(waiting: Waiting) -> None:
    reader, writer = await connect(waiting)
    writer.write(lines("STRLEN a", "INCR n", "STRLEN b"))
    await until(lambda: waiting.begun)
    for _ in range(20):
        await asyncio.sleep(0)
    assert waiting.begun == [b"a"]
    waiting.finish(b"a")
    await until(lambda: b"n" in waiting.waits)
    for _ in range(20):
        await asyncio.sleep(0)
    assert waiting.begun == [b"a", b"n"]
    waiting.finish(b"n")
    await until(lambda: b"b" in waiting.waits)
    waiting.finish(b"b")
    assert await reader.readexactly(12) == b"+a\r\n+n\r\n+b\r\n"
    writer.close()


async def test_a_client_that_leaves_ends_all_that_is_under_way(waiting: Waiting) -> None:
    _, writer = await connect(waiting)
    writer.write(lines(*(f"STRLEN k{number}" for number in range(10))))
    await until(lambda: len(waiting.waits) == 10)
    # A reset, not an end: whoever only ends their side still gets the replies.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await until(lambda: len(waiting.ended) == 10)


async def test_what_has_been_sent_before_the_end_is_answered(waiting: Waiting) -> None:
    reader, writer = await connect(waiting)
    writer.write(lines("STRLEN a", "STRLEN b", "PING"))
    writer.write_eof()
    await until(lambda: len(waiting.waits) == 2)
    waiting.finish(b"b")
    waiting.finish(b"a")
    assert await reader.read() == b"+a\r\n+b\r\n+PONG\r\n"
    writer.close()


async def test_quit_and_rubbish_behind_commands_under_way_close_after_their_replies(waiting: Waiting) -> None:
    for last, words in ((lines("QUIT"), b"+OK\r\n"), (b"*1\r\n:1\r\n", b"-ERR Protocol error")):
        reader, writer = await connect(waiting)
        writer.write(lines("STRLEN a", "STRLEN b") + last)
        await until(lambda: len(waiting.waits) == 2)
        waiting.finish(b"a")
        waiting.finish(b"b")
        assert (await reader.read()).startswith(b"+a\r\n+b\r\n" + words)
        writer.close()


async def test_replies_that_wait_for_an_earlier_one_are_bounded(waiting: Waiting) -> None:
    """One connection holds its unread replies up to the limit plus one, however many commands it sends."""
    waiting.server.core.store.put(b"big", b"x" * (400 * 1024), 0, None, waiting.server.core.now_ms)
    reader, writer = await connect(waiting)
    writer.write(lines("STRLEN a", *["GETRANGE big 0 -1"] * 20))
    await until(lambda: waiting.begun)
    for _ in range(50):
        await asyncio.sleep(0)
    overlap = next(iter(waiting.server.connections))._long
    assert isinstance(overlap, Overlap)
    assert waiting.server.limits.output_high_water_bytes < overlap._held_bytes < 4 * 400 * 1024
    waiting.finish(b"a")
    assert await reader.readline() == b"+a\r\n"
    for _ in range(20):
        assert await reader.readexactly(9) == b"$409600\r\n"
        await reader.readexactly(400 * 1024 + 2)
    writer.close()


async def test_what_is_expected_counts_before_it_has_come(waiting: Waiting) -> None:
    for key in (b"a", b"b", b"c", b"d", b"e"):
        waiting.server.core.store.put(key, b"x" * (400 * 1024), 0, None, waiting.server.core.now_ms)
    _, writer = await connect(waiting)
    writer.write(lines(*(f"STRLEN {key}" for key in "abcde")))
    await until(lambda: len(waiting.begun) == 3)
    for _ in range(50):
        await asyncio.sleep(0)
    assert waiting.begun == [b"a", b"b", b"c"]
    for key in (b"a", b"b", b"c"):
        waiting.finish(key)
    await until(lambda: len(waiting.begun) == 5)
    writer.close()


async def test_who_has_left_and_waits_for_ever_is_dropped_behind_others_too(waiting: Waiting) -> None:
    _, writer = await connect(waiting)
    waiting.deadline_s = NEVER_S
    writer.write(lines("STRLEN a", "INCR n"))
    await until(lambda: waiting.begun)
    waiting.finish(b"a")
    await until(lambda: b"n" in waiting.waits)
    writer.write_eof()
    await until(lambda: all(one._has_ended for one in waiting.server.connections))
    for connection in list(waiting.server.connections):
        connection.check(0.0)
    await until(lambda: waiting.ended == [b"a", b"n"])
    writer.close()


async def test_not_more_than_so_many_are_under_way(waiting: Waiting) -> None:
    reader, writer = await connect(waiting)
    writer.write(lines(*(f"STRLEN k{number}" for number in range(MOST_AT_ONCE + 50))))
    await until(lambda: len(waiting.waits) == MOST_AT_ONCE)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(waiting.begun) == MOST_AT_ONCE
    while waiting.waits:
        waiting.finish(next(iter(waiting.waits)))
        if not waiting.waits:
            await until(lambda: waiting.waits or len(waiting.ended) == MOST_AT_ONCE + 50)
    expected = b"".join(b"+k%d\r\n" % number for number in range(MOST_AT_ONCE + 50))
    assert await reader.readexactly(len(expected)) == expected
    writer.close()


@pytest.mark.parametrize(("line", "keys"), [
    ("GET k", [b"k"]), ("mget a b", [b"a", b"b"]), ("RC.MGET a b", [b"a", b"b"]), ("SET k v", [b"k"]),
    ("RC.SET k 0 v 5", [b"k"]), ("RC.READ o a b", [b"a", b"b"]), ("RC.WRITE o SET k v", [b"k"]),
    ("SET k v NX", None), ("SET k v GET", None), ("INCR k", None), ("RC.WRITE o INCR k", None), ("PING", None),
    ("FLUSHALL", None), ("RC.LEASE o t k 0", None), ("DEL k", None), ("NONSENSE k", None), ("GET", None),
    ("EXEC", None), ("RC.WRITE o", None),
])
def test_reads_and_writes_that_look_at_nothing_are_independent(line: str, keys: list[bytes] | None) -> None:
    assert independent_keys(Shard().session, line.encode().split()) == keys


def test_in_a_transaction_nothing_is_independent() -> None:
    shard = Shard()
    shard.run("MULTI")
    assert independent_keys(shard.session, [b"GET", b"k"]) is None


class HandClock:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def measuring_all(waiting: Waiting) -> HandClock:
    """Let every command be measured, by a clock of the test's own."""
    clock, server = HandClock(), waiting.server
    server.core.measure(clock, 1)
    server.monotonic_s = clock
    return clock


async def test_latency_is_that_of_the_replies_whatever_they_waited_for(waiting: Waiting) -> None:
    clock = measuring_all(waiting)
    latency = waiting.server.core.meter.latency
    reader, writer = await connect(waiting)
    writer.write(lines("STRLEN a"))
    await until(lambda: b"a" in waiting.waits)
    clock.now_s += 1
    writer.write(lines("STRLEN b", "GET absent"))
    await until(lambda: b"b" in waiting.waits)
    for _ in range(20):
        await asyncio.sleep(0)
    assert latency == {}, "none has its reply"
    clock.now_s += 2
    waiting.finish(b"b")
    for _ in range(20):
        await asyncio.sleep(0)
    assert latency == {}, "they wait for the first one's"
    clock.now_s += 4
    waiting.finish(b"a")
    assert await reader.readexactly(13) == b"+a\r\n+b\r\n$-1\r\n"
    await until(lambda: latency)
    assert (latency["read"].count, latency["read"].max_s) == (3, 7)
    assert latency["read"].sum_s == 7 + 6 + 6
    writer.close()


async def test_slow_commands_behind_one_that_waits_are_kept(waiting: Waiting) -> None:
    clock = measuring_all(waiting)
    meter = waiting.server.core.meter

    def slowest() -> list[tuple[bytes, ...]]:
        return [entry.argv for entry in meter.slowlog.newest(-1)]

    class Creeping(HandClock):
        def __call__(self) -> float:
            self.now_s += 0.02
            return self.now_s

    reader, writer = await connect(waiting)
    writer.write(lines("STRLEN a"))
    await until(lambda: b"a" in waiting.waits)
    waiting.server.core.clock_s = Creeping()  # whatever looks at the clock takes 20 ms
    writer.write(lines("MGET b c"))
    await until(lambda: len(meter.slowlog))
    assert slowest() == [(b"MGET", b"b", b"c")]
    waiting.server.core.clock_s = clock
    steps = waiting._steps

    def slowly(key: bytes) -> Steps:
        for _ in range(3):
            clock.now_s += 0.004
            yield None
        return (yield from steps(key))

    waiting._steps = slowly  # type: ignore[method-assign]
    writer.write(lines("STRLEN d"))
    await until(lambda: b"d" in waiting.waits)
    clock.now_s += 5  # waiting is no part of it
    waiting.finish(b"d")
    waiting.finish(b"a")
    assert await reader.readexactly(4 + 4 + 5 + 5 + 4) == b"+a\r\n*2\r\n$-1\r\n$-1\r\n+d\r\n"
    assert slowest() == [(b"STRLEN", b"d"), (b"MGET", b"b", b"c")]
    assert meter.slowlog.newest(1)[0].duration_us == 12_000
    assert meter.events.by_name["command"].max_ms == 20, "no step of 4 ms has held up anybody"
    writer.close()


async def test_what_ran_inside_of_steps_is_kept_once(waiting: Waiting) -> None:
    clock, core = measuring_all(waiting), waiting.server.core

    def steps() -> Steps:
        yield None
        clock.now_s += 0.03
        core.meter.slow(session, [b"SET", b"k", b"v"], 0.03, core.now_ms)  # as its handler does
        return b"+OK\r\n"

    session = core.open_session("127.0.0.1:1")
    replies: list[bytes] = []
    overlap = Overlap(waiting.server, session, replies.append)
    overlap.add(steps(), [b"RC.WRITE", b"o", b"SET", b"k", b"v"], [b"k"])
    await until(lambda: replies)
    assert [entry.argv[0] for entry in core.meter.slowlog.newest(-1)] == [b"SET"]
