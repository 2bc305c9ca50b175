"""10,000 `await cache.get()` at once in one process, beside redis.asyncio on Redis 7.

What lives here: the part `crowd`. Both sides gather 10,000 coroutines on the same kind of loop, 100-byte values. What
`redis.asyncio` can do depends on how many connections it may open: it gets the best of a few numbers, with a
semaphore for those who wait (left alone, it would open 10,000). In the same rounds 10,000 tasks wait for a bare future
each, which is set at once: nobody who answers a coroutine with a future can be faster than that.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import redis.asyncio
import uvloop

import raycache
from benchmarks.fast.amount import Amount
from benchmarks.harness.parts import Part
from benchmarks.harness.product import running_cluster, running_ray
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check
from benchmarks.harness.servers import HOST, redis_server
from benchmarks.harness.stats import median, paired_ratios

MEMORY_BYTES: Final = 256 * 1024 * 1024
CALLERS: Final = 10_000
VALUE_BYTES: Final = 100
POOLS: Final = (10, 50, 200)
GOAL: Final = Goal(">=", 3.0)
FIGURE: Final = "10,000 concurrent await get(), throughput over redis.asyncio on Redis 7"
Get = Callable[[str], Awaitable[Any]]
BARE: Final = "bare tasks"


def run(amount: Amount, step: Step) -> Outcome:
    """Measure both in turns, on uvloop."""
    outcome = Outcome("crowd", facts={"callers": CALLERS, "value_bytes": VALUE_BYTES,
                                      "busy_cores_before": idle_check()})
    step("starting one shard and one Redis")
    rng = random.Random(amount.seed)
    values = {f"key:{number:012d}": rng.randbytes(VALUE_BYTES) for number in range(CALLERS)}
    with running_ray(), running_cluster(1, MEMORY_BYTES) as product, redis_server() as redis_port:
        with product.connect() as cache:
            cache.set_many(values)
        uvloop.run(_measure(product.name, redis_port, values, amount, step, outcome))
    return outcome


async def _measure(name: str, redis_port: int, values: dict[str, bytes], amount: Amount, step: Step,
                   outcome: Outcome) -> None:
    async with await raycache.connect_async(name) as cache:
        best = await _best_pool(redis_port, values, outcome)
        pool = _pool(redis_port, best)
        client = redis.asyncio.Redis(connection_pool=pool)
        sides: dict[str, Get] = {"raycache": cache.get, "redis.asyncio": _limited(client, best), BARE: _bare(values)}
        rates: dict[str, list[float]] = {side: [] for side in sides}
        for get in sides.values():
            await _rate(get, values)
        for number in range(1, amount.rounds + 1):
            for side, get in sides.items():
                step(f"{side}, round {number} of {amount.rounds}")
                rates[side].append(await _rate(get, values))
        await client.aclose()
        await pool.aclose()
    for side, samples in rates.items():
        outcome.series.append(Series(f"gets at once, {side}", "gets/s", samples))
    ratios = paired_ratios(rates["raycache"], rates["redis.asyncio"])
    outcome.figures.append(Figure(FIGURE, GOAL, median(ratios), "x", tuple(ratios)))
    outcome.series.append(Series("bare tasks over redis.asyncio: the most that is possible", "x",
                                 paired_ratios(rates[BARE], rates["redis.asyncio"])))


async def _best_pool(redis_port: int, values: dict[str, bytes], outcome: Outcome) -> int:
    """Return the number of connections with which redis.asyncio is fastest here."""
    rates: dict[int, float] = {}
    for connections in POOLS:
        pool = _pool(redis_port, connections)
        client = redis.asyncio.Redis(connection_pool=pool)
        if connections == POOLS[0]:
            await client.mset(values)
        rates[connections] = max([await _rate(_limited(client, connections), values) for _ in range(2)])
        await client.aclose()
        await pool.aclose()
    outcome.facts["redis.asyncio by connections, gets/s"] = {str(many): round(rate) for many, rate in rates.items()}
    return max(rates, key=lambda connections: rates[connections])


def _pool(redis_port: int, connections: int) -> redis.asyncio.ConnectionPool:
    # No limits of time: with so many who wait, a connection may take longer to be made than its defaults allow.
    return redis.asyncio.ConnectionPool(host=HOST, port=redis_port, max_connections=connections, socket_timeout=None,
                                        socket_connect_timeout=None)


def _limited(client: Any, connections: int) -> Get:
    """Return a `get` that waits for a free connection in a semaphore: the pool's own waiting is slower by far."""
    gate = asyncio.Semaphore(connections)

    async def get(key: str) -> Any:
        async with gate:
            return await client.get(key)

    return get


def _bare(values: dict[str, bytes]) -> Get:
    """Return a `get` that waits for a future, as short as one can be: all are set when the last has been asked for."""
    waiting: list[tuple[asyncio.Future[bytes], str]] = []

    def settle() -> None:
        for future, key in waiting:
            future.set_result(values[key])
        waiting.clear()

    async def get(key: str) -> bytes:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        waiting.append((future, key))
        if len(waiting) == CALLERS:
            loop.call_soon(settle)
        return await future

    return get


async def _rate(get: Get, values: dict[str, bytes]) -> float:
    """Ask for everything at once; return how many a second were answered, all of them rightly."""
    began_s = time.perf_counter()
    found = await asyncio.gather(*[get(key) for key in values])
    took_s = time.perf_counter() - began_s
    if found != list(values.values()):
        raise AssertionError("a value does not read back")
    return len(found) / took_s


PART: Final = Part("crowd", "10,000 concurrent gets beside redis.asyncio", lambda a: 25 if a.quick else 40,
                   lambda a: 1 + 3 * a.rounds, run, {FIGURE: GOAL})
