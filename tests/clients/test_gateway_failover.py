"""What clients of the gateway see while a slot's primary is lost and another copy takes over. The shards are fakes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from raycache.gateway.settings import GatewaySettings
from raycache.resp import encode
from raycache.ring.topology import Topology
from tests.clients.fake_shard import CLOSE, SILENCE, Stage, stage, until
from tests.unit.gateway.topologies import keys_of, shard, topology

A0, B0 = (key.decode() for key in keys_of(0, 2))
A1, B1 = (key.decode() for key in keys_of(1, 2))
A2 = keys_of(2, 1)[0].decode()
PATIENT = GatewaySettings(retry_for_s=8.0, upstream_silence_s=8.0, retry_interval_s=0.01, replica_after_s=0.05)


def named(name: str) -> Callable[[list[bytes]], bytes]:
    """A shard that answers every read with its name, MGET with one for each key."""

    def script(argv: list[bytes]) -> bytes:
        if argv[0] == b"MGET":
            return encode.array([encode.bulk(name.encode())] * (len(argv) - 1))
        return encode.simple(name.encode())

    return script


def copied(on: Stage, *, epoch: int = 1, primary_after: int = 0, states: tuple[str, ...] = ("up",) * 3) -> Topology:
    """Slot n belongs to the shards n, n+1 and n+2 modulo 3 in this order; each row turned by `primary_after`."""
    plain = topology(*[shard(number, port=each.port) for number, each in enumerate(on.shards)], epoch=epoch)
    first = plain.owners[:, 0]
    owners = np.stack([(first + step + primary_after) % 3 for step in range(3)], axis=1)
    shards = tuple(replace(one, state=state) for one, state in zip(plain.shards, states, strict=True))
    return replace(plain, owners=owners, shards=shards)  # type: ignore[arg-type]


async def test_reads_of_a_dead_primary_go_to_a_replica_at_once() -> None:
    async with stage(named("a"), named("b"), named("c"), settings=PATIENT) as on:
        on.topology = copied(on)
        client = await on.client()
        assert await client.ask(f"GET {A0}") == [b"+a\r\n"]
        await on.shards[0].stop()
        assert await client.ask(f"GET {A0}", f"GET {A1}", f"EXISTS {B0}") == [b"+b\r\n", b"+b\r\n", b"+b\r\n"]
        assert on.shards[1].seen.count([b"READONLY"]) == 1
        assert on.gateway.executor.stats.detours == 2


async def test_the_keys_of_one_command_are_read_wherever_they_still_are() -> None:
    async with stage(named("a"), named("b"), named("c"), settings=PATIENT) as on:
        on.topology = copied(on)
        # Half of the first shard's slots have their first replica on the third shard.
        owners = on.topology.owners.copy()
        owners[(owners[:, 0] == 0) & (np.arange(len(owners)) % 2 == 0)] = (0, 2, 1)
        on.topology = replace(on.topology, owners=owners)
        keys = [key.decode() for key in keys_of(0, 20)]
        client = await on.client()
        await on.shards[0].stop()
        (reply,) = await client.ask("MGET " + " ".join([A1, *keys]))
        assert reply.count(b"$1\r\nb\r\n") + reply.count(b"$1\r\nc\r\n") == 21
        assert reply.count(b"$1\r\nc\r\n") in range(1, 20)


async def test_reads_of_a_silent_primary_go_to_a_replica_and_its_late_replies_count_for_nothing() -> None:
    release = asyncio.Event()

    async def late(argv: list[bytes]) -> bytes:
        await release.wait()
        return b"+late\r\n"

    async with stage(late, named("b"), named("c"), settings=PATIENT) as on:
        on.topology = copied(on)
        client = await on.client()
        assert await client.ask(f"GET {A0}", f"GET {B0}") == [b"+b\r\n", b"+b\r\n"]
        before_s = asyncio.get_running_loop().time()
        for _ in range(50):
            assert await client.ask(f"GET {A0}") == [b"+b\r\n"]
        assert asyncio.get_running_loop().time() - before_s < 1.0, "once it is known to be silent nobody waits for it"
        release.set()
        await until(lambda: not on.gateway.executor._silent)
        on.shards[0].script = named("a")
        assert await client.ask(f"GET {A0}") == [b"+a\r\n"]


async def test_a_read_does_not_overtake_its_clients_own_write() -> None:
    async with stage(lambda argv: SILENCE, named("b"), named("c"), settings=PATIENT) as on:
        on.topology = copied(on)
        writer, reader = await on.client(), await on.client()
        writer.send(f"SET {A0} 1", f"GET {A0}")
        assert await reader.ask(f"GET {A0}") == [b"+b\r\n"]
        assert [b"GET", A0.encode()] not in on.shards[2].seen
        assert on.shards[1].seen.count([b"GET", A0.encode()]) == 1, "the reader's"
        # The failover: the second shard is primary now, and both commands of the writer go there in their order.
        on.topology = copied(on, epoch=2, primary_after=1, states=("down", "up", "up"))
        on.gateway.topology_changed()
        assert [await writer.reply(), await writer.reply()] == [b"+b\r\n", b"+b\r\n"]
        assert on.shards[1].seen[-2:] == [[b"SET", A0.encode(), b"1"], [b"GET", A0.encode()]]


async def test_a_write_waits_for_the_failover_and_then_succeeds() -> None:
    async with stage(named("a"), named("b"), named("c"), settings=PATIENT) as on:
        on.topology = copied(on)
        client = await on.client()
        await client.ask(f"GET {A0}")
        await on.shards[0].stop()
        assert await client.ask(f"GET {A0}") == [b"+b\r\n"]  # the gateway knows that the connection is gone
        client.send(f"SET {A0} 1", f"INCR {A0}")
        await until(lambda: on.gateway.executor.stats.retries > 2)
        on.topology = copied(on, epoch=2, primary_after=1, states=("down", "up", "up"))
        assert [await client.reply(), await client.reply()] == [b"+b\r\n", b"+b\r\n"]


async def test_a_failover_is_followed_without_the_router() -> None:
    async with stage(named("a"), named("b"), named("c"), settings=PATIENT) as on:
        on.topology = copied(on)
        client = await on.client()
        await on.shards[0].stop()
        client.send(f"SET {A0} 1")
        await until(lambda: on.shards[2].asked > 1)
        newer = copied(on, epoch=2, primary_after=1, states=("down", "up", "up"))
        on.shards[2].shown = encode.bulk(newer.to_bytes())
        assert await client.reply() == b"+b\r\n"
        assert on.gateway.topology() == newer


async def test_a_silent_shard_makes_the_gateway_look_for_a_newer_topology() -> None:
    async with stage(lambda argv: SILENCE, named("b"), named("c"), settings=PATIENT) as on:
        on.topology = copied(on)
        client = await on.client()
        client.send(f"SET {A0} 1")
        await until(lambda: on.shards[1].asked)
        newer = copied(on, epoch=2, primary_after=1, states=("down", "up", "up"))
        on.shards[1].shown = encode.bulk(newer.to_bytes())
        assert await client.reply() == b"+b\r\n"


async def test_a_router_that_hangs_delays_nobody() -> None:
    async with stage(named("a"), named("b"), named("c"), settings=PATIENT) as on:
        on.topology = copied(on)
        hung = asyncio.Event()

        async def refresh() -> None:
            on.refreshes += 1
            await hung.wait()

        on.gateway.executor.news.refresh = refresh
        client = await on.client()
        await on.shards[0].stop()
        client.send(f"SET {A0} 1")
        await until(lambda: on.refreshes)
        newer = copied(on, epoch=2, primary_after=1, states=("down", "up", "up"))
        on.shards[2].shown = encode.bulk(newer.to_bytes())
        async with asyncio.timeout(1.5):
            assert await client.reply() == b"+b\r\n"
        assert on.refreshes == 1


@pytest.mark.parametrize("refusal", [
    b"-TRYAGAIN This slot is on its way\r\n", b"-CLUSTERDOWN this shard is cut off from the others\r\n"])
async def test_a_shard_in_transition_is_asked_again(refusal: bytes) -> None:
    async with stage(named("a"), named("b"), named("c"), settings=PATIENT) as on:
        on.shards[0].script = lambda argv: refusal if len(on.shards[0].seen) < 3 else b":1\r\n"
        client = await on.client()
        assert await client.ask(f"INCR {A0}") == [b":1\r\n"]


async def test_a_command_that_ran_in_part_is_not_repeated_if_that_would_change_something() -> None:
    async with stage(named("a"), named("b"), named("c"), settings=PATIENT) as on:
        on.shards[0].script = lambda argv: b"-TRYAGAIN Slots moved while the command ran\r\n"
        client = await on.client()
        assert (await client.ask(f"MSETNX {A0} 1"))[0].startswith(b"-TRYAGAIN")
        assert len(on.shards[0].seen) == 1


async def test_without_any_living_copy_it_ends_in_clusterdown() -> None:
    quick = replace(PATIENT, retry_for_s=0.3)
    async with stage(named("a"), named("b"), named("c"), settings=quick) as on:
        on.topology = copied(on)
        client = await on.client()
        for each in on.shards:
            await each.stop()
        async with asyncio.timeout(3):
            for reply in await client.ask(f"GET {A0}", f"SET {A0} 1"):
                assert reply.startswith(b"-CLUSTERDOWN ")


async def test_a_replica_that_refuses_leaves_the_read_waiting_for_the_failover() -> None:
    async with stage(named("a"), named("b"), named("c"), settings=PATIENT) as on:
        on.topology = copied(on)
        on.shards[1].script = lambda argv: b"-MOVED 1 127.0.0.1:1\r\n" if argv[0] == b"GET" else b"+OK\r\n"
        client = await on.client()
        await on.shards[0].stop()
        client.send(f"GET {A0}")
        await until(lambda: on.gateway.executor.stats.retries > 1)
        on.shards[1].script = named("b")
        assert await client.reply() == b"+b\r\n"


async def test_a_connection_that_breaks_in_a_read_costs_the_client_nothing() -> None:
    async with stage(lambda argv: CLOSE, named("b"), named("c"), settings=PATIENT) as on:
        on.topology = copied(on)
        assert await (await on.client()).ask(f"GET {A0}", f"GET {A2}") == [b"+b\r\n", b"+c\r\n"]
