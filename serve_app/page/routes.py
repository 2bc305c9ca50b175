"""The page over HTTP: its files, its feed, explanations of keys, and an operator's wishes.

What lives here: routes, headers, and the checks against other people's pages. What does not: tokens (`serve_app.auth`
hands in who may read and who may change things), what is shown (`feed`), asking (`poller`, `office`).

The files have no data in them, so anybody may have them. Everything else asks for the reader's token where there is
one, in a header that no other site's page can send, and nothing is kept in cookies: there is nothing to ride on.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from importlib.resources import files
from time import monotonic
from typing import Annotated, Any, Final, Protocol
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from raycache.client.aio import AsyncCache
from raycache.client.explain import record
from raycache.errors import CallerError
from serve_app.page.office import Office, RayOffice
from serve_app.page.poller import Poller, Seen

STREAM_S: Final = 50.0
"""How long one answer of the feed goes on. Then the page asks again: so a Serve replica that is to end is left."""
MAX_WATCHERS: Final = 200
"""Streams open at the same time in one Serve replica."""
_TYPES: Final = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8",
                 "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_PRIVATE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Dependency = Callable[..., Any]


class Handles(Protocol):
    """Where handles come from: `serve_app.clusters.Clusters`."""

    async def handle(self, name: str = "") -> AsyncCache:
        """Return the handle on a cluster; "" where only one runs, or one is the default."""

    async def names(self) -> list[str]:
        """Return the names of the clusters that run."""


class Strict(BaseModel):
    """A wish: nothing but what it may have."""

    model_config = ConfigDict(extra="forbid")


class Scale(Strict):
    """How many shards there should be."""

    shards: int = Field(ge=1, le=1000)


class Drain(Strict):
    """What should be empty, or, with `undo`, not any more."""

    target: str = Field(min_length=1, max_length=200)
    undo: bool = False


class Nothing(Strict):
    """A wish that needs no words."""


def nobody(request: Request) -> None:
    """Refuse: the dependency of an application that has no administrators."""
    raise HTTPException(403, "administration is off here")


def anybody() -> None:
    """Let pass: the dependency of an application that has no tokens."""


def own_page_only(request: Request) -> None:
    """Refuse what another site's page has sent. Browsers say where a request comes from; programs send neither header.

    Raises:
        HTTPException: 403 or 415.
    """
    origin = request.headers.get("origin")
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin" or (
            origin is not None and urlsplit(origin).netloc != request.headers.get("host")):
        raise HTTPException(403, "only the page of this very door may ask for changes")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "wishes are sent as application/json")


def page_router(clusters: Handles, *, reader: Dependency = anybody, admin: Dependency = nobody,
                office: Office | None = None) -> APIRouter:  # fmt: skip
    """Return the page's routes.

    Args:
        clusters: where handles come from.
        reader: a dependency that lets only those pass who may see the cluster that the query names.
        admin: the same for those who may change it.
        office: where the router's account comes from; None: Ray.
    """
    router = APIRouter(include_in_schema=False)
    _Page(clusters, office or RayOffice()).add_to(router, reader, admin)
    return router


class _Page:
    def __init__(self, clusters: Handles, office: Office) -> None:
        self._clusters = clusters
        self._office = office
        self._pollers: dict[str, Poller] = {}
        self._files = {one.name: one.read_bytes() for one in files("serve_app.page").joinpath("static").iterdir()
                       if one.is_file() and one.name.rpartition(".")[2] in _TYPES}

    def add_to(self, router: APIRouter, reader: Dependency, admin: Dependency) -> None:
        reading, changing = [Depends(reader)], [Depends(own_page_only), Depends(admin)]
        router.add_api_route("/", self.index, methods=["GET"])
        router.add_api_route("/page/static/{name}", self.static, methods=["GET"])
        router.add_api_route("/page/clusters", self.names, methods=["GET"], dependencies=reading)
        router.add_api_route("/page/feed", self.feed, methods=["GET"], dependencies=reading)
        router.add_api_route("/page/explain", self.explain, methods=["GET"], dependencies=reading)
        router.add_api_route("/page/admin/scale", self.scale, methods=["POST"], dependencies=changing)
        router.add_api_route("/page/admin/drain", self.drain, methods=["POST"], dependencies=changing)
        router.add_api_route("/page/admin/cancel", self.cancel, methods=["POST"], dependencies=changing)

    async def index(self) -> Response:
        """The page."""
        return self._file("index.html")

    async def static(self, name: str) -> Response:
        """One of its files."""
        return self._file(name)

    def _file(self, name: str) -> Response:
        data = self._files.get(name)
        if data is None:
            raise HTTPException(404, "the page has no such file")
        return Response(data, media_type=_TYPES[name.rpartition(".")[2]], headers=HEADERS)

    async def names(self, response: Response) -> dict[str, list[str]]:
        """The clusters that can be looked at."""
        response.headers.update(_PRIVATE)
        return {"clusters": sorted(await self._clusters.names())}

    async def feed(self, cluster: Annotated[str, Query(max_length=200)] = "") -> Response:
        """The feed: server-sent events, one each second, and the ring whenever it has changed."""
        handle = await self._clusters.handle(cluster)  # raises where there is none
        if sum(poller.watchers for poller in self._pollers.values()) >= MAX_WATCHERS:
            raise HTTPException(503, "too many pages are open here", {"Retry-After": "5"})
        name = handle.cluster
        poller = self._pollers.get(name)
        if poller is None:
            find: Callable[[], Awaitable[AsyncCache]] = lambda: self._clusters.handle(name)  # noqa: E731
            poller = self._pollers[name] = Poller(name, find, self._office)
        return StreamingResponse(_stream(poller), media_type="text/event-stream",
                                 headers={**_PRIVATE, "X-Accel-Buffering": "no"})

    async def explain(self, response: Response, cluster: Annotated[str, Query(max_length=200)] = "",
                      key: str | None = None, key64: str | None = None) -> dict[str, Any]:  # fmt: skip
        """Everything about one key, given as text or, whatever its bytes, as URL-safe base64."""
        response.headers.update(_PRIVATE)
        handle = await self._clusters.handle(cluster)
        try:
            return record(await handle.explain(_key(key, key64)))
        except CallerError as error:
            raise HTTPException(422, str(error)) from None

    async def scale(self, wish: Scale, cluster: Annotated[str, Query(max_length=200)] = "") -> dict[str, str]:
        """Want another number of shards."""
        return await self._wish(cluster, lambda name: self._office.scale(name, wish.shards))

    async def drain(self, wish: Drain, cluster: Annotated[str, Query(max_length=200)] = "") -> dict[str, str]:
        """Want a shard or node to be empty."""
        return await self._wish(cluster, lambda name: self._office.drain(name, wish.target, undo=wish.undo))

    async def cancel(self, wish: Nothing, cluster: Annotated[str, Query(max_length=200)] = "") -> dict[str, str]:
        """Want back what was before the change under way."""
        return await self._wish(cluster, self._office.cancel)

    async def _wish(self, cluster: str, wish: Callable[[str], None]) -> dict[str, str]:
        handle = await self._clusters.handle(cluster)
        try:
            await asyncio.to_thread(wish, handle.cluster)
        except ValueError as error:
            raise HTTPException(409, str(error)) from None
        return {"cluster": handle.cluster, "state": "begun"}


async def _stream(poller: Poller) -> AsyncIterator[bytes]:
    """Yield the feed's bytes: each tick, and before it the ring where the watcher has not had that epoch."""
    end_s, epoch = monotonic() + STREAM_S, -1
    watched: AsyncIterator[Seen] = poller.watch()
    async with aclosing(watched):  # type: ignore[type-var]
        async for seen in watched:
            if seen.ring and seen.epoch != epoch:
                epoch = seen.epoch
                yield seen.ring
            yield seen.tick
            if monotonic() >= end_s:
                return


def _key(key: str | None, key64: str | None) -> bytes:
    if (key is None) == (key64 is None):
        raise HTTPException(422, "a key is given as `key` or as `key64`")
    if key64 is None:
        assert key is not None
        return key.encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(key64.encode("ascii", "replace"), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise HTTPException(422, "key64 is no URL-safe base64") from None
