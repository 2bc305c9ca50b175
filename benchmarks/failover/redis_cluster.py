"""A Redis Cluster with replicas, to kill a primary of: real servers with their defaults, on loopback.

What lives here: starting it, who serves what, killing a node and bringing it back. What does not: a single server and
the cluster without replicas (`harness.servers`).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from benchmarks.harness.servers import HOST, ServerFailedError, ask, free_port, stop, wait_until

PRIMARIES: Final = 3
REPLICAS_EACH: Final = 1
JOIN_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Primary:
    """One primary, as the others see it."""

    port: int
    slots: npt.NDArray[np.int64]


class RedisCluster:
    """Three primaries with a replica each, default node timeout (15 s), persistence off.

    Raises:
        ServerFailedError: it did not come up.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="bench-redis-"))
        self._servers: dict[int, subprocess.Popen[str]] = {}
        try:
            for _ in range(PRIMARIES * (1 + REPLICAS_EACH)):
                self._start(free_port(bus=True))
            self._join()
        except BaseException:
            self.close()
            raise

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the nodes listen."""
        return tuple(f"{HOST}:{port}" for port in self._servers)

    def primaries(self) -> list[Primary]:
        """Return the primaries that live and have slots."""
        found = []
        for line in ask(self._alive(), "CLUSTER", "NODES").splitlines():
            words = line.split()
            flags = words[2].split(",")
            if "master" in flags and not {"fail", "fail?"} & set(flags) and words[8:]:
                port = int(words[1].partition("@")[0].rpartition(":")[2])
                found.append(Primary(port, _slots(words[8:])))
        return sorted(found, key=lambda primary: primary.port)

    def kill(self, port: int) -> None:
        """Kill a node with SIGKILL."""
        self._servers[port].kill()
        self._servers[port].wait()

    def has_failed_over(self, port: int) -> bool:
        """Whether others serve the slots of the killed primary at `port`."""
        ports = [primary.port for primary in self.primaries()]
        return len(ports) == PRIMARIES and port not in ports

    def restart(self, port: int) -> None:
        """Start a killed node again; it joins with the identity that it keeps in its folder.

        Only after the failover: before it, the node comes back as a primary without data.
        """
        self._start(port)

    def is_whole(self) -> bool:
        """Whether every slot is served, and every primary has a replica that follows it."""
        ports = list(self._servers)
        if not all("cluster_state:ok" in ask(port, "CLUSTER", "INFO") for port in ports):
            return False
        roles = [ask(port, "INFO", "replication") for port in ports]
        following = sum("role:slave" in text and "master_link_status:up" in text for text in roles)
        return following == PRIMARIES * REPLICAS_EACH and len(self.primaries()) == PRIMARIES

    def close(self) -> None:
        """Stop all nodes."""
        for server in self._servers.values():
            stop(server)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def _alive(self) -> int:
        return next(port for port, server in self._servers.items() if server.poll() is None)

    def _start(self, port: int) -> None:
        folder = self._folder / str(port)
        folder.mkdir(exist_ok=True)
        command = ["redis-server", "--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no", "--dir",
                   str(folder), "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]
        with (folder / "log").open("a") as log:
            self._servers[port] = subprocess.Popen(command, stdout=log, stderr=log, text=True)
        wait_until(f"redis-server on port {port}", lambda: ask(port, "PING") == "PONG")

    def _join(self) -> None:
        join = ["redis-cli", "--cluster", "create", *self.addresses, "--cluster-replicas", str(REPLICAS_EACH),
                "--cluster-yes"]
        joined = subprocess.run(join, capture_output=True, text=True, check=False, timeout=JOIN_TIMEOUT_S)
        if joined.returncode:
            raise ServerFailedError(f"redis-cli --cluster create failed: {joined.stdout[-500:]}{joined.stderr[-500:]}")
        wait_until("the Redis Cluster with its replicas", self.is_whole, JOIN_TIMEOUT_S)


def _slots(ranges: list[str]) -> npt.NDArray[np.int64]:
    """Return the slots of ranges such as "0-5460" or "7"; ones that are moving ("[7->-...]") stay out."""
    parts = [text.split("-") for text in ranges if not text.startswith("[")]
    return np.concatenate([np.arange(int(part[0]), int(part[-1]) + 1) for part in parts])
