"""A Ray cluster on hosts: a head and raylets, as `ray start` makes them on real machines.

What lives here: the commands, the environment that all of its processes share, and the death and return of Ray's GCS.
What does not: hosts (`host`), and caches: programs that run in the hosts make those.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from raycache.testing.hosts.host import Host, HostError

PORT: Final = 6379
START_TIMEOUT_S: Final = 120.0
OBJECT_STORE_BYTES: Final = 100 * 1024 * 1024
# As short as Ray's node death can be made without taking a busy machine for a dead one (docs/ray.md).
HEALTH: Final = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_timeout_ms": 1000,
                 "health_check_failure_threshold": 3}


class RayNodes:
    """Ray on several hosts. The head may keep its state on its disk, and then come back after a power-off.

    Args:
        head: the host that Ray's GCS runs on.
        settings: environment that all Ray processes need, such as `raycache.actors.environment.SETTINGS`.
        stored: keep the GCS' state on the head's disk, in Ray's embedded storage.
    """

    def __init__(self, head: Host, settings: Mapping[str, str], *, stored: bool = False) -> None:
        self.head = head
        self.address = f"{head.address}:{PORT}"
        self._stored = stored
        self._gcs: tuple[list[str], dict[str, str]] | None = None
        # Token authentication, as `raycache up` sets it up; the token is known to these hosts alone.
        self.environment = {**settings, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32),
                            "RAY_ADDRESS": self.address}
        """What programs that use this Ray need."""

    def start_head(self, *, cpus: int = 2) -> None:
        """Start Ray on the head host; again after a power-off, with its state if that was stored.

        Raises:
            HostError: it did not start.
        """
        storage = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": str(self.head.tmp / "gcs")}
        if self._stored:
            (self.head.disk / "gcs").mkdir(exist_ok=True)
        self._start(self.head, ["--head", f"--port={PORT}", "--include-dashboard=false",
                                f"--system-config={json.dumps(HEALTH)}"], cpus, storage if self._stored else {})

    def join(self, host: Host, *, cpus: int = 2, labels: Mapping[str, str] | None = None) -> None:
        """Start a raylet on `host`.

        Raises:
            HostError: it did not start.
        """
        given = ",".join(f"{name}={value}" for name, value in (labels or {}).items())
        self._start(host, [f"--address={self.address}", *([f"--labels={given}"] if given else [])], cpus, {})

    def kill_gcs(self) -> None:
        """Kill Ray's GCS with SIGKILL; the head's raylet and everything else goes on."""
        pids = self.head.pids("gcs_server")
        if len(pids) != 1:
            raise HostError(f"{len(pids)} processes called gcs_server on the head, not one")
        folder = Path(f"/proc/{pids[0]}")
        argv = (folder / "cmdline").read_text().rstrip("\0").split("\0")
        lines = (folder / "environ").read_text().rstrip("\0").split("\0")
        self._gcs = argv, dict(line.split("=", 1) for line in lines if "=" in line)
        os.kill(pids[0], signal.SIGKILL)

    def restart_gcs(self) -> None:
        """Start the killed GCS again as it was started, as a supervisor would."""
        if self._gcs is None:
            raise HostError("the GCS was not killed")
        argv, env = self._gcs
        self.head.popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._gcs = None

    def _start(self, host: Host, options: list[str], cpus: int, env: Mapping[str, str]) -> None:
        ray = str(Path(sys.executable).with_name("ray"))
        common = [f"--node-ip-address={host.address}", f"--num-cpus={cpus}", "--disable-usage-stats",
                  f"--object-store-memory={OBJECT_STORE_BYTES}"]
        host.run([ray, "start", *options, *common], env={**self.environment, **env}, timeout_s=START_TIMEOUT_S)
