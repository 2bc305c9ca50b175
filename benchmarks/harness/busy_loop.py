"""The control of a pause: what the machine does to a program that only looks at the clock.

What lives here: the loop, and running it in a process of its own (`python -m benchmarks.harness.busy_loop SECONDS`),
because threads of the benchmark would take the interpreter from it. What does not: what its gaps are compared with.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.harness.machine import ROOT


def largest_gap_s(duration_s: float, clock: Callable[[], float] = time.perf_counter) -> float:
    """Look at `clock` without a break for `duration_s`; return the longest time between two looks, in seconds."""
    largest_s = 0.0
    last_s = clock()
    end_s = last_s + duration_s
    while last_s < end_s:
        now_s = clock()
        if now_s - last_s > largest_s:
            largest_s = now_s - last_s
        last_s = now_s
    return largest_s


def largest_gap_ms(duration_s: float) -> float:
    """Return the same in milliseconds, from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.harness.busy_loop", str(duration_s)]
    return float(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout) * 1000


if __name__ == "__main__":
    print(largest_gap_s(float(sys.argv[1])))
