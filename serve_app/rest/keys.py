"""One key as a resource: GET, HEAD, PUT and DELETE of `/v1/{cluster}/keys/{key}`.

What lives here: the routes. What does not: what headers mean (`lifetimes.py`, `conditions.py`), what values look like
(`representation.py`); both are pure.
"""

from __future__ import annotations

import time
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from raycache.client import aio_stored
from raycache.client.aio import AsyncCache
from raycache.client.stored import Stored, Written
from raycache.codec import DESCRIBED, encode
from raycache.codec.described import describe
from serve_app.auth import authorize
from serve_app.bodies import PIECE_BYTES, BytesResponse, read_body
from serve_app.door import Door, door_of
from serve_app.problems import Refused, refuse
from serve_app.rest import documented
from serve_app.rest.conditions import Conditions, etag
from serve_app.rest.direct import DirectRoute
from serve_app.rest.lifetimes import headers_of, seconds_of
from serve_app.rest.paths import cluster_of, key_of
from serve_app.rest.representation import OCTETS, Representation, is_loaded, represent
from serve_app.settings import Role

router = APIRouter(route_class=DirectRoute, tags=["keys"])

PATH: Final = "/v1/{cluster}/keys/{key:path}"
RACES: Final = 8
"""How often a write that had to look at the version first is tried again when somebody else was quicker."""

# A value may be any type, a page included, and comes from whoever may write: it must not run as a page of this origin.
_SAFE: Final = [(b"x-content-type-options", b"nosniff"), (b"content-security-policy", b"sandbox; default-src 'none'")]
_PARAMETERS: Final[list[Any]] = [documented.CLUSTER, documented.KEY, documented.PREFER]


def now_ms() -> int:
    """Return the time, unix milliseconds."""
    return time.time_ns() // 1_000_000


async def _cache(request: Request, role: Role) -> tuple[Door, AsyncCache]:
    """Return the handle that a caller who has `role` may use.

    Raises:
        Refused: 401 or 403.
    """
    caller = await authorize(request, role)
    door, name = door_of(request), cluster_of(request.path_params)
    clusters = door.clusters_of(caller)
    return door, clusters.known(name) or await clusters.handle(name)


def _conditions(request: Request) -> Conditions:
    headers = request.headers
    return Conditions.of(headers.get("if-match"), headers.get("if-none-match"))


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


def _response(found: Stored, shown: Representation | None, door: Door, *, with_body: bool) -> Response:
    headers = [(b"etag", etag(found.version)), *_SAFE]
    headers += headers_of(found.left_ms, shown.written_ms if shown is not None else None, now_ms())
    if shown is None:
        response = Response(None, 304)
        response.raw_headers = headers
        return response
    headers += [(b"content-type", shown.media_type.encode("latin-1")), (b"content-length", b"%d" % len(shown.body))]
    if shown.coding:
        headers.append((b"content-encoding", shown.coding.encode("latin-1")))
    if with_body and len(shown.body) > PIECE_BYTES:
        return BytesResponse(shown.body, headers, door.admission)
    response = Response(shown.body if with_body else None)
    response.raw_headers = headers
    return response


@router.get(PATH, summary="Read a value", response_class=Response, openapi_extra={
    "parameters": [*_PARAMETERS, documented.IF_MATCH, documented.IF_NONE_MATCH, documented.ACCEPT]},
    responses={200: {"description": "The value.", "content": documented.BINARY, "headers": documented.VALUE_HEADERS},
               304: {"description": "It is at the version of If-None-Match.", "headers": documented.ETAG_HEADER},
               **documented.errors(409, 412, 414)})
async def get_key(request: Request) -> Response:
    """Return the value of a key as it was written, with its media type, version, age and what is left to live."""
    door, cache = await _cache(request, "reader")
    found, shown = await _read(cache, key_of(request.scope), _conditions(request), request.headers.get("accept"))
    return _response(found, shown, door, with_body=True)


@router.head(PATH, summary="Look at a key", response_class=Response, openapi_extra={
    "parameters": [*_PARAMETERS, documented.IF_MATCH, documented.IF_NONE_MATCH]},
    responses={200: {"description": "It is there.", "headers": documented.VALUE_HEADERS},
               304: {"description": "It is at the version of If-None-Match."}, **documented.errors(409, 412, 414)})
async def head_key(request: Request) -> Response:
    """Return the headers that GET would, and no body."""
    door, cache = await _cache(request, "reader")
    found, shown = await _read(cache, key_of(request.scope), _conditions(request), request.headers.get("accept"))
    return _response(found, shown, door, with_body=False)


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
    _, cache = await _cache(request, "writer")
    key, conditions = key_of(request.scope), _conditions(request)
    ttl_s = seconds_of(request.headers.get("cache-control"))
    media_type = request.headers.get("content-type") or OCTETS
    coding = request.headers.get("content-encoding", "")
    async with read_body(request) as body:
        try:
            data = describe(body, media_type, coding, now_ms())
        except ValueError as error:
            raise refuse(422, "invalid", f"Content-Type or Content-Encoding: {error}") from None
        written = await _write(cache, key, data, ttl_s, conditions)
    return Response(None, 201 if written.created else 204, {"etag": etag(written.version).decode()})


async def _write(cache: AsyncCache, key: bytes, data: bytes, ttl_s: int | None, conditions: Conditions) -> Written:
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


@router.delete(PATH, summary="Remove a key", response_class=Response, status_code=204, openapi_extra={
    "parameters": [*_PARAMETERS, documented.IF_MATCH]},
    responses={204: {"description": "It was there, and is no more."}, **documented.errors(409, 412, 414)})
async def delete_key(request: Request) -> Response:
    """Remove a key; with If-Match only if it is at one of those versions."""
    _, cache = await _cache(request, "writer")
    key, match = key_of(request.scope), Conditions.of(request.headers.get("if-match"), None).match
    if match is None or isinstance(match, str):
        if not await cache.delete(key):
            raise _absent() if match is None else _failed()
        return Response(None, 204)
    for version in sorted(match):  # a key is at one version: at most one of these deletes it
        if await aio_stored.delete_at(cache, key, version):
            return Response(None, 204)
    raise _failed()


