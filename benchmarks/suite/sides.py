"""The sides: what is started for each, and how generators find it.

What lives here: starting and stopping them together. What does not: their clients (`doors`), load.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.harness.machine import listening_pid
from benchmarks.harness.product import running_cluster
from benchmarks.harness.servers import HOST, redis_cluster, redis_server
from benchmarks.suite import servers
from benchmarks.suite.names import ACTOR, ALL, ECHO, MEMCACHED, RAYCACHE, REDIS, REDIS_CLUSTER

MIB: Final = 1024 * 1024
MEMORY_BYTES: Final = 3 * 1024 * MIB
"""Room for four million entries, and never reached: nobody evicts, unless that is the question."""
MOST_ITEM_MIB: Final = 128
FEWEST_NODES: Final = 3
"""redis-cli makes no Redis Cluster of fewer."""
NAMESPACE: Final = "raycache-bench"
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Side:
    """One side that runs."""

    name: str
    target: dict[str, Any]
    """How a generator finds it (`doors`)."""
    ports: tuple[int, ...] = ()
    pids: tuple[int, ...] = ()
    """The processes that hold the entries."""
    actor: Any = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What the sides are to be like."""

    shards: int = 1
    copies: int = 1
    memory_bytes: int = MEMORY_BYTES
    policy: str = "lru"
    is_full: bool = False
    """Whether they have to evict within `memory_bytes`."""


@contextmanager
def running(names: Collection[str], wish: Wish) -> Iterator[list[Side]]:
    """Run these sides, in the order of `ALL`; memcached only where it is installed.

    Raises:
        ServerFailedError: one did not start.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(STARTERS[name](wish)) for name in ALL
               if name in names and (name != MEMCACHED or shutil.which("memcached"))]


@contextmanager
def _raycache(wish: Wish) -> Iterator[Side]:
    with running_cluster(wish.shards, wish.memory_bytes, wish.policy, copies=wish.copies) as product:
        pids = tuple(product.shard_pid(index) for index in range(len(product.ports)))
        target = {"kind": "raycache", "cluster": product.name, "address": f"{HOST}:{product.ports[0]}"}
        yield Side(RAYCACHE, target, product.ports, pids)


@contextmanager
def _redis(wish: Wish) -> Iterator[Side]:
    bound = ("--maxmemory", str(wish.memory_bytes), "--maxmemory-policy", "allkeys-lru") if wish.is_full else ()
    with redis_server(*bound) as port:
        yield Side(REDIS, {"kind": "redis", "host": HOST, "port": port}, (port,), (listening_pid(port),))


@contextmanager
def _redis_cluster(wish: Wish) -> Iterator[Side]:
    with redis_cluster(max(wish.shards, FEWEST_NODES), replicas=wish.copies - 1) as ports:
        pids = tuple(listening_pid(port) for port in ports)
        yield Side(REDIS_CLUSTER, {"kind": "redis-cluster", "host": HOST, "port": ports[0]}, tuple(ports), pids)


@contextmanager
def _memcached(wish: Wish) -> Iterator[Side]:
    item_mib = 1 if wish.is_full else MOST_ITEM_MIB
    with servers.memcached(wish.memory_bytes // MIB, item_mib) as (port, pid):
        yield Side(MEMCACHED, {"kind": "memcached", "host": HOST, "port": port}, (port,), (pid,))


@contextmanager
def _actor(wish: Wish) -> Iterator[Side]:
    import ray

    class Entries:
        """What people write who need a shared dict in Ray."""

        def __init__(self) -> None:
            self._entries: dict[str, bytes] = {}

        def get(self, key: str) -> bytes | None:
            return self._entries.get(key)

        def set(self, key: str, value: bytes) -> None:
            self._entries[key] = value

        def fill(self, values: dict[str, bytes]) -> None:
            # Each value is an object of its own, as it would be had it come alone.
            self._entries.update((key, bytes(bytearray(value))) for key, value in values.items())

        def clear(self) -> None:
            self._entries.clear()

        def pid(self) -> int:
            return os.getpid()

    name = f"entries-{os.getpid()}-{next(_numbers)}"
    actor = ray.remote(Entries).options(num_cpus=0, name=name, namespace=NAMESPACE).remote()
    try:
        pid = ray.get(actor.pid.remote())
        address = ray.get_runtime_context().gcs_address
        yield Side(ACTOR, {"kind": "actor", "ray": address, "name": name, "namespace": NAMESPACE}, (), (pid,), actor)
    finally:
        ray.kill(actor)


@contextmanager
def _echo(wish: Wish) -> Iterator[Side]:
    with servers.echo() as (port, pid):
        yield Side(ECHO, {"kind": "echo", "host": HOST, "port": port}, (port,), (pid,))


STARTERS: Final[dict[str, Callable[[Wish], Any]]] = {
    RAYCACHE: _raycache, REDIS: _redis, REDIS_CLUSTER: _redis_cluster, MEMCACHED: _memcached, ACTOR: _actor,
    ECHO: _echo,
}  # fmt: skip
