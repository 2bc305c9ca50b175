"""A read that comes alone takes a way of its own: what is answered there, and that it means what it means elsewhere."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import hiredis
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raycache.config import MIB, Limits
from raycache.shard import connection as door
from raycache.shard.connection import Connection
from raycache.shard.core import ShardCore
from raycache.shard.lone import LONE_START, lone_read
from raycache.shard.server import ShardServer
from raycache.store import Store, make_policy
from raycache.testing import FakeClock
from tests.unit.shard.test_core_batches import finished, partial_topology, ranks
from tests.unit.shard.test_server import FakeTransport


def make_core(policy: str = "lru", **settings: Any) -> ShardCore:
    return ShardCore(store=Store(capacity_bytes=MIB, policy=make_policy(policy, seed=1)), started_ms=1000, **settings)


def frame(*argv: bytes) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in argv)


def connect(server: ShardServer) -> tuple[Connection, FakeTransport]:
    connection, transport = Connection(server), FakeTransport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    return connection, transport


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each lone read that came: whether it was answered as one."""
    answers: list[bool] = []

    def watched(*arguments: Any) -> bool:
        answers.append(lone_read(*arguments))
        return answers[-1]

    monkeypatch.setattr(door, "lone_read", watched)
    return answers


@pytest.mark.parametrize("settings", [{}, {"secret": "x", "require_auth": True}, {"shard_id": "s1"}, {"policy": "lfu"},
                                      {"policy": "fifo"}, {"policy": "ttl"}, {"policy": "sieve"}])
async def test_the_same_replies_and_counters(settings: dict[str, Any], taken: list[bool]) -> None:
    clock, rng = FakeClock(), random.Random(3)
    single, lone = make_core(**settings), make_core(**settings)
    if "shard_id" in settings:
        for core in (single, lone):
            core.set_topology(partial_topology())
    server = ShardServer(lone, Limits(), clock=clock, measure_every=3)
    for core in (single, lone):
        core.store.watch(1000)
    (connection, transport), session = connect(server), single.open_session("test:1")
    keys = [b"%b:%d" % (rng.randbytes(rng.choice((1, 9, 90, 240, 300))), number) for number in range(30)]
    keys += [b"{tag}%d" % number for number in range(4)]
    for _ in range(800):
        key = rng.choice(keys)
        value = rng.randbytes(rng.choice((0, 9, 4094, 4095, 5000)))
        others = [[b"RC.SET", key, b"3", value, b"0"], [b"SET", key, b"brief", b"PX", b"20"], [b"DEL", key],
                  [b"HELLO", b"3"], [b"GET", key]]
        argv = [b"RC.GET", key] if rng.random() < 0.7 else rng.choice(others)
        clock.advance(0.001)
        single.now_ms = clock.unix_ms()
        data, transport.written = frame(*argv), b""
        cut = rng.randrange(1, len(data)) if rng.random() < 0.1 else len(data)
        for piece in filter(None, (data[:cut], data[cut:])):
            connection.data_received(piece)
        while not transport.written:
            await asyncio.sleep(0)
        assert transport.written == finished(single.execute(session, list(argv)))
        assert (lone.commands, lone.errors) == (single.commands, single.errors)
        assert lone.store.stats.as_dict() == single.store.stats.as_dict()
        assert connection.session.last_command == session.last_command
        assert connection.session.last_ms == session.last_ms
    assert lone.calls_of() == single.calls_of()
    assert ranks(lone.store) == ranks(single.store)
    assert (True in taken) == ("secret" not in settings)
    assert False in taken
    lone.store.check_invariants()


@given(st.binary(max_size=40), st.integers(-2, 2), st.binary(max_size=4), st.binary(min_size=2, max_size=2))
@example(b"k" * 9, 1, b"", b"\r\n")
@example(b"a\r\n*2", 0, b"", b"\r\n")
def test_what_it_takes_is_what_the_parser_would(key: bytes, wrong: int, more: bytes, end: bytes) -> None:
    """Whatever lengths say and whatever stands behind: only one whole command is answered, with its own key's value."""
    core = make_core()
    core.now_ms = 1000
    session, written = core.open_session("test:1"), []
    data = LONE_START + b"%d\r\n" % max(0, len(key) + wrong) + key + end + more
    for size in range(len(data)):
        for start in range(len(LONE_START), len(data) - size):
            core.store.put(data[start : start + size], data[start : start + size], 0, None, 1000)
    if lone_read(core, session, data, written.append):
        reader = hiredis.Reader()
        reader.feed(data)
        argv = reader.gets()
        assert not reader.has_data()
        assert written == [b"$%d\r\n\0%b\r\n" % (len(argv[1]) + 1, argv[1])]
    else:
        assert wrong or more or end != b"\r\n" or not key
        assert not written
        assert core.commands == 0


async def test_what_is_under_way_on_its_connection_comes_first(taken: list[bool]) -> None:
    core = make_core()
    server = ShardServer(core, Limits(), clock=FakeClock())
    connection, transport = connect(server)
    connection.data_received(frame(b"SET", b"k", b"v") + frame(b"GET", b"k")[:9])
    connection.data_received(frame(b"GET", b"k")[9:] + frame(b"RC.GET", b"k"))
    connection.data_received(frame(b"RC.GET", b"k"))
    while transport.written.count(b"\r\n") < 7:
        await asyncio.sleep(0)
    assert transport.written == b"+OK\r\n$1\r\nv\r\n" + b"$2\r\n\0v\r\n" * 2
    assert not any(taken) or core.commands == 4


async def test_while_many_send_or_somebody_records_nothing_is_answered_alone(taken: list[bool]) -> None:
    core = make_core()
    server = ShardServer(core, Limits(), clock=FakeClock())
    connection, transport = connect(server)
    core.store.put(b"k", b"v", 0, None, 1000)
    connection.data_received(frame(b"RC.GET", b"k"))
    connection.data_received(frame(b"RC.GET", b"k"))
    assert taken.pop() is True
    taken.clear()
    server.is_calm = False
    connection.data_received(frame(b"RC.GET", b"k"))
    assert not taken
    server.is_calm = True
    core.recording = object()  # type: ignore[assignment]
    await asyncio.sleep(0)
    connection.data_received(frame(b"RC.GET", b"k"))
    assert taken == [False]
    assert transport.written == b"$2\r\n\0v\r\n" * 4
