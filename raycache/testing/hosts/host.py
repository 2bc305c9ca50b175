"""One host: a tree of processes with its own address, process numbers, /dev/shm, temporary folder and name.

What lives here: power, cable, running commands. What does not: the network (`switch`), Ray (`ray_nodes`).
The file system is shared with this machine but for `Host.tmp`, where each host sees a folder of its own: its disk,
which outlives a power-off as a disk does.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from raycache.testing.hosts.switch import HostError, Switch, hold

__all__ = ["Host", "HostError"]


class Host:
    """Made by `Hosts.add`, powered on. One thread at a time."""

    def __init__(self, switch: Switch, number: int, disk: Path, tmp: Path) -> None:
        self.number = number
        self.address = switch.address_of(number)
        self.disk = disk
        """What the host sees at `tmp`, as this machine sees it."""
        self.tmp = tmp
        """The same path in every host, with a folder of its own behind it."""
        self._switch = switch
        self._process: subprocess.Popen[str] | None = None
        self._pid = 0
        self._commands: list[subprocess.Popen[str]] = []
        self.power_on()

    @property
    def is_on(self) -> bool:
        """Whether it has power."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The id, on this machine, of the host's first process.

        Raises:
            HostError: the host is off.
        """
        if self._process is None:
            raise HostError(f"host {self.address} is off")
        return self._pid

    def power_on(self) -> None:
        """Start it with the disk it had and nothing running. Does nothing if it is on."""
        if self._process is not None:
            return
        namespaces = ["--net", "--pid", "--mount", "--uts", "--fork", "--mount-proc", "--kill-child=KILL"]
        self._process, self._pid = hold(namespaces, "host", str(self.disk), str(self.tmp))
        self._switch.plug_in(self.number, self._pid)

    def power_off(self) -> None:
        """Take its power: everything in it stops at once, and no connection is told. Does nothing if it is off."""
        if self._process is None:
            return
        # The link first: the kernel closes the sockets of what it kills, and the peers must not hear of that.
        self._switch.scrap(self.number)
        os.kill(self._pid, signal.SIGKILL)
        self._process.communicate()
        self._process = None
        for process in self._commands:
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        self._commands.clear()

    def cut_off(self) -> None:
        """Pull its cable: it runs on, alone."""
        self._switch.unplug(self.number)

    def heal(self) -> None:
        """Put the cable back in."""
        self._switch.replug(self.number)

    def block(self, other: Host) -> None:
        """Let nothing through between this host and `other`; both still reach everybody else."""
        self._switch.misdirect(self.pid, other.number)
        self._switch.misdirect(other.pid, self.number)

    def unblock(self, other: Host) -> None:
        """Undo `block`."""
        self._switch.direct(self.pid, other.number)
        self._switch.direct(other.pid, self.number)

    def run(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout_s: float = 120.0) -> str:
        """Run a command in it and return what it printed.

        Raises:
            HostError: it failed, with the end of what it said.
            subprocess.TimeoutExpired: it did not end in time, and goes on until the host is powered off.
        """
        done = subprocess.run(self._enter(argv, env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                              stderr=subprocess.STDOUT, check=False, timeout=timeout_s)
        if done.returncode:
            said = done.stdout[-2000:].strip()
            raise HostError(f"host {self.address}: {' '.join(argv)} ended with {done.returncode}: {said}")
        return done.stdout

    def popen(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdin: int | IO[Any] | None = None,
              stdout: int | IO[Any] | None = None, stderr: int | IO[Any] | None = None) -> subprocess.Popen[str]:
        """Start a command in it. Signals sent to what is returned reach only the way in: end it with `end`."""
        process = subprocess.Popen(self._enter(argv, env), stdin=stdin, stdout=stdout, stderr=stderr, text=True)
        self._commands.append(process)
        return process

    def end(self, process: subprocess.Popen[str], number: int = signal.SIGKILL) -> None:
        """Send a signal to the command behind `process`, and wait for its end if the signal was SIGKILL."""
        for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
            os.kill(int(child), number)
        if number == signal.SIGKILL:
            process.wait()

    def pids(self, program: str) -> list[int]:
        """Return the ids, on this machine, of its processes whose command line starts with or is `program`.

        A path counts by its last part: "raylet" finds /somewhere/raylet.
        """
        mine = os.readlink(f"/proc/{self.pid}/ns/pid")
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
                is_mine = os.readlink(folder / "ns/pid") == mine
            except OSError:
                continue  # it ended while we looked
            if is_mine and words[0].decode(errors="replace").rpartition("/")[2].startswith(program):
                found.append(int(folder.name))
        return found

    def _enter(self, argv: Sequence[str], env: Mapping[str, str] | None) -> list[str]:
        """Return the command line that runs `argv` in the host, in this process' folder and environment and `env`."""
        enter = ["nsenter", "-t", str(self.pid), "--net", "--pid", "--mount", "--uts", "--"]
        given = {"TMPDIR": str(self.tmp), "RAY_TMPDIR": str(self.tmp), **(env or {})}
        return [*enter, "env", f"--chdir={os.getcwd()}", *(f"{name}={value}" for name, value in given.items()), *argv]
