"""A real Redis 7 beside the shard core: started on a free port of the loopback, stopped afterwards."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import hiredis
import pytest

from tests.support import require_program, wait_until


class RedisPeer:
    """One connection to the real Redis, which keeps each reply's bytes: their types are compared too."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._reader = hiredis.Reader(notEnoughData=...)

    def raw(self, *argv: bytes) -> bytes:
        """Send one command; return its reply's bytes."""
        self._socket.sendall(b"*%d\r\n" % len(argv) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in argv]))
        received = b""
        while True:
            chunk = self._socket.recv(1 << 16)
            assert chunk, f"Redis closed the connection after {argv!r}"
            received += chunk
            self._reader.feed(chunk)
            if self._reader.gets() is not ...:
                return received

    def close(self) -> None:
        self._socket.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    try:
        peer = RedisPeer(port)
    except OSError:
        return False
    peer.close()
    return True


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Redis 7 that runs while the tests do."""
    program = require_program("redis-server", "redis-server")
    port, directory = _free_port(), tmp_path_factory.mktemp("redis")
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--databases", "1",
         "--dir", str(directory), "--logfile", str(Path(directory) / "log")],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _answers(port), message="redis-server did not start")
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def peers(redis_port: int) -> Iterator[list[RedisPeer]]:
    """Two connections to it, as two clients."""
    connections = [RedisPeer(redis_port), RedisPeer(redis_port)]
    yield connections
    for connection in connections:
        connection.close()
