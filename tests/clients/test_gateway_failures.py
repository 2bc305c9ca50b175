"""What clients of the gateway see when shards move, die, fall silent or talk nonsense. The shards are fakes."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from raycache.config import MIB, Limits
from raycache.gateway.conversation import Conversation
from raycache.gateway.settings import GatewaySettings
from tests.clients.fake_shard import CLOSE, SILENCE, Stage, stage, until
from tests.unit.gateway.topologies import keys_of, shard, topology

A0, B0 = (key.decode() for key in keys_of(0, 2, shards=2))
A1, B1 = (key.decode() for key in keys_of(1, 2, shards=2))
PATIENT = GatewaySettings(retry_for_s=8.0, upstream_silence_s=8.0, retry_interval_s=0.01)


def says(reply: bytes):  # type: ignore[no-untyped-def]
    return lambda argv: reply


def transactional(argv: list[bytes]) -> bytes:
    """A shard that runs any transaction of one command."""
    return {b"MULTI": b"+OK\r\n", b"EXEC": b"*1\r\n+ran\r\n"}.get(argv[0], b"+QUEUED\r\n")


def moved_to(there: int):  # type: ignore[no-untyped-def]
    return says(b"-MOVED 1 127.0.0.1:%d\r\n" % there)


async def test_moved_refreshes_once_for_all_who_wait_and_tries_again() -> None:
    async with stage(moved_to(1), says(b"+here\r\n"), settings=PATIENT) as on:
        # Everything belongs to the second shard now; the gateway does not know yet.
        on.next_topology = topology(shard(1, port=on.shards[1].port), epoch=2)
        clients = [await on.client() for _ in range(5)]
        for client in clients:
            client.send(*[f"SET {A0} {number}" for number in range(20)])
        for client in clients:
            assert [await client.reply() for _ in range(20)] == [b"+here\r\n"] * 20
        assert on.refreshes == 1
        for number in range(20):
            assert on.shards[1].seen.count([b"SET", A0.encode(), b"%d" % number]) == 5


async def test_retried_commands_of_one_client_keep_their_order() -> None:
    async with stage(moved_to(1), says(b"+here\r\n"), settings=PATIENT) as on:
        on.next_topology = topology(shard(1, port=on.shards[1].port), epoch=2)
        client = await on.client()
        await client.ask(*[f"SET {A0} {number}" for number in range(100)])
        assert [int(argv[2]) for argv in on.shards[1].seen] == list(range(100))


async def test_moved_for_ever_ends_in_clusterdown() -> None:
    async with stage(moved_to(1), says(b"+x\r\n")) as on:
        (reply,) = await (await on.client()).ask(f"GET {A0}")
        assert reply.startswith(b"-CLUSTERDOWN MOVED 1 ")
        assert on.refreshes > 1


async def test_a_dead_shard_fails_its_keys_only() -> None:
    async with stage(says(b"+dead\r\n"), says(b"+alive\r\n"), settings=PATIENT) as on:
        await on.shards[0].stop()
        waiting, other = await on.client(), await on.client()
        waiting.send(f"GET {A0}")
        assert await other.ask(f"GET {A1}", f"MGET {A1} {B1}", f"SET {B1} 1") == [b"+alive\r\n"] * 3
        assert on.gateway.stats.commands == 4
        assert on.gateway.executor.stats.given_up == 0, "the other client must be served while this one still waits"
        await on.shards[0].start(on.shards[0].port)
        assert await waiting.reply() == b"+dead\r\n"


async def test_after_the_bound_a_dead_shard_is_clusterdown_and_then_at_once() -> None:
    async with stage(says(b"+dead\r\n"), says(b":1\r\n")) as on:
        await on.shards[0].stop()
        client = await on.client()
        replies = await client.ask(f"GET {A0}", f"GET {A1}", f"DEL {A0} {A1}")
        assert replies[0].startswith(b"-CLUSTERDOWN shard s0 at 127.0.0.1:")
        assert b"refused" in replies[0]
        assert replies[1] == b":1\r\n"
        assert replies[2].startswith(b"-CLUSTERDOWN ")
        rounds = on.refreshes
        assert rounds > 1
        for _ in range(20):
            assert (await client.ask(f"GET {A0}"))[0].startswith(b"-CLUSTERDOWN ")
        assert on.refreshes == rounds, "nobody waits again for a shard that everybody has waited for"


async def test_a_shard_that_comes_back_elsewhere_serves_again() -> None:
    async with stage(says(b"+old\r\n"), says(b"+x\r\n")) as on:
        client = await on.client()
        assert await client.ask(f"GET {A0}") == [b"+old\r\n"]
        await on.shards[0].stop()
        assert (await client.ask(f"GET {A0}"))[0].startswith(b"-CLUSTERDOWN ")
        on.shards[0].script = says(b"+new\r\n")
        await on.shards[0].start()
        on.topology = topology(
            shard(0, port=on.shards[0].port, incarnation=2), shard(1, port=on.shards[1].port), epoch=2
        )
        assert await client.ask(f"GET {A0}") == [b"+new\r\n"]


async def closing_once(on: Stage, command: str) -> tuple[bytes, list[list[bytes]]]:
    """Send `command` to a shard that closes the connection on its first; return the reply and what the shard saw."""
    on.shards[0].script = lambda argv: CLOSE if len(on.shards[0].seen) == 1 else b"+again\r\n"
    (reply,) = await (await on.client()).ask(command)
    return reply, on.shards[0].seen


async def test_a_read_and_a_repeatable_write_are_sent_again_after_a_broken_connection() -> None:
    for command in (f"GET {A0}", f"SET {A0} 1"):
        async with stage(says(b""), says(b""), settings=PATIENT) as on:
            reply, seen = await closing_once(on, command)
            assert reply == b"+again\r\n"
            assert len(seen) == 2


async def test_a_write_that_may_have_run_is_not() -> None:
    for command in (f"INCR {A0}", f"SET {A0} 1 NX"):
        async with stage(says(b""), says(b""), settings=PATIENT) as on:
            reply, seen = await closing_once(on, command)
            assert reply.startswith(b"-CLUSTERDOWN ")
            assert b"may or may not have run" in reply
            assert len(seen) == 1


async def test_a_silent_shard_is_given_up_for_its_keys_only() -> None:
    async with stage(says(SILENCE), says(b"+alive\r\n")) as on:
        client = await on.client()
        replies = await client.ask(f"GET {A0}", f"GET {A1}", f"INCR {A0}")
        assert b"no answer in 0.3 s" in replies[0]
        assert replies[1] == b"+alive\r\n"
        assert replies[2].startswith(b"-CLUSTERDOWN ")


async def test_a_shard_that_talks_nonsense_is_disconnected() -> None:
    async with stage(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), says(b"+alive\r\n")) as on:
        replies = await (await on.client()).ask(f"INCR {A0}", f"GET {A1}")
        assert b"broken replies" in replies[0]
        assert replies[1] == b"+alive\r\n"


async def test_a_reply_of_the_wrong_type_is_one_commands_error() -> None:
    async with stage(says(b"+not a number\r\n"), says(b":1\r\n")) as on:
        client = await on.client()
        assert (await client.ask(f"DEL {A0} {A1}"))[0].startswith(b"-ERR internal error")
        assert await client.ask(f"DEL {A1}") == [b":1\r\n"]


async def test_a_shard_that_refuses_the_secret_is_said_to() -> None:
    async with stage(says(b"+a\r\n"), says(b"+b\r\n"), secret="s3cret") as on:
        on.shards[0].greeting = b"-NOAUTH wrong secret\r\n"
        (reply,) = await (await on.client()).ask(f"GET {A0}")
        assert b"refused the gateway: NOAUTH wrong secret" in reply


async def test_replies_keep_the_clients_order_though_shards_answer_in_another() -> None:
    release = asyncio.Event()

    async def late(argv: list[bytes]) -> bytes:
        await release.wait()
        return b"+late\r\n"

    def early(argv: list[bytes]) -> bytes:
        release.set()
        return b"+early\r\n"

    async with stage(late, early, settings=PATIENT) as on:
        client = await on.client()
        assert await client.ask(f"GET {A0}", "PING", f"GET {A1}") == [b"+late\r\n", b"+PONG\r\n", b"+early\r\n"]


async def test_resp3_types_pass_unchanged_and_pushes_do_not() -> None:
    reply = b"%1\r\n+a\r\n~1\r\n#t\r\n"
    async with stage(says(b">1\r\n+news\r\n" + reply), says(b"")) as on:
        client = await on.client()
        replies = await client.ask("HELLO 3", f"GET {A0}", "HELLO 2", "PING")
        assert replies[1] == reply
        assert [replies[0][:1], replies[2][:1]] == [b"%", b"*"]


async def test_commands_before_the_first_topology_wait_for_it() -> None:
    async with stage(says(b"+a\r\n"), says(b"+b\r\n"), settings=PATIENT) as on:
        known, on.topology = on.topology, None
        client = await on.client()
        client.send(f"GET {A0}", "PING")
        await until(lambda: on.refreshes)
        on.topology = known
        on.gateway.topology_changed()
        assert await client.reply() == b"+a\r\n"
        assert await client.reply() == b"+PONG\r\n"


async def test_a_transaction_that_a_shard_did_not_queue_is_tried_again_elsewhere() -> None:
    def moved(argv: list[bytes]) -> bytes:
        return {b"MULTI": b"+OK\r\n", b"EXEC": b"-EXECABORT no\r\n"}.get(argv[0], b"-MOVED 1 h:1\r\n")

    async with stage(moved, transactional, settings=PATIENT) as on:
        on.next_topology = topology(shard(1, port=on.shards[1].port), epoch=2)
        replies = await (await on.client()).ask("MULTI", f"INCR {A0}", "EXEC")
        assert replies == [b"+OK\r\n", b"+QUEUED\r\n", b"*1\r\n+ran\r\n"]
        assert on.shards[1].seen == [[b"MULTI"], [b"INCR", A0.encode()], [b"EXEC"]]


async def test_a_transaction_with_a_dead_shard_runs_on_the_others_and_says_so() -> None:
    async with stage(says(b""), transactional) as on:
        await on.shards[0].stop()
        client = await on.client()
        replies = await client.ask("MULTI", f"INCR {A0}", f"INCR {A1}", "EXEC")
        assert replies[3].startswith(b"*2\r\n-CLUSTERDOWN shard s0 ")
        assert replies[3].endswith(b"+ran\r\n")
        (alone,) = (await client.ask("MULTI", f"INCR {A0}", "EXEC"))[2:]
        assert alone.startswith(b"-CLUSTERDOWN shard s0 ")


async def test_a_transaction_that_broke_off_is_not_repeated() -> None:
    async with stage(
        lambda argv: CLOSE if argv[0] == b"EXEC" else transactional(argv), says(b""), settings=PATIENT
    ) as on:
        replies = await (await on.client()).ask("MULTI", f"INCR {A0}", "EXEC")
        assert b"may or may not have run" in replies[2]
        assert on.shards[0].seen.count([b"EXEC"]) == 1


async def test_a_watch_whose_connection_broke_counts_as_changed() -> None:
    async with stage(transactional, transactional, settings=PATIENT) as on:
        client = await on.client()
        on.shards[0].script = lambda argv: b"+OK\r\n" if argv[0] == b"WATCH" else transactional(argv)
        await client.ask(f"WATCH {A0}")
        before = set(on.gateway.pool._connections)
        await on.shards[0].stop()
        await on.shards[0].start(on.shards[0].port)
        await client.ask(f"GET {A1}")
        # The gateway's own question for users may have opened a new one meanwhile.
        await until(lambda: before.isdisjoint(on.gateway.pool._connections))
        assert (await client.ask("MULTI", f"INCR {A0}", "EXEC"))[2] == b"*-1\r\n"
        assert [b"INCR", A0.encode()] not in on.shards[0].seen


async def test_one_watched_shard_that_changed_after_another_ran_is_an_error_in_its_place() -> None:
    def watching(exec_reply: bytes):  # type: ignore[no-untyped-def]
        known = {b"WATCH": b"+OK\r\n", b"UNWATCH": b"+OK\r\n", b"MULTI": b"+OK\r\n", b"EXEC": exec_reply}
        return lambda argv: known.get(argv[0], b"+QUEUED\r\n")

    async with stage(watching(b"*1\r\n:1\r\n"), watching(b"*-1\r\n"), settings=PATIENT) as on:
        client = await on.client()
        await client.ask(f"WATCH {A0} {A1}")
        reply = (await client.ask("MULTI", f"INCR {A0}", f"INCR {A1}", "EXEC"))[3]
        assert reply.startswith(b"*2\r\n:1\r\n-EXECABORT a watched key")
        await client.ask(f"WATCH {A1} {A0}")
        assert (await client.ask("MULTI", f"INCR {A1}", f"INCR {A0}", "EXEC"))[3] == b"*-1\r\n", (
            "the first one stops all"
        )


async def test_a_client_that_does_not_read_is_dropped_counted_and_holds_little() -> None:
    big = b"$%d\r\n%b\r\n" % (MIB, b"x" * MIB)
    limits = Limits(slow_client_timeout_s=0.2)
    async with stage(says(big), says(b"+ok\r\n"), settings=PATIENT, limits=limits) as on:
        deaf, friend = await on.client(), await on.client()
        deaf.writer.transport.pause_reading()  # type: ignore[attr-defined]
        deaf.send(*[f"GET {A0}"] * 1000)
        await until(lambda: on.gateway.stats.dropped_slow)
        assert len(on.shards[0].seen) <= 200, "most commands were never sent"
        assert await friend.ask(f"GET {A1}") == [b"+ok\r\n"]
        await until(lambda: len(on.gateway.connections) == 1)


async def test_a_client_that_leaves_in_the_middle_harms_nobody() -> None:
    release = asyncio.Event()

    async def late(argv: list[bytes]) -> bytes:
        await release.wait()
        return b"+late\r\n"

    async with stage(late, says(b"+ok\r\n"), settings=PATIENT) as on:
        leaver, friend = await on.client(), await on.client()
        leaver.send(f"GET {A0}", f"WATCH {A1}", f"MGET {A0} {A1}")
        friend.send(f"GET {B0}")
        await until(lambda: on.shards[0].seen and len(on.gateway.connections) == 2)
        leaver.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        leaver.writer.transport.abort()  # with a reset: the end of its commands alone would still be waited for
        await until(lambda: len(on.gateway.connections) == 1)
        release.set()
        assert await friend.reply() == b"+late\r\n"
        assert await friend.ask(f"GET {A0}") == [b"+late\r\n"]


async def test_a_client_that_has_said_all_gets_its_replies_and_is_closed() -> None:
    release = asyncio.Event()

    async def late(argv: list[bytes]) -> bytes:
        await release.wait()
        return b"+late\r\n"

    async with stage(late, says(b"+ok\r\n"), settings=PATIENT) as on:
        client = await on.client()
        client.send(*[f"GET {A0}"] * 500, f"MGET {A0}", "PING")
        client.writer.write_eof()
        await until(lambda: on.shards[0].seen)
        release.set()
        replies = [await client.reply() for _ in range(502)]
        assert replies == [b"+late\r\n"] * 501 + [b"+PONG\r\n"]
        await until(lambda: not on.gateway.connections)


async def test_a_turn_that_fails_ends_its_own_connection_only(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = 0

    def start(self: Conversation, argv: list[bytes]) -> None:
        nonlocal begun
        begun += 1
        if begun > 70:  # not in the first turn, which the socket's own callback has
            raise RuntimeError("a bug of ours")
        self._client.answer(b"+OK\r\n")

    async with stage(says(b"+ok\r\n")) as on:
        client, friend = await on.client(), await on.client()
        with monkeypatch.context() as patched:
            patched.setattr(Conversation, "start", start)
            client.send(*["PING"] * 100)
            await until(lambda: len(on.gateway.connections) == 1)
        assert await friend.ask("PING") == [b"+PONG\r\n"]


async def test_many_clients_share_few_connections() -> None:
    async with stage(says(b"+a\r\n"), says(b"+b\r\n")) as on:
        clients = [await on.client() for _ in range(50)]
        for client in clients:
            client.send(f"GET {A0}", f"GET {A1}", f"MGET {A0} {B0}")
        for client in clients:
            assert [await client.reply() for _ in range(3)] == [b"+a\r\n", b"+b\r\n", b"+a\r\n"]
        assert [each.connections for each in on.shards] == [1, 1]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"*1\r\n:5\r\n", b"-ERR Protocol error"),
        (b"*99999999\r\n", b"-ERR Protocol error"),
        (b"*2\r\n$3\r\nGET\r\n$5x\r\n", b"-ERR Protocol error"),
    ],
)
async def test_broken_framing_is_told_after_the_replies_before_it_and_closes(sent: bytes, expected: bytes) -> None:
    async with stage(says(b"+a\r\n"), says(b"+b\r\n")) as on:
        client = await on.client()
        client.send(f"GET {A0}")
        client.writer.write(sent)
        assert await client.reply() == b"+a\r\n"
        assert (await client.reply()).startswith(expected)
        assert await client.reader.read() == b""
        assert on.gateway.stats.protocol_errors == 1


async def test_too_many_clients_are_refused() -> None:
    async with stage(says(b"+a\r\n"), says(b"+b\r\n"), limits=Limits(max_connections=1)) as on:
        first = await on.client()
        assert await first.ask("PING") == [b"+PONG\r\n"]
        second = await on.client()
        assert await second.reply() == b"-ERR max number of clients reached\r\n"
        assert await first.ask("PING") == [b"+PONG\r\n"]


async def test_a_half_sent_command_does_not_stay_for_ever() -> None:
    async with stage(says(b"+a\r\n"), says(b"+b\r\n"), limits=Limits(half_sent_timeout_s=0.1)) as on:
        client = await on.client()
        client.writer.write(b"*2\r\n$3\r\nGET\r\n$100\r\nabc")
        await until(lambda: on.gateway.stats.dropped_half_sent)
