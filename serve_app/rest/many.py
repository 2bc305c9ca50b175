"""Many keys at once: `POST /v1/{cluster}/batch`, and `POST /v1/{cluster}/invalidate` by key, tag and prefix.

What lives here: the routes, and carrying them out. What does not: the forms of bodies and answers (`batches.py`).
"""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from raycache.client import aio_stored
from raycache.client.aio import AsyncCache
from raycache.codec import DESCRIBED, RAW, encode
from raycache.codec.described import describe
from raycache.shard.classes import READ_MANY, WRITE_MANY
from serve_app.auth import authorize
from serve_app.bodies import read_body
from serve_app.classes import note
from serve_app.door import door_of
from serve_app.problems import refuse
from serve_app.rest import batches, documented, negotiation
from serve_app.rest.direct import DirectRoute
from serve_app.rest.keys import now_ms
from serve_app.rest.negotiation import Form
from serve_app.rest.paths import cluster_of
from serve_app.rest.representation import Representation, is_loaded, represent

router = APIRouter(route_class=DirectRoute, tags=["many keys"])

_MEDIA_TYPES: Final[dict[Form, str]] = {"json": negotiation.JSON, "msgpack": negotiation.MSGPACK}


def _described(schema: dict[str, Any]) -> dict[str, Any]:
    return {media_type: {"schema": schema} for media_type in _MEDIA_TYPES.values()}


def _forms(request: Request) -> tuple[Form, Form]:
    """Return the form of the body and that of the answer.

    Raises:
        Refused: 415 or 406, they are none that is known here.
    """
    given = negotiation.form_of(request.headers.get("content-type"))
    if given is None:
        raise refuse(415, "unsupported-form", "the body must be application/json or application/msgpack",
                     {"Accept": ", ".join(_MEDIA_TYPES.values())})
    answer = negotiation.wanted(request.headers.get("accept"), given)
    if answer is None:
        raise refuse(406, "unsupported-form", "the answer can be application/json or application/msgpack")
    return given, answer


@router.post("/v1/{cluster}/batch", summary="Store, delete and read many keys", response_class=Response, openapi_extra={
    "parameters": [documented.CLUSTER, documented.PREFER],
    "requestBody": {"required": True, "content": _described(batches.BATCH_SCHEMA)}},
    responses={200: {"description": "What was done and found.", "content": _described(batches.ANSWER_SCHEMA)},
               **documented.errors(400, 406, 409, 413, 414, 415, 507)})
async def batch(request: Request) -> Response:
    """Store, then delete, then read: each in one round trip to all shards at once. Not atomic."""
    given, answer = _forms(request)
    caller = await authorize(request, "reader")
    door = door_of(request)
    async with read_body(request) as body:
        wanted = batches.batch_of(batches.unpacked(body, given), door.settings.max_batch_keys)
    note(request.scope, WRITE_MANY if wanted.stores or wanted.deletes else READ_MANY)
    if wanted.stores or wanted.deletes:
        caller = await authorize(request, "writer")
    cache = await door.clusters_of(caller).handle(cluster_of(request.path_params))
    if wanted.stores:
        await aio_stored.write_many(cache, [_entry(item) for item in wanted.stores])
    deleted = await cache.delete_many(wanted.deletes) if wanted.deletes else 0
    found = [batches.found_in(shown, answer) for shown in await _read(cache, wanted.reads)]
    document = {"stored": len(wanted.stores), "deleted": deleted, "values": found}
    return Response(batches.packed(document, answer), media_type=_MEDIA_TYPES[answer])


def _entry(item: batches.Item) -> aio_stored.Entry:
    if not item.media_type:
        return aio_stored.Entry(item.key, RAW, item.value, item.ttl_s)
    return aio_stored.Entry(item.key, DESCRIBED, describe(item.value, item.media_type, "", now_ms()), item.ttl_s)


async def _read(cache: AsyncCache, keys: list[bytes]) -> list[Representation | None]:
    payloads = await aio_stored.read_many(cache, keys) if keys else []
    found = [represent(payload) if payload is not None and not is_loaded(payload) else None for payload in payloads]
    loaded = [at for at, payload in enumerate(payloads) if payload is not None and is_loaded(payload)]
    if loaded:  # only the handle can tell which of those still count
        values = await cache.get_many([keys[at] for at in loaded])
        for at in loaded:
            if keys[at] in values:
                kind, data = encode(values[keys[at]])
                found[at] = represent(bytes([kind]) + data)
    return found


@router.post("/v1/{cluster}/invalidate", summary="Invalidate by key, tag and prefix", response_class=Response,
             openapi_extra={"parameters": [documented.CLUSTER, documented.PREFER], "requestBody": {
                 "required": True, "content": _described(batches.INVALIDATE_SCHEMA)}},
             responses={200: {"description": "What was removed.", "content": _described(batches.INVALIDATED_SCHEMA)},
                        **documented.errors(400, 406, 413, 414, 415)})
async def invalidate(request: Request) -> Response:
    """Remove keys, void everything that has one of some tags, and remove all keys that begin with some prefixes.

    What is being loaded meanwhile, by anybody, is not stored afterwards (docs/loading.md). Prefixes walk over all keys.
    """
    given, answer = _forms(request)
    caller = await authorize(request, "writer")
    door = door_of(request)
    async with read_body(request) as body:
        fields = batches.members(batches.unpacked(body, given), {"keys", "tags", "prefixes"})
    keys = batches.keys_in(fields.get("keys", []), "keys")
    tags = [tag.decode("utf-8", "replace") for tag in batches.keys_in(fields.get("tags", []), "tags")]
    prefixes = batches.keys_in(fields.get("prefixes", []), "prefixes")
    limit = door.settings.max_batch_keys
    if len(keys) + len(tags) + len(prefixes) > limit:
        raise refuse(413, "body-too-large", f"at most {limit} keys, tags and prefixes at once", limit_keys=limit)
    if any(len(tag) > 1000 for tag in tags):
        raise refuse(422, "invalid", "tags: a tag has at most 1,000 characters")
    cache = await door.clusters_of(caller).handle(cluster_of(request.path_params))
    deleted = await cache.delete_many(keys) if keys else 0
    if tags:
        await cache.invalidate_tags(*tags)
    for prefix in prefixes:
        deleted += await cache.delete_prefix(prefix)
    return Response(batches.packed({"deleted": deleted, "tags": len(tags)}, answer), media_type=_MEDIA_TYPES[answer])
