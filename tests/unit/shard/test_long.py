"""Long commands on a real loop: steps, waits, deadlines, and clients that leave in the middle."""

from __future__ import annotations

import asyncio

from raycache.config import ClusterConfig
from raycache.shard.build import build_server
from raycache.shard.commands.command import Steps
from raycache.shard.long import LongCommand, finished, run_batch
from raycache.shard.server import ShardServer
from raycache.shard.wait import Wait

FAR_S = 1e12


def a_server() -> ShardServer:
    return build_server(ClusterConfig(name="x"), "s0", secret=None, require_auth=False)


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_each_step_has_a_turn_and_the_reply_comes_at_the_end() -> None:
    seen: list[int] = []

    def steps() -> Steps:
        for number in range(3):
            seen.append(number)
            yield
        return b"+done\r\n"

    assert await finished(a_server(), steps()) == b"+done\r\n"
    assert seen == [0, 1, 2]


async def test_a_step_that_waits_goes_on_when_it_is_finished() -> None:
    wait = Wait(FAR_S)

    def steps() -> Steps:
        yield wait
        return b":%d\r\n" % wait.result

    reply = asyncio.ensure_future(finished(a_server(), steps()))
    await turns()
    assert not reply.done()
    wait.finish(7)
    assert await reply == b":7\r\n"


async def test_a_wait_that_is_finished_already_costs_no_more_than_a_turn() -> None:
    wait = Wait(FAR_S)
    wait.finish()

    def steps() -> Steps:
        yield wait
        return b"+OK\r\n"

    assert await finished(a_server(), steps()) == b"+OK\r\n"


async def test_past_its_deadline_it_goes_on_and_finds_the_wait_unfinished() -> None:
    server = a_server()
    wait = Wait(server.clock.monotonic_s() + 0.01)

    def steps() -> Steps:
        yield wait
        return b"+done\r\n" if wait.is_done else b"+late\r\n"

    assert await finished(server, steps()) == b"+late\r\n"
    assert server.clock.monotonic_s() >= wait.deadline_s


async def test_what_was_given_up_does_not_wake_a_later_wait() -> None:
    server = a_server()
    late, next_one = Wait(server.clock.monotonic_s()), Wait(FAR_S)

    def steps() -> Steps:
        yield late
        yield next_one
        return b"+%b\r\n" % (b"done" if next_one.is_done else b"woken")

    reply = asyncio.ensure_future(finished(server, steps()))
    while not _waits_for(next_one):
        await asyncio.sleep(0)
    late.finish()
    await turns()
    assert not reply.done()
    next_one.finish()
    assert await reply == b"+done\r\n"


def _waits_for(wait: Wait) -> bool:
    return wait._callback is not None


async def test_closing_ends_the_generator_where_it_stands() -> None:
    ended: list[str] = []
    wait = Wait(FAR_S)

    def steps() -> Steps:
        try:
            yield wait
        finally:
            ended.append("closed")
        return b"+OK\r\n"

    replies: list[bytes] = []
    long = LongCommand(a_server(), steps(), replies.append)
    await turns()
    long.close()
    assert ended == ["closed"]
    wait.finish()
    await turns()
    assert replies == []


async def test_what_a_step_raises_is_an_error_reply() -> None:
    def steps() -> Steps:
        yield
        raise RuntimeError("broken on purpose")

    assert (await finished(a_server(), steps())).startswith(b"-ERR internal error")


async def test_what_was_written_for_other_shards_leaves_before_the_reply() -> None:
    server, order = a_server(), []
    server.flush = lambda: order.append("flush")

    def steps() -> Steps:
        yield
        return b"+OK\r\n"

    LongCommand(server, steps(), lambda reply: order.append("reply"))
    await turns(4)
    assert order == ["flush", "flush", "reply"]


async def test_a_batch_lets_others_have_their_turns() -> None:
    batch = asyncio.ensure_future(run_batch(a_server(), [[b"SET", b"k", b"%d" % at] for at in range(20_000)]))
    turns_of_others = 0
    while not batch.done():
        await asyncio.sleep(0)
        turns_of_others += 1
    assert await batch == [b"+OK\r\n"] * 20_000
    assert turns_of_others > 10


async def test_a_batch_runs_long_commands_too_and_leaves_no_session() -> None:
    server = a_server()
    assert await run_batch(server, [[b"SET", b"k", b"v"], [b"KEYS", b"*"], [b"GET", b"k"]]) == [
        b"+OK\r\n", b"*1\r\n$1\r\nk\r\n", b"$1\r\nv\r\n"]
    assert not server.core.sessions
