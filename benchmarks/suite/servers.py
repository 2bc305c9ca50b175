"""Servers that only the suite needs: memcached, and the echo of the raw loopback.

What lives here: starting them on free ports and stopping them. What does not: Redis (`benchmarks.harness.servers`).
"""

from __future__ import annotations

import getpass
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.harness.machine import ROOT
from benchmarks.harness.servers import HOST, ServerFailedError, free_port, stop, wait_until


@contextmanager
def memcached(memory_mib: int, most_item_mib: int = 1) -> Iterator[tuple[int, int]]:
    """Run a memcached with its defaults but for sizes; yield its port and process; stop it at the end.

    Args:
        memory_mib: for items (`-m`).
        most_item_mib: how large one item may be (`-I`), 1 by default.
    Raises:
        ServerFailedError: it ended, or did not answer within 15 s.
    """
    port = free_port()
    # Root has to say that it means it; anybody else is whom it runs as anyway.
    command = ["memcached", "-l", HOST, "-p", str(port), "-m", str(memory_mib), "-u", getpass.getuser()]
    with _listening(command + (["-I", f"{most_item_mib}m"] if most_item_mib > 1 else []), port) as pid:
        yield port, pid


@contextmanager
def echo() -> Iterator[tuple[int, int]]:
    """Run the echo in a process of its own; yield its port and process; stop it at the end.

    Raises:
        ServerFailedError: it ended, or did not answer within 15 s.
    """
    port = free_port()
    with _listening([sys.executable, "-m", "benchmarks.suite.echo", str(port)], port) as pid:
        yield port, pid


@contextmanager
def _listening(command: Sequence[str], port: int) -> Iterator[int]:
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    try:
        wait_until(f"{command[0]} on port {port}", lambda: _accepts(server, port))
        yield server.pid
    finally:
        stop(server)


def _accepts(server: subprocess.Popen[str], port: int) -> bool:
    if server.poll() is not None:
        raise ServerFailedError(f"{server.args!r} ended with {server.returncode}")
    try:
        socket.create_connection((HOST, port), 1).close()
    except OSError:
        return False
    return True
