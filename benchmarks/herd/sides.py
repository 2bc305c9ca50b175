"""The ways to load one key that the herd is sent through, each as its users write it.

What lives here: one class for each, which runs inside a process of the herd. What does not: the processes and what is
measured (`stampede`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import raycache
from benchmarks.harness.servers import HOST
from benchmarks.herd.amount import LOAD_S

TTL_S: Final = 1
"""How long the value of a round lives."""
KEY: Final = "bench:herd"
CONNECTIONS: Final = 1_000
"""More than a process has callers: none of them shall wait for a connection."""


class Loads:
    """Counts how often the value was loaded in this process; a load takes `LOAD_S`."""

    def __init__(self) -> None:
        self.count = 0

    def load(self) -> str:
        """Load the value, for a thread."""
        self.count += 1
        time.sleep(LOAD_S)
        return "value"

    async def load_async(self) -> str:
        """Load the value, for a task."""
        self.count += 1
        await asyncio.sleep(LOAD_S)
        return "value"


def ours_in_threads(target: str, loads: Loads) -> Callable[[], Any]:
    """`Cache.cached` on the cluster named `target`."""
    cache = raycache.connect(target, timeout_s=30)
    return cache.cached(ttl=TTL_S, jitter=0, beta=0, name="bench.threads")(loads.load)


def ours_that_hit(target: str, loads: Loads) -> Callable[[], Any]:
    """The same threads, all of which find the value: what so many threads on these cores wait for anyway."""
    cache = raycache.connect(target, timeout_s=30)
    return cache.cached(ttl=3600, name="bench.hit")(loads.load)


def ours_in_tasks(target: str, loads: Loads) -> Callable[[], Any]:
    """`raycache.cached` around an `async def`."""
    return raycache.cached(target, timeout_s=30, ttl=TTL_S, jitter=0, beta=0, name="bench.tasks")(loads.load_async)


def recipe(target: str, loads: Loads) -> Callable[[], Any]:
    """The lock that many articles give: SET NX EX, the winner loads, the others look again every 50 ms."""
    import redis

    client = redis.Redis(host=HOST, port=int(target), max_connections=CONNECTIONS)

    def get() -> Any:
        while True:
            value = client.get(KEY)
            if value is not None:
                return value
            if client.set(f"{KEY}:lock", "1", nx=True, ex=5):
                value = loads.load()
                client.setex(KEY, TTL_S, value)
                client.delete(f"{KEY}:lock")
                return value
            time.sleep(0.05)

    return get


def dogpile(target: str, loads: Loads) -> Callable[[], Any]:
    """dogpile.cache on Redis, with its lock in Redis."""
    from dogpile.cache import make_region

    region = make_region().configure(
        "dogpile.cache.redis",
        arguments={"host": HOST, "port": int(target), "redis_expiration_time": TTL_S, "distributed_lock": True,
                   "thread_local_lock": False, "connection_kwargs": {"max_connections": CONNECTIONS}})  # fmt: skip
    return lambda: region.get_or_create(f"{KEY}:dogpile", loads.load)


def cashews(target: str, loads: Loads) -> Callable[[], Any]:
    """cashews on Redis, with its lock in Redis."""
    from cashews import Cache

    cache = Cache()
    cache.setup(f"redis://{HOST}:{target}", max_connections=CONNECTIONS)
    decorated: Callable[[], Any] = cache(ttl=TTL_S, key=f"{KEY}:cashews", lock=True)(loads.load_async)
    return decorated


SIDES: Final[dict[str, tuple[Callable[[str, Loads], Callable[[], Any]], str, bool]]] = {
    "raycache, threads": (ours_in_threads, "cluster", False),
    "raycache, threads, the value is there": (ours_that_hit, "cluster", False),
    "raycache, asyncio": (ours_in_tasks, "cluster", True),
    "recipe of articles, redis-py on our gateway": (recipe, "gateway", False),
    "recipe of articles, redis-py on Redis": (recipe, "redis", False),
    "dogpile.cache on Redis": (dogpile, "redis", False),
    "cashews on Redis": (cashews, "redis", True),
}
"""By name: how to make it, what it works on, and whether its callers are tasks (else threads)."""
OURS: Final = ("raycache, threads", "raycache, asyncio")
