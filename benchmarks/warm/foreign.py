"""How much of the processor went to programs that are not part of this run, as Linux counts it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.processes import descendants

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def busy_s() -> float:
    """Return the seconds that all cores together have been busy since the machine started; stolen time counts."""
    user, nice, system, _idle, _iowait, irq, softirq, steal, *_ = map(
        int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


def own_s(pid: int) -> float:
    """Return the seconds of processor time of a process, of all below it, and of those of them that have ended."""
    ticks = 0
    for each in (pid, *descendants(pid)):
        try:
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended: its parent has its time
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_S


@dataclass(slots=True)
class Foreign:
    """The outcome of a watch."""

    cores: float = 0.0
    """Cores that were busy with something else, on average."""


@contextmanager
def watched() -> Iterator[Foreign]:
    """Watch over the block; the outcome stands when it is left."""
    foreign, pid = Foreign(), os.getpid()
    began_s, busy, own = time.monotonic(), busy_s(), own_s(pid)
    try:
        yield foreign
    finally:
        passed_s = time.monotonic() - began_s
        foreign.cores = max(0.0, (busy_s() - busy - (own_s(pid) - own)) / passed_s)
