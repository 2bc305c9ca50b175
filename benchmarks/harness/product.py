"""raycache as its users run it: shards as Ray actors, started by `raycache.start`, reached over loopback TCP.

What lives here: starting and stopping a cluster for one question. What does not: Redis (`servers`), load (`load`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import ray

import raycache
from benchmarks.harness.machine import listening_pid
from benchmarks.harness.servers import HOST
from raycache.actors import environment


@dataclass(frozen=True, slots=True)
class Product:
    """A running cluster: its name and the port of each shard."""

    name: str
    ports: tuple[int, ...]

    def connect(self) -> raycache.Cache:
        """Return a handle, found through Ray as any driver finds it."""
        return raycache.connect(self.name)

    def status(self) -> raycache.ClusterStatus:
        """Return what `raycache status` shows."""
        return raycache.status(self.name)

    def shard_pid(self, index: int = 0) -> int:
        """Return the process id of a shard."""
        return listening_pid(self.ports[index])


@contextmanager
def running_ray(cpus: int | None = None) -> Iterator[None]:
    """Run a Ray of our own, set up as `raycache.start` sets it up, and end it.

    `cpus` is how many it thinks there are; None: as many as there are.

    Never one that runs already, as `raycache.start` would choose: it may hold somebody's clusters and settings.
    """
    environment.prepare()
    ray.init(address="local", num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def running_cluster(shards: int, memory_bytes: int, policy: str = "lru", copies: int = 1) -> Iterator[Product]:
    """Run a cluster of `shards`, `memory_bytes` in all; yield it; stop it at the end."""
    name = f"bench-{os.getpid()}"
    status = raycache.start(name, shards=shards, memory=memory_bytes, policy=policy, copies=copies, bind=HOST)
    try:
        yield Product(name, tuple(int(shard.address.rpartition(":")[2]) for shard in status.shards))
    finally:
        raycache.stop(name)
