"""The page on a real server, before a real cluster without Ray: what the tests of the page open in a browser."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import uvicorn
from fastapi import FastAPI

from raycache.client import AsyncCache
from raycache.errors import ClusterNotFoundError
from raycache.testing.local import LocalCluster, listening_socket
from serve_app.app import build_application
from serve_app.clusters import Clusters
from serve_app.page import routes
from serve_app.settings import HttpSettings, Token, digest_of

READER, ADMIN = "a reader's token for tests", "an admin's secret for tests"


class LocalOffice:
    """The router of a LocalCluster."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self.wishes: list[tuple[Any, ...]] = []

    def describe(self, name: str) -> Mapping[str, Any]:
        return self._cluster.describe()

    def scale(self, name: str, shards: int) -> None:
        self.wishes.append(("scale", name, shards))
        self._cluster.wish(lambda core: core.scale(shards))

    def drain(self, name: str, target: str, *, undo: bool) -> None:
        self.wishes.append(("drain", name, target, undo))
        self._cluster.wish(lambda core: core.undrain(target) if undo else core.drain(target))

    def cancel(self, name: str) -> None:
        self.wishes.append(("cancel", name))
        self._cluster.wish(lambda core: core.cancel())


@dataclass(frozen=True)
class Site:
    """One page that is served."""

    url: str
    office: LocalOffice
    application: FastAPI


@contextmanager
def served(cluster: LocalCluster, *, with_token: bool = False) -> Iterator[Site]:
    """Serve the page on a free port of loopback."""

    async def connect(name: str, *, timeout_s: float) -> AsyncCache:
        if name != cluster.config.name:
            raise ClusterNotFoundError(f"no cluster {name!r} runs")
        return AsyncCache(cluster.info, timeout_s=timeout_s)

    office = LocalOffice(cluster)
    tokens = (Token("operator", digest_of(READER), "reader"),) if with_token else ()
    with patch.object(routes, "RayOffice", lambda: office):
        application = build_application(HttpSettings.from_mapping({"tokens": tokens, "admin_secret": ADMIN}),
                                        Clusters(connect, lambda: [cluster.config.name], timeout_s=5.0))
    sock = listening_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=1))
    loop = asyncio.new_event_loop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve(sockets=[sock])), name="page-server",
                              daemon=True)
    thread.start()
    try:
        yield Site(f"http://127.0.0.1:{sock.getsockname()[1]}/", office, application)
    finally:
        server.should_exit = True
        thread.join(10)
        loop.close()
        sock.close()


