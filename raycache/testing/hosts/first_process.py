"""The first process (PID 1) of a host, or of the switch between hosts. Run as a program, by its path.

It mounts what the host does not share with others, says that it is ready, collects processes that nobody else
collects (Ray takes a dead raylet that was not collected for a living one), and ends when its standard input does: so
when whoever made the host ends, however suddenly, the host ends, and the kernel takes everything that was in it.

Usage: first_process.py host DISK SHARED    mount the folder DISK on SHARED, and a /dev/shm of the host's own
       first_process.py switch FOLDER       at the end, clear away the folder with all the disks
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time

SHM_BYTES = 1 << 30
CLEAR_TIMEOUT_S = 5.0


def main() -> None:
    role, *folders = sys.argv[1:]
    if role == "host":
        subprocess.run(["mount", "--bind", *folders], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SHM_BYTES}", "tmpfs", "/dev/shm"], check=True)
    wait_for_end_of_input()
    if role == "switch":
        clear_away(folders[0])


def wait_for_end_of_input() -> None:
    """Collect processes until whoever made this one has ended or says so."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C is for whoever made the host, and comes here with it
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([0, reading], [], [])
        if 0 in ready and not os.read(0, 1):
            return
        if reading in ready:
            os.read(reading, 4096)
            collect()


def collect() -> None:
    """Take the exit statuses of all processes that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def clear_away(folder: str) -> None:
    """Remove `folder`; the hosts end at the same moment and may write into it a little longer."""
    end_s = time.monotonic() + CLEAR_TIMEOUT_S
    while os.path.exists(folder) and time.monotonic() < end_s:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.01)


if __name__ == "__main__":
    main()
