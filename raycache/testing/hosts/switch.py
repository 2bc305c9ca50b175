"""The switch that hosts are plugged into: a bridge in a network namespace of its own, and an uplink to this machine.

What lives here: every `ip` command. The namespaces have no names and are held by a process each, so they go with it,
and with them their links. What does not: processes inside a host (`host`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

FIRST_PROCESS: Final = Path(__file__).with_name("first_process.py")
READY_TIMEOUT_S: Final = 10.0
# 10.78.<n>.0/24, of which each set of hosts takes the first that no other has: tests may run at the same time.
NETWORKS: Final = range(1, 200)
_UPLINK: Final = "rchosts"


class HostError(Exception):
    """A host could not be made or reached; the text carries the words of the command that failed."""


def command(*argv: str) -> str:
    """Run a short command and return what it printed.

    Raises:
        HostError: it failed.
    """
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode:
        raise HostError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def hold(unshare: list[str], *arguments: str) -> tuple[subprocess.Popen[str], int]:
    """Start a first process in new namespaces; return the process that was started and the first one's id.

    Raises:
        HostError: it did not come up.
    """
    program = [sys.executable, "-I", "-S", str(FIRST_PROCESS), *arguments]
    process = subprocess.Popen(["unshare", *unshare, "--", *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    if process.stdout.readline() != "ready\n":
        raise HostError(f"unshare {' '.join(unshare)}: {process.stderr.read().strip()}")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return process, int(children[0]) if children else process.pid


class Switch:
    """The network of one set of hosts. `gateway` is the address of this machine in it.

    Args:
        folder: what the hosts keep their disks in; it is cleared away when the switch ends, however it ends.
    Raises:
        HostError: it could not be made.
    """

    def __init__(self, folder: Path) -> None:
        self._process, self._pid = hold(["--net"], "switch", str(folder))
        try:
            self._inside("ip", "link", "add", "bridge", "type", "bridge")
            self._inside("ip", "link", "set", "bridge", "up")
            self._network = self._connect_uplink()
        except BaseException:
            self.close()
            raise
        self.gateway = self.address_of(1)

    def address_of(self, number: int) -> str:
        """Return the address of host `number`, 2 to 254; 1 is this machine."""
        return f"10.78.{self._network}.{number}"

    def plug_in(self, number: int, pid: int) -> None:
        """Give the network namespace of process `pid` a link to the switch, up and with its address."""
        self._inside("ip", "link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self._inside("ip", "link", "set", f"port{number}", "master", "bridge", "up")
        host = ("nsenter", "-t", str(pid), "-n", "ip")
        command(*host, "link", "set", "lo", "up")
        # Always the same hardware address: the others need not learn a new one when the host comes back.
        command(*host, "link", "set", "eth0", "address", hardware_address(number), "up")
        command(*host, "address", "add", f"{self.address_of(number)}/24", "dev", "eth0")

    def unplug(self, number: int) -> None:
        """Pull the cable of host `number`: nothing arrives and nobody is told."""
        self._inside("ip", "link", "set", f"port{number}", "down")

    def replug(self, number: int) -> None:
        """Put the cable of host `number` back in."""
        self._inside("ip", "link", "set", f"port{number}", "up")

    def scrap(self, number: int) -> None:
        """Take away both ends of the link of host `number`."""
        self._inside("ip", "link", "delete", f"port{number}")

    def misdirect(self, pid: int, number: int) -> None:
        """Send what the host of process `pid` has for host `number` to nobody, without an error."""
        command("nsenter", "-t", str(pid), "-n", "ip", "neighbour", "replace", self.address_of(number), "lladdr",
                hardware_address(255), "nud", "permanent", "dev", "eth0")

    def direct(self, pid: int, number: int) -> None:
        """Undo `misdirect`."""
        command("nsenter", "-t", str(pid), "-n", "ip", "neighbour", "replace", self.address_of(number), "lladdr",
                hardware_address(number), "nud", "permanent", "dev", "eth0")

    def close(self) -> None:
        """End the network and its links, and clear the folder away."""
        self._process.communicate()

    def _inside(self, *argv: str) -> None:
        command("nsenter", "-t", str(self._pid), "-n", *argv)

    def _connect_uplink(self) -> int:
        for network in NETWORKS:
            name = f"{_UPLINK}{network}"
            try:
                command("ip", "link", "add", name, "type", "veth", "peer", "name", "uplink", "netns", str(self._pid))
            except HostError:
                if os.path.exists(f"/sys/class/net/{name}"):
                    continue  # somebody else's
                raise
            self._inside("ip", "link", "set", "uplink", "master", "bridge", "up")
            command("ip", "link", "set", name, "up")
            command("ip", "address", "add", f"10.78.{network}.1/24", "dev", name)
            return network
        raise HostError(f"{len(NETWORKS)} sets of hosts are at work already")


def hardware_address(number: int) -> str:
    """Return the hardware address of host `number`; 255 is nobody's."""
    return f"02:00:0a:4e:00:{number:02x}"
