"""Whether this Serve replica is alive, and whether it can do its work.

What lives here: `/health` and `/ready`. Alive means: its loop turns. Ready means: it is not draining, and every cluster
that it serves (or the one that is asked about) answers, all its shards included.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

import raycache
from raycache.client.aio_stored import unreachable_shards
from raycache.errors import ClusterNotFoundError, RayCacheError
from raycache.shard.classes import CONNECTION
from serve_app.door import door_of
from serve_app.problems import refuse
from serve_app.rest import documented

PATIENCE_S = 2.0
"""How long a shard may take to answer before it counts as unreachable: a failover takes about a second."""

router = APIRouter(tags=["health"])


@router.get("/health", summary="Is this process alive?", responses=documented.errors(429))
async def health(request: Request) -> Response:
    """Answer 200 as long as the event loop turns."""
    admission = door_of(request).admission
    return JSONResponse({"status": "alive", "version": raycache.__version__, "requests": admission.requests,
                         "held_bytes": admission.held_bytes, "refused": admission.refused})


@router.get("/ready", summary="Can it do its work?", responses=documented.errors(503))
async def ready(request: Request, cluster: str | None = None) -> Response:
    """Answer 200 if requests may be sent here, else 503 with what is wrong.

    With `cluster`, that cluster is asked; else all that this replica has been asked for so far, or the default one.
    """
    door = door_of(request)
    if door.is_draining:
        raise refuse(503, "draining", "this Serve replica is being stopped", {"Retry-After": "1"})
    names = [cluster] if cluster is not None else door.clusters.known_names() or [""]
    found: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name in names:
        try:
            async with asyncio.timeout(PATIENCE_S):
                handle = await door.clusters.handle(name)
                lost = await unreachable_shards(handle)
        except ClusterNotFoundError as error:
            if cluster is not None:
                raise  # 404: nothing is wrong with this door
            wrong[name] = str(error)
            continue
        except (RayCacheError, TimeoutError) as error:
            wrong[name] = str(error) or "no answer in time"
            continue
        found[handle.cluster] = "ready"
        if lost:
            wrong[handle.cluster] = f"no answer from {', '.join(lost)}"
    if wrong:
        detail = "; ".join(f"{name or 'no cluster'}: {what}" for name, what in wrong.items())
        raise refuse(503, "not-ready", detail, {"Retry-After": "1"}, clusters=wrong)
    return JSONResponse({"status": "ready", "clusters": found})


classes = {health: CONNECTION, ready: CONNECTION}
"""Which class their requests have."""
