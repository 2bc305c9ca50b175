"""A set of hosts on one network, and whether this machine can have any.

What lives here: making hosts and ending them all. What does not: a host (`host`), the network (`switch`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from raycache.testing.hosts.host import Host
from raycache.testing.hosts.switch import HostError, Switch

_PROGRAMS: Final = ("ip", "unshare", "nsenter")


def why_unavailable() -> str:
    """Return why this machine cannot have hosts, or "" if it can."""
    if os.geteuid() != 0:
        return "hosts need root: they are made of network, process and mount namespaces"
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"hosts need {', '.join(missing)}; Debian has them in iproute2 and util-linux"
    tried = subprocess.run(["unshare", "--net", "--pid", "--mount", "--fork", "true"], capture_output=True, text=True,
                           check=False)
    return f"this kernel gives no namespaces: {tried.stderr.strip()}" if tried.returncode else ""


class Hosts:
    """Hosts numbered from 2 on one network, with this machine as number 1: it reaches them, and they it.

    Raises:
        HostError: this machine cannot have hosts.
    """

    def __init__(self) -> None:
        if reason := why_unavailable():
            raise HostError(reason)
        # Short: Ray puts sockets into it, and a socket's path may have 107 bytes.
        self._folder = Path(tempfile.mkdtemp(prefix="hosts-", dir="/tmp"))
        self._tmp = self._folder / "t"
        self._tmp.mkdir()
        self._hosts: list[Host] = []
        self._switch = Switch(self._folder)

    @property
    def gateway(self) -> str:
        """The address of this machine on their network."""
        return self._switch.gateway

    def add(self) -> Host:
        """Make one more host and power it on."""
        number = len(self._hosts) + 2
        disk = self._folder / f"disk{number}"
        disk.mkdir()
        host = Host(self._switch, number, disk, self._tmp)
        self._hosts.append(host)
        return host

    def close(self) -> None:
        """Power all of them off; their disks go, too."""
        try:
            for host in self._hosts:
                host.power_off()
        finally:
            self._switch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()
