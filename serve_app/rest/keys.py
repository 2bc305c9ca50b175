"""One key as a resource: GET, HEAD, PUT and DELETE of `/v1/{cluster}/keys/{key}`.

What lives here: the routes. What does not: what headers mean (`lifetimes.py`, `conditions.py`), what values look like
(`representation.py`); both are pure.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from raycache.client import aio_stored
from raycache.client.aio import AsyncCache
from raycache.client.stored import Stored, Written
from raycache.codec import DESCRIBED, encode
from raycache.codec.described import description
from serve_app.asked import Asked
from serve_app.auth import admitted
from serve_app.bodies import PIECE_BYTES, Answer, Body, Pieces, read_body
from serve_app.door import Door
from serve_app.problems import Refused, refuse
from serve_app.rest import documented
from serve_app.rest.conditions import UNCONDITIONAL, Conditions, etag
from serve_app.rest.direct import KeyRoute
from serve_app.rest.lifetimes import headers_of, seconds_of
from serve_app.rest.paths import cluster_of, key_of
from serve_app.rest.representation import OCTETS, Representation, is_loaded, represent
from serve_app.settings import Role

router = APIRouter(route_class=KeyRoute, tags=["keys"])

PATH: Final = "/v1/{cluster}/keys/{key:key}"
RACES: Final = 8
"""How often a write that had to look at the version first is tried again when somebody else was quicker."""

# A value may be any type, a page included, and comes from whoever may write: it must not run as a page of this origin.
_SAFE: Final = [(b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"sandbox; default-src 'none'")]
_PARAMETERS: Final[list[Any]] = [documented.CLUSTER, documented.KEY, documented.PREFER]


def now_ms() -> int:
    """Return the time, unix milliseconds."""
    return time.time_ns() // 1_000_000


async def _cache(asked: Asked, role: Role) -> AsyncCache:
    """Return the handle that a caller who has `role` may use.

    Raises:
        Refused: 401 or 403.
    """
    door = asked.door
    caller = await admitted(door, asked.scope, asked.header(b"authorization"), role, asked.cluster)
    name, clusters = cluster_of(asked.scope["path_params"]), door.clusters_of(caller)
    return clusters.known(name) or await clusters.handle(name)


def _conditions(asked: Asked) -> Conditions:
    match, none_match = asked.header(b"if-match"), asked.header(b"if-none-match")
    return UNCONDITIONAL if match is None and none_match is None else Conditions.of(match, none_match)


def _absent() -> Refused:
    return refuse(404, "key-absent", "there is no such key, or its time to live is over")


def _failed() -> Refused:
    return refuse(412, "precondition-failed",
                  "the key is not as If-Match and If-None-Match demand; nothing has changed")


async def _read(cache: AsyncCache, key: bytes, conditions: Conditions, accept: str | None
                ) -> tuple[Stored, Representation | None]:
    """Return what is stored, and what it looks like unless the caller has it already.

    Raises:
        Refused: 404 or 412.
    """
    found = await aio_stored.read(cache, key, conditions.known_version)
    status = conditions.reading(found.version if found is not None else 0)
    if status == 412:
        raise _failed()
    if found is None:
        raise _absent()
    if status == 304:
        return found, None
    assert found.payload is not None
    if is_loaded(found.payload):  # only the handle can tell whether such a value still counts
        value = await cache.get_with_version(key)
        if value is None:
            raise _absent()
        kind, data = encode(value.value)
        return Stored(value.version, b"", found.left_ms), represent(bytes([kind]) + data, accept)
    return found, represent(found.payload, accept)


async def _write(cache: AsyncCache, key: bytes, data: Body, ttl_s: int | None, conditions: Conditions) -> Written:
    """Store what HTTP has described.

    Raises:
        Refused: 412, the conditions do not hold.
    """
    condition = conditions.at_once
    if condition is not None:
        written = await aio_stored.write(cache, key, DESCRIBED, data, ttl_s, condition)
        if written is None:
            raise _failed()
        return written
    for _ in range(RACES):
        found = await aio_stored.read(cache, key, 0)
        condition = conditions.writing(found.version if found is not None else 0)
        if condition is None:
            raise _failed()
        written = await aio_stored.write(cache, key, DESCRIBED, data, ttl_s, condition)
        if written is not None:
            return written
    raise refuse(503, "unavailable", f"somebody else has written the key {RACES} times meanwhile", {"Retry-After": "1"})


def _answer(found: Stored, shown: Representation | None, door: Door, *, with_body: bool) -> Answer:
    headers = [(b"etag", etag(found.version)), *_SAFE]
    headers += headers_of(found.left_ms, shown.written_ms if shown is not None else None, now_ms())
    if shown is None:
        return Answer(304, headers)
    headers.append((b"content-type", shown.media_type.encode("latin-1")))
    headers.append((b"content-length", b"%d" % len(shown.body)))
    if shown.coding:
        headers.append((b"content-encoding", shown.coding.encode("latin-1")))
    if with_body and len(shown.body) > PIECE_BYTES:
        return Pieces(headers, shown.body, door.admission)
    return Answer(200, headers, bytes(shown.body) if with_body else b"")


async def answer_get(asked: Asked, *, with_body: bool = True) -> Response:
    """Answer GET. HOT: most requests of a door are these.

    Raises:
        Refused, RayCacheError: the problem that the caller is to be told of; so do those below.
    """
    cache = await _cache(asked, "reader")
    found, shown = await _read(cache, key_of(asked.scope), _conditions(asked), asked.header(b"accept"))
    return _answer(found, shown, asked.door, with_body=with_body)


async def answer_head(asked: Asked) -> Response:
    """Answer HEAD."""
    return await answer_get(asked, with_body=False)


async def answer_put(asked: Asked) -> Response:
    """Answer PUT."""
    cache = await _cache(asked, "writer")
    key, conditions = key_of(asked.scope), _conditions(asked)
    ttl_s = seconds_of(asked.header(b"cache-control"))
    media_type, coding = asked.header(b"content-type") or OCTETS, asked.header(b"content-encoding") or ""
    async with read_body(Request(asked.scope, asked.receive)) as body:
        try:
            body += description(media_type, coding, now_ms())  # of a large one in its place: nobody else has it
        except ValueError as error:
            raise refuse(422, "invalid", f"Content-Type or Content-Encoding: {error}") from None
        written = await _write(cache, key, body, ttl_s, conditions)
    headers = [(b"etag", etag(written.version))]
    return Answer(201, [*headers, (b"content-length", b"0")]) if written.created else Answer(204, headers)


async def answer_delete(asked: Asked) -> Response:
    """Answer DELETE."""
    cache = await _cache(asked, "writer")
    key, match = key_of(asked.scope), Conditions.of(asked.header(b"if-match"), None).match
    if match is None or isinstance(match, str):
        if not await cache.delete(key):
            raise _absent() if match is None else _failed()
        return Answer(204, [])
    for version in sorted(match):  # a key is at one version: at most one of these deletes it
        if await aio_stored.delete_at(cache, key, version):
            return Answer(204, [])
    raise _failed()


ANSWERS: Final[Mapping[str, Callable[[Asked], Awaitable[Response]]]] = {
    "GET": answer_get, "HEAD": answer_head, "PUT": answer_put, "DELETE": answer_delete}
"""What answers a request about a key, by its method: behind a route of the framework, and without one (`short.py`)."""


@router.get(PATH, summary="Read a value", response_class=Response, openapi_extra={
    "parameters": [*_PARAMETERS, documented.IF_MATCH, documented.IF_NONE_MATCH, documented.ACCEPT]},
    responses={200: {"description": "The value.", "content": documented.BINARY, "headers": documented.VALUE_HEADERS},
               304: {"description": "It is at the version of If-None-Match.", "headers": documented.ETAG_HEADER},
               **documented.errors(409, 412, 414)})
async def get_key(request: Request) -> Response:
    """Return the value of a key as it was written, with its media type, version, age and what is left to live."""
    return await answer_get(Asked.of(request))


@router.head(PATH, summary="Look at a key", response_class=Response, openapi_extra={
    "parameters": [*_PARAMETERS, documented.IF_MATCH, documented.IF_NONE_MATCH]},
    responses={200: {"description": "It is there.", "headers": documented.VALUE_HEADERS},
               304: {"description": "It is at the version of If-None-Match."}, **documented.errors(409, 412, 414)})
async def head_key(request: Request) -> Response:
    """Return the headers that GET would, and no body."""
    return await answer_head(Asked.of(request))


@router.put(PATH, summary="Store a value", response_class=Response, status_code=204, openapi_extra={
    "parameters": [*_PARAMETERS, documented.IF_MATCH, documented.IF_NONE_MATCH, documented.CACHE_CONTROL],
    "requestBody": {"required": False, "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}}},
    responses={201: {"description": "Stored; the key was absent.", "headers": documented.ETAG_HEADER},
               204: {"description": "Stored over what was there.", "headers": documented.ETAG_HEADER},
               **documented.errors(400, 409, 412, 413, 414, 507)})
async def put_key(request: Request) -> Response:
    """Store the body, with its media type and content coding, under a key.

    Without Cache-Control it never expires, whatever was there before. The ETag of the answer is the new version.
    """
    return await answer_put(Asked.of(request))


@router.delete(PATH, summary="Remove a key", response_class=Response, status_code=204, openapi_extra={
    "parameters": [*_PARAMETERS, documented.IF_MATCH]},
    responses={204: {"description": "It was there, and is no more."}, **documented.errors(409, 412, 414)})
async def delete_key(request: Request) -> Response:
    """Remove a key; with If-Match only if it is at one of those versions."""
    return await answer_delete(Asked.of(request))
