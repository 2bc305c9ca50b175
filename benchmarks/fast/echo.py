"""The physical limit of one request and one reply over loopback TCP: who has something to say says it at once.

What lives here: the echo server (`python -m benchmarks.fast.echo BYTES`) in a process of its own, a blocking loop that
answers whatever comes with so many bytes and does nothing else; and the client's side of it. What does not: what it is
compared with (`handle`).
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks.harness.machine import ROOT
from benchmarks.harness.servers import HOST, ServerFailedError, stop

BUFFER_BYTES: Final = 64 * 1024


def serve(reply: bytes) -> None:
    """Answer one client until it goes."""
    with socket.create_server((HOST, 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with client:
        while client.recv(BUFFER_BYTES):
            client.send(reply)


@contextmanager
def connection(reply_bytes: int) -> Iterator[socket.socket]:
    """Start an echo server, and yield a blocking connection to it.

    Raises:
        ServerFailedError: it did not start.
    """
    command = [sys.executable, "-m", "benchmarks.fast.echo", str(reply_bytes)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line.strip():
            raise ServerFailedError("the echo server did not start")
        with socket.create_connection((HOST, int(line)), 5) as client:
            client.settimeout(None)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield client
    finally:
        stop(server)


if __name__ == "__main__":
    serve(b"x" * int(sys.argv[1]))
