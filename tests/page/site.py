"""The page on a real server, before a real cluster without Ray: what the tests of the page open in a browser."""

from __future__ import annotations

import asyncio
import hmac
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request

from raycache.client import AsyncCache
from raycache.testing.local import LocalCluster, listening_socket
from serve_app.page import page_router

READER, ADMIN = "reader's token", "admin's secret"


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


class LocalHandles:
    """The handles of the door's loop on one cluster."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self._handle: AsyncCache | None = None

    async def handle(self, name: str = "") -> AsyncCache:
        if name not in ("", "local"):
            raise HTTPException(404, f"no cluster {name!r} runs")
        if self._handle is None:
            self._handle = AsyncCache(self._cluster.info, timeout_s=5.0)
        return self._handle

    async def names(self) -> list[str]:
        return ["local"]

    async def close(self) -> None:
        if self._handle is not None:
            await self._handle.close()


def _demand(token: str, request: Request) -> None:
    shown = request.headers.get("authorization", "")
    if not hmac.compare_digest(shown.encode(), f"Bearer {token}".encode()):
        raise HTTPException(401, "no such token is known" if shown else "send a token")


def admin(request: Request) -> None:
    _demand(ADMIN, request)


def reader(request: Request) -> None:
    _demand(READER, request)


@dataclass(frozen=True)
class Site:
    """One page that is served."""

    url: str
    office: LocalOffice
    application: FastAPI


@contextmanager
def served(cluster: LocalCluster, *, with_token: bool = False) -> Iterator[Site]:
    """Serve the page on a free port of loopback."""
    office, handles, application = LocalOffice(cluster), LocalHandles(cluster), FastAPI()
    more: dict[str, Any] = {"reader": reader} if with_token else {}
    application.include_router(page_router(handles, admin=admin, office=office, **more))
    sock = listening_socket("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=1))
    loop = asyncio.new_event_loop()

    async def run() -> None:
        await server.serve(sockets=[sock])
        await handles.close()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="page-server", daemon=True)
    thread.start()
    try:
        yield Site(f"http://127.0.0.1:{sock.getsockname()[1]}/", office, application)
    finally:
        server.should_exit = True
        thread.join(10)
        loop.close()
        sock.close()


