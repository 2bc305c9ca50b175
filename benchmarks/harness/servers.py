"""Real Redis servers to compare with: started on free loopback ports, persistence off, stopped by process id.

What lives here: one server, a cluster of three, and the check that the programs exist. What does not:
our own shards (`product`), load (`load`).
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PROGRAMS = ("redis-server", "redis-benchmark", "redis-cli")
HOST = "127.0.0.1"
START_TIMEOUT_S = 15.0

# Below the range Linux hands out to outgoing connections (32768-60999), so that no client takes a port between the
# look and the bind; and a Redis Cluster node listens on its port + 10,000 too.
_PORTS = range(20_000, 22_500)
_BUS_OFFSET = 10_000


class MissingProgramError(Exception):
    """A server to compare with is not installed; the text says how to get it."""


class ServerFailedError(Exception):
    """A server to compare with did not start; the text carries its own words."""


def check_programs(programs: tuple[str, ...] = PROGRAMS) -> None:
    """Make sure that `programs` are on the path.

    Raises:
        MissingProgramError: at least one is not.
    """
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        raise MissingProgramError(f"{', '.join(missing)} not found; on Debian: apt-get install redis-server memcached")


def free_port(bus: bool = False) -> int:
    """Return a loopback port nobody listens on; with `bus`, port + 10,000 is free too."""
    candidates = list(_PORTS)
    random.shuffle(candidates)
    for port in candidates:
        if _is_free(port) and (not bus or _is_free(port + _BUS_OFFSET)):
            return port
    raise ServerFailedError("no free loopback port")


@contextmanager
def redis_server(*options: str, bus: bool = False) -> Iterator[int]:
    """Run one redis-server with its defaults, persistence off; yield its port; stop it at the end.

    Raises:
        ServerFailedError: it ended, or did not answer within 15 s.
    """
    with tempfile.TemporaryDirectory(prefix="bench-redis-") as folder:
        port, words = free_port(bus), Path(folder) / "log"
        command = ["redis-server", "--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]
        with words.open("w") as log:
            # To a file, not a pipe: nobody reads while it runs, and a full pipe would stop the server.
            server = subprocess.Popen([*command, "--dir", folder, *options], stdout=log, stderr=log, text=True)
        try:
            wait_until(f"redis-server on port {port}", lambda: _answers(server, port, words))
            yield port
        finally:
            stop(server)


@contextmanager
def redis_cluster(nodes: int = 3, replicas: int = 0) -> Iterator[list[int]]:
    """Run a Redis Cluster of `nodes` primaries with `replicas` each; yield their ports; stop them at the end.

    Raises:
        ServerFailedError: a node or the joining of them failed.
    """
    options = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf")
    with ExitStack() as stack:
        ports = [stack.enter_context(redis_server(*options, bus=True)) for _ in range(nodes * (1 + replicas))]
        addresses = [f"{HOST}:{port}" for port in ports]
        join = ["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", str(replicas), "--cluster-yes"]
        joined = subprocess.run(join, capture_output=True, text=True, check=False, timeout=60)
        if joined.returncode:
            raise ServerFailedError(f"redis-cli --cluster create failed: {joined.stdout[-500:]}{joined.stderr[-500:]}")
        wait_until(
            "the Redis Cluster", lambda: all("cluster_state:ok" in ask(port, "CLUSTER", "INFO") for port in ports)
        )
        yield ports


def ask(port: int, *command: str) -> str:
    """Return what redis-cli prints for one command; empty when nobody answers."""
    call = ["redis-cli", "-h", HOST, "-p", str(port), *command]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=10).stdout.strip()


def info(port: int) -> dict[str, str]:
    """Return the fields of INFO from the server on `port`, by name."""
    return dict(line.split(":", 1) for line in ask(port, "INFO").splitlines() if ":" in line)


def stop(process: subprocess.Popen[str]) -> None:
    """End `process` and wait for it; kill it when it does not leave within 5 s."""
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(what: str, probe: Callable[[], T], deadline_s: float = START_TIMEOUT_S) -> T:
    """Call `probe` until it returns something true, and return that.

    Raises:
        ServerFailedError: it did not within `deadline_s`.
    """
    end_s = time.monotonic() + deadline_s
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() >= end_s:
            raise ServerFailedError(f"waited {deadline_s:g} s for {what}")
        time.sleep(0.02)


def _answers(server: subprocess.Popen[str], port: int, words: Path) -> bool:
    if server.poll() is not None:
        raise ServerFailedError(f"redis-server ended with {server.returncode}: {words.read_text()[-500:]}")
    return not _is_free(port) and ask(port, "PING") == "PONG"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
