"""A shard that does what a test tells it, and both handles behind one blocking face.

What lives here: `FakePeer` (a loopback server in threads, no sleeping: each thread waits in `recv`) and the fixtures
`peer` and `open_handle`. Every test that takes `open_handle` runs for Cache, AsyncCache on asyncio, and on uvloop.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import hiredis
import numpy as np
import pytest
import uvloop

from raycache.client import AsyncCache, Cache, ConnectionInfo
from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import ShardInfo, Topology

Script = Callable[[list[bytes]], bytes | None]

ARRIVED = threading.Condition()
"""Notified whenever a fake shard has got a command."""


class FakePeer:
    """Answers each command with what `script` returns; None = says nothing; `hang_up` inside it = closes."""

    def __init__(self) -> None:
        self.commands: list[list[bytes]] = []
        self.connections = 0
        self.script: Script = lambda argv: b"+OK\r\n"
        self.topology: bytes | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._sockets: list[socket.socket] = []
        self._closed = threading.Semaphore(0)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    class HangUp(Exception):
        """Raised by a script: send these bytes, then close."""

        def __init__(self, last: bytes = b"") -> None:
            super().__init__(last)
            self.last = last

    def named(self, name: bytes) -> list[list[bytes]]:
        """The commands called `name` so far."""
        return [argv for argv in self.commands if argv[0] == name]

    def close(self) -> None:
        """Refuse and break every connection."""
        for sock in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        reader = hiredis.Reader()
        has_fallen_silent = False  # a topology that nobody's script asked for must not answer something else
        try:
            while data := sock.recv(65536):
                reader.feed(data)
                while (argv := reader.gets()) is not False:
                    with ARRIVED:
                        self.commands.append(argv)
                        ARRIVED.notify_all()
                    reply = self._reply(argv)
                    has_fallen_silent |= reply is None
                    if reply is not None and not (has_fallen_silent and argv[0] == b"RC.TOPOLOGY"):
                        sock.sendall(reply)
        except FakePeer.HangUp as end:
            sock.sendall(end.last)
        except (OSError, hiredis.ProtocolError):
            pass
        finally:
            sock.close()
            self._closed.release()

    def wait_closed(self) -> None:
        """Wait until one connection that was served has been closed on this side."""
        assert self._closed.acquire(timeout=5)

    def _reply(self, argv: list[bytes]) -> bytes | None:
        if argv[0] == b"RC.TOPOLOGY":
            return b"$-1\r\n" if self.topology is None else b"$%d\r\n%b\r\n" % (len(self.topology), self.topology)
        return self.script(argv)


def topology_of(*peers: FakePeer, epoch: int = 1) -> Topology:
    """A topology in which `peers` share the slots in turn."""
    shards = tuple(
        ShardInfo(f"s{i}", *peer.address, node_id="n", machine="m", zone="", state="up", weight=1, incarnation=1)
        for i, peer in enumerate(peers)
    )
    return Topology("test", epoch, shards, (np.arange(SLOT_COUNT) % len(peers)).astype(np.int16).reshape(-1, 1))


def info_of(*peers: FakePeer, **changes: Any) -> ConnectionInfo:
    """What a handle needs to reach `peers`."""
    known: dict[str, Any] = {"seeds": tuple(peer.address for peer in peers), "topology": topology_of(*peers).to_bytes()}
    return ConnectionInfo("test", **(known | changes))


class Blocking:
    """An AsyncCache on a loop of its own thread, called as if it were a Cache."""

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop], *args: Any, **kwargs: Any) -> None:
        self._loop = new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.cache = AsyncCache(*args, **kwargs)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self.run(getattr(self.cache, name)(*args, **kwargs))

    def run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def use(self, token: Any) -> None:
        self.cache.use(token)

    def scan(self, *args: Any, **kwargs: Any) -> list[Any]:
        async def collect() -> list[Any]:
            return [key async for key in self.cache.scan(*args, **kwargs)]

        return self.run(collect())

    def shut_down(self) -> None:
        self.run(self.cache.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(params=["sync", "asyncio", "uvloop"])
def open_handle(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Opens handles with the arguments of `Cache`; closes them at the end."""
    opened: list[Callable[[], None]] = []

    def open_one(*args: Any, **kwargs: Any) -> Any:
        if request.param == "sync":
            cache = Cache(*args, **kwargs)
            opened.append(cache.close)
            return cache
        new_loop = asyncio.new_event_loop if request.param == "asyncio" else uvloop.new_event_loop
        blocking = Blocking(new_loop, *args, **kwargs)
        opened.append(blocking.shut_down)
        return blocking

    yield open_one
    for close in opened:
        close()


@pytest.fixture
def new_peer() -> Iterator[Callable[[], FakePeer]]:
    """Starts fake peers; stops them at the end."""
    peers: list[FakePeer] = []

    def start() -> FakePeer:
        peers.append(FakePeer())
        return peers[-1]

    yield start
    for peer in peers:
        peer.close()


@pytest.fixture
def peer(new_peer: Callable[[], FakePeer]) -> FakePeer:
    """One fake shard."""
    return new_peer()


@pytest.fixture
def info(peer: FakePeer) -> ConnectionInfo:
    """What a handle needs to reach `peer`, which owns every slot."""
    return info_of(peer)


@pytest.fixture
def describe() -> Callable[..., ConnectionInfo]:
    """`info_of`, for tests with several peers."""
    return info_of


@pytest.fixture
def topologies() -> Callable[..., Topology]:
    """`topology_of`, for tests that change it."""
    return topology_of


@pytest.fixture
def hang_up() -> type[Exception]:
    """What a script raises to close its connection."""
    return FakePeer.HangUp


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Waits until something holds that the commands that fake shards get decide."""

    def wait(what: Callable[[], object]) -> None:
        with ARRIVED:
            assert ARRIVED.wait_for(what, timeout=10)

    return wait
