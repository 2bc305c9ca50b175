"""A lane while its shard moves: calls go to the newest address, whenever that becomes known."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from raycache.gateway.pool import Lane
from raycache.ring.topology import ShardInfo
from tests.unit.gateway.topologies import shard


class FakeConnection:
    """Keeps what is sent."""

    is_lost = False

    def __init__(self) -> None:
        self.sent: list[object] = []

    def send(self, call: object) -> None:
        self.sent.append(call)


class FakePool:
    """Opens a connection when the test says so."""

    def __init__(self) -> None:
        self.rng = random.Random(1)
        self.opening: list[tuple[int, asyncio.Future[FakeConnection]]] = []
        self.retired: list[FakeConnection] = []
        self._tasks: list[asyncio.Task[None]] = []

    def now_s(self) -> float:
        return 0.0

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def open(self, to: ShardInfo, protocol: int, **_: Any) -> FakeConnection:
        opened: asyncio.Future[FakeConnection] = asyncio.get_running_loop().create_future()
        self.opening.append((to.port, opened))
        return await opened

    def retire(self, connection: FakeConnection) -> None:
        self.retired.append(connection)

    def on_return(self) -> None:
        pass


async def test_a_connection_that_opens_after_its_shard_has_moved_is_not_used() -> None:
    pool: Any = FakePool()
    lane, old, call = Lane(pool, 2), shard(0, port=7000), object()
    new = replace(old, port=7001, incarnation=old.incarnation + 1)
    stale, fresh = FakeConnection(), FakeConnection()
    lane.send(call, old)  # type: ignore[arg-type]
    await asyncio.sleep(0)
    lane.send(call, new)  # type: ignore[arg-type]
    pool.opening[0][1].set_result(stale)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [port for port, _ in pool.opening] == [7000, 7001]
    pool.opening[1][1].set_result(fresh)
    await asyncio.sleep(0)
    assert (stale.sent, fresh.sent, pool.retired) == ([], [call, call], [stale])
