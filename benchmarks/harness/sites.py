"""Where a cluster under test runs: several raylets on this machine, or several machines made of namespaces.

What lives here: starting Ray and clusters there, and finding the processes to kill. What does not: what is done to them
(`benchmarks.failover`), and the single local Ray of `make bench` (`product`).
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from benchmarks.harness.driver import Driver
from benchmarks.harness.processes import descendants, listener, title
from benchmarks.harness.servers import HOST, ServerFailedError
from raycache.actors.environment import SETTINGS
from raycache.ring.topology import ShardInfo
from raycache.testing.hosts import Host, Hosts, RayNodes, why_unavailable

SHARD, ROUTER = "ray::ShardActor", "ray::RouterActor"
NAME: Final = "bench"


class Site(Protocol):
    """Machines with a Ray."""

    driver: Driver
    bind: str

    def pids(self, process_title: str) -> list[int]:
        """Return the processes with this title, such as `ROUTER`."""


@dataclass(slots=True)
class OneMachine:
    """A Ray of several raylets on this machine, on loopback."""

    driver: Driver
    bind: str = HOST

    def pids(self, process_title: str) -> list[int]:
        return [pid for pid in descendants(self.driver.pid) if title(pid) == process_title]


@dataclass(slots=True)
class Machines:
    """A Ray with one raylet on each of several hosts, the first of which is the head."""

    driver: Driver
    hosts: list[Host]
    ray: RayNodes
    bind: str = "node"

    def pids(self, process_title: str) -> list[int]:
        return [pid for host in self.hosts if host.is_on for pid in host.pids(process_title)]

    def host_at(self, address: str) -> Host:
        """Return the host with this address."""
        return next(host for host in self.hosts if host.address == address)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running raycache cluster on a site."""

    site: Site
    name: str
    addresses: tuple[str, ...]
    secret: str

    def shard_pid(self, shard: ShardInfo) -> int:
        """Return the process of a shard, as this machine numbers it."""
        return listener(self.site.pids(SHARD), shard.port)

    def kill(self, pid: int) -> None:
        """End a process of the cluster as the kernel does when memory runs out."""
        os.kill(pid, signal.SIGKILL)


@contextmanager
def one_machine(raylets: int = 3) -> Iterator[OneMachine]:
    """Run a Ray of several raylets on this machine; end it afterwards.

    Raises:
        ServerFailedError: it did not start.
    """
    env = {**SETTINGS, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    driver = Driver(env)
    try:
        driver.tell("ray", nodes=raylets)
        yield OneMachine(driver)
    finally:
        driver.close()


@contextmanager
def machines(count: int = 3, *, stored: bool = False, driver_at: int = 0) -> Iterator[Machines]:
    """Run `count` hosts with a Ray on them; end them afterwards.

    Args:
        stored: whether Ray's GCS keeps its state on the head's disk.
        driver_at: which host the driver runs on, and ends with; 0 is the head.
    Raises:
        ServerFailedError: this machine cannot have hosts.
        HostError: Ray did not start on them.
    """
    if reason := why_unavailable():
        raise ServerFailedError(reason)
    with Hosts() as made:
        hosts = [made.add() for _ in range(count)]
        ray = RayNodes(hosts[0], SETTINGS, stored=stored)
        ray.start_head()
        for host in hosts[1:]:
            ray.join(host)
        yield Machines(driver_on(hosts[driver_at], ray), hosts, ray)


def driver_on(host: Host, ray: RayNodes) -> Driver:
    """Start a driver on a host; it ends with its host."""

    def start(argv: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[str]:
        return host.popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    return Driver(ray.environment, start)


@contextmanager
def cluster_on(site: Site, *, name: str = NAME, shards: int = 3, memory_bytes: int = 768 << 20,
               **settings: Any) -> Iterator[Cluster]:
    """Run a cluster on `site`; stop it afterwards, if its driver still can."""
    status = site.driver.tell("start", name=name, shards=shards, memory=memory_bytes, bind=site.bind, **settings)
    try:
        yield Cluster(site, name, tuple(shard["address"] for shard in status["shards"]), status["secret"])
    finally:
        with suppress(ServerFailedError):
            site.driver.tell("stop", name=name)
