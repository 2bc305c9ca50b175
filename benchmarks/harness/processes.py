"""Which process is it? Children of a process, and who of them listens on a port, in whatever namespace. Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"  # TCP_LISTEN in /proc/net/tcp


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below `pid`."""
    below: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended while we looked
        below.setdefault(parent, []).append(int(folder.name))
    found = list(below.get(pid, []))
    for child in found:
        found += below.get(child, [])
    return found


def title(pid: int) -> str:
    """Return the first word of a process' command line, "" if it has ended: Ray's actors show their class."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
    except OSError:
        return ""


def listener(pids: Iterable[int], port: int) -> int:
    """Return which of `pids` listens on TCP `port` in its own network namespace.

    Raises:
        LookupError: none does.
    """
    for pid in pids:
        try:
            rows = (line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:])
            links = {f"socket:[{row[9]}]" for row in rows
                     if row[3] == _LISTEN and int(row[1].partition(":")[2], 16) == port}
            if any(os.readlink(handle) in links for handle in Path(f"/proc/{pid}/fd").iterdir()):
                return pid
        except OSError:
            continue  # it ended while we looked
    raise LookupError(f"none of these processes listens on port {port}")
