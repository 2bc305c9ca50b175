"""The HTTP door on a real socket, in front of a cluster in this process: everything but Ray Serve."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import uvicorn

from raycache.client.aio import AsyncCache
from raycache.errors import ClusterNotFoundError
from raycache.testing.local import LocalCluster
from serve_app.app import build_application
from serve_app.clusters import Clusters
from serve_app.door import Door
from serve_app.settings import HttpSettings


def clusters_of(cluster: LocalCluster, settings: HttpSettings) -> Clusters:
    """Return a finder that knows one cluster, "local"."""

    async def connect(name: str, *, timeout_s: float, user: str | None = None,
                      password: str | None = None) -> AsyncCache:
        if name != "local":
            raise ClusterNotFoundError(f"no cluster {name!r} in this Ray (these run: local)")
        info = cluster.info if user is None else replace(cluster.info, user=user, secret=password)
        return AsyncCache(info, timeout_s=timeout_s, refresh_info=lambda: info if user else cluster.info)

    return Clusters(connect, lambda: ["local"], default=settings.cluster, timeout_s=settings.deadline_s)


class RunningDoor:
    """Where it listens, what it knows, and the loop that all of it belongs to."""

    def __init__(self, url: str, door: Door, loop: asyncio.AbstractEventLoop) -> None:
        self.url = url
        self.door = door
        self.loop = loop


@contextmanager
def http_door(cluster: LocalCluster, settings: HttpSettings | None = None,
              clusters: Clusters | None = None) -> Iterator[RunningDoor]:
    """Run the door until the block ends."""
    settings = settings or HttpSettings()
    application = build_application(settings, clusters or clusters_of(cluster, settings))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_config=None, access_log=False, lifespan="on",
                                           timeout_graceful_shutdown=5))
    has_started = threading.Event()
    loops: list[asyncio.AbstractEventLoop] = []
    server.config.callback_notify = None
    startup = server.startup

    async def starting(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets)
        loops.append(asyncio.get_running_loop())
        has_started.set()

    server.startup = starting  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), name="http-door")
    thread.start()
    try:
        assert has_started.wait(20), "the door did not start"
        host, port = listening.getsockname()
        yield RunningDoor(f"http://{host}:{port}", application.state.door, loops[0])
    finally:
        server.should_exit = True
        thread.join(20)
        listening.close()
