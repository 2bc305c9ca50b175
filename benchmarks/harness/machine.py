"""What the numbers were measured on: hardware, versions, commit, and how idle the machine was.

What lives here: facts read from the system, once per run, and `busy_cores`. Linux only (/proc).
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("raycache", "ray", "uvloop", "hiredis", "redis", "numpy", "msgpack", "pymemcache")
_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp
ROOT = Path(__file__).resolve().parents[2]


def describe() -> dict[str, Any]:
    """Return hardware, kernel, versions, commit and load average as plain JSON values."""
    return {
        "cpu": _field("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _field("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES} | _server_versions(),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--", "raycache", "benchmarks")),
        "load_average": list(os.getloadavg()),
    }


def lines(facts: dict[str, Any]) -> list[str]:
    """Return `describe()` as the few lines printed above a run."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    changed = " with uncommitted changes" if facts["uncommitted_changes"] else ""
    load = " ".join(f"{value:.2f}" for value in facts["load_average"])
    return [
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory']}, Linux {facts['kernel']}, load average {load}",
        f"Python {facts['python']}; {versions}; commit {facts['commit']}{changed}",
    ]


def busy_cores(sample_s: float = 0.5) -> float:
    """Return how many cores are at work just now, over `sample_s` seconds: what a load average learns a minute late."""
    before = _ticks()
    time.sleep(sample_s)
    return busy_between(before, _ticks(), os.cpu_count() or 1)


def busy_between(before: Sequence[int], after: Sequence[int], cores: int) -> float:
    """Return how many of `cores` were at work between two readings of the ticks of /proc/stat."""
    total = sum(after) - sum(before)
    idle = sum(after[3:5]) - sum(before[3:5])
    return (1 - idle / total) * cores if total else 0.0


def steal_ticks() -> list[int]:
    """Return the clock ticks that a hypervisor has taken so far: of all cores together, then of each; 0 without one."""
    return steal_ticks_in(Path("/proc/stat").read_text())


def steal_ticks_in(stat: str) -> list[int]:
    """Return the same from the text of /proc/stat."""
    return [int(line.split()[8]) for line in stat.splitlines() if line.startswith("cpu")]


def stolen_ms(before: Sequence[int], after: Sequence[int]) -> float:
    """Return the milliseconds that the hypervisor took between two readings of `steal_ticks`.

    Linux counts nanoseconds and shows whole ticks (10 ms as a rule), cut off for the total and for each core apart. So
    either may see what the other does not, and what is shorter than a tick may go unseen.
    """
    grown = [late - early for early, late in zip(before, after, strict=True)]
    return max(grown[0], sum(grown[1:])) * 1000 / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return the resident memory (VmRSS) of process `pid`."""
    return int(_field(f"/proc/{pid}/status", "VmRSS").split()[0]) * 1024


def listening_pid(port: int) -> int:
    """Return the process that listens on the loopback TCP `port`, as Linux says it.

    Raises:
        LookupError: none does, or it belongs to another user.
    """
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    inodes = {row[9] for row in rows if row[3] == _LISTEN and int(row[1].partition(":")[2], 16) == port}
    links = {f"socket:[{inode}]" for inode in inodes}
    for handle in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(handle) in links:
                return int(handle.parts[2])
        except OSError:
            continue  # it ended, or is not ours, while we looked
    raise LookupError(f"nobody we may look at listens on port {port}")


def _ticks() -> list[int]:
    """Clock ticks of all cores: user, nice, system, idle, iowait, irq, softirq, steal."""
    return [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]


def _field(path: str, name: str) -> str:
    found = re.search(rf"^{name}\s*:\s*(.*)$", Path(path).read_text(), re.MULTILINE)
    return found[1].strip() if found else "unknown"


def _server_versions() -> dict[str, str]:
    """Return the versions of the servers that we are compared with, of those that are installed."""
    found = {name: _printed([name, "--version"]) for name in ("redis-server", "memcached") if shutil.which(name)}
    return {name: number[0] for name, text in found.items() if (number := re.search(r"\d+(?:\.\d+)+", text))}


def _printed(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _git(*arguments: str) -> str:
    """Output of one git command; empty where this is no clone."""
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    ).stdout.strip()
