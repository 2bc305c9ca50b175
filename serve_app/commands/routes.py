"""The REST convention of serverless Redis clients: commands as JSON or as paths, answers as `result` or `error`.

What lives here: the routes, at the root (for the default cluster) and under `/redis/{cluster}`. What does not: the form
of commands and replies (`encoding.py`), rights (`rights.py`), the way to the shards (`raycache.gateway.inside`).

The clients know one form of error, `{"error": "..."}`, so these routes answer no problem documents.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from raycache.errors import RayCacheError
from raycache.gateway.inside import InsideGateway
from raycache.shard.classes import TRANSACTION
from raycache.shard.commands import TABLE
from serve_app.auth import authorize
from serve_app.bodies import Body, read_body
from serve_app.classes import class_of_all, note
from serve_app.commands import encoding, rights
from serve_app.door import door_of
from serve_app.problems import Refused, problem_of
from serve_app.rest import documented
from serve_app.rest.direct import DirectRoute
from serve_app.rest.paths import cluster_of

ENCODING: Final = "upstash-encoding"
"""The header by which those clients ask for base64."""

router = APIRouter(route_class=DirectRoute, tags=["redis"])

_COMMAND_SCHEMA: Final[dict[str, Any]] = {
    "type": "array", "minItems": 1, "prefixItems": [{"type": "string", "minLength": 1}],
    "items": {"type": ["string", "number", "boolean", "object", "array"]}}
_COMMANDS_SCHEMA: Final[dict[str, Any]] = {"type": "array", "minItems": 1, "items": _COMMAND_SCHEMA}
_ANSWER: Final[dict[str, Any]] = {"application/json": {"schema": {}}}
_ERROR: Final[dict[str, Any]] = {"application/json": {"schema": {
    "type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}}}
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "`result`, or `error` where a single command of several failed.", "content": _ANSWER},
    **{status: {"description": "An error, in the form that these clients know.", "content": _ERROR}
       for status in (400, 401, 403, 404, 413, 422, 429, 500, 502, 503, 504, 507)},
}


def _documented(schema: dict[str, Any], *, of_cluster: bool) -> dict[str, Any]:
    return {"parameters": [documented.CLUSTER] if of_cluster else [], "requestBody": {
        "required": True, "content": {"application/json": {"schema": schema}}}}


def _json(document: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(document), status, headers, "application/json")


def _in_own_form(work: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Return `work` with all its errors in the form of the convention."""

    async def answer(request: Request) -> Response:
        try:
            return await work(request)
        except (Refused, RayCacheError) as error:
            problem = problem_of(error)
            prefix = f"{error.prefix} " if isinstance(error, RayCacheError) else ""
            text = "Unauthorized" if problem.status == 401 else prefix + problem.detail
            return _json({"error": text}, problem.status, dict(problem.headers))

    answer.__doc__, answer.__name__ = work.__doc__, work.__name__
    return answer


async def _gateway(request: Request, commands: list[list[bytes]]) -> InsideGateway:
    """Return what runs `commands`, all of which may come over HTTP from this caller.

    Raises:
        Refused: one may not.
    """
    name = cluster_of(request.path_params) if "cluster" in request.path_params else ""
    note(request.scope, class_of_all(commands))
    caller = await authorize(request, rights.role_for_all(commands), name)
    return await door_of(request).clusters_of(caller).gateway(name)


def _is_base64(request: Request) -> bool:
    return request.headers.get(ENCODING, "").lower() == "base64"


async def _one(request: Request, argv: list[bytes]) -> Response:
    gateway = await _gateway(request, [argv])
    refusal = rights.refusal_of(argv)
    if refusal is not None:
        return _json({"error": refusal}, 400)
    (reply,) = await gateway.run([argv])
    answer = encoding.answer_of(reply, in_base64=_is_base64(request))
    return _json(answer, 400 if "error" in answer else 200)


async def _several(request: Request, body: Body) -> tuple[InsideGateway, list[list[bytes]]]:
    """Return the gateway and the commands in `body`.

    A caller without a token must not learn what is wrong with its commands, so rights come first.
    """
    commands = encoding.commands_of(encoding.parsed(body))
    return await _gateway(request, commands), commands


@_in_own_form
async def run_one(request: Request) -> Response:
    """Run one command: a JSON array of its name and arguments."""
    async with read_body(request) as body:
        return await _one(request, encoding.command_of(encoding.parsed(body)))


@_in_own_form
async def run_pipeline(request: Request) -> Response:
    """Run several commands one after the other: not atomic, and one that fails stops no other."""
    async with read_body(request) as body:
        gateway, commands = await _several(request, body)
        refusals = [rights.refusal_of(argv) for argv in commands]
        replies = iter(await gateway.run([argv for argv, no in zip(commands, refusals, strict=True) if no is None]))
        in_base64 = _is_base64(request)
        return _json([{"error": no} if no is not None else encoding.answer_of(next(replies), in_base64=in_base64)
                      for no in refusals])


@_in_own_form
async def run_transaction(request: Request) -> Response:
    """Run several commands as MULTI and EXEC do."""
    async with read_body(request) as body:
        gateway, commands = await _several(request, body)
        note(request.scope, TRANSACTION)
        refusal = next(filter(None, map(rights.refusal_of, commands)), None)
        if refusal is not None:
            return _json({"error": f"EXECABORT {refusal.removeprefix('ERR ')}"}, 400)
        reply = await gateway.run_transaction(commands)
        if isinstance(reply, Exception):
            return _json({"error": str(reply)}, 400)
        return _json(encoding.answers_of(reply, in_base64=_is_base64(request)))


@_in_own_form
async def run_path(request: Request) -> Response:
    """Run the command that the path names, with a body as its last argument if there is one."""
    start = len(f"/redis/{request.path_params['cluster']}") if "cluster" in request.path_params else 0
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    async with read_body(request) as body:
        return await _one(request, encoding.path_command(raw, request.scope["query_string"], body, start))


class CommandRoute(DirectRoute):
    """A path whose first segment is a command; any other path is somebody else's, or nobody's."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match if there is such a command."""
        match, child = super().matches(scope)
        if match != Match.NONE and child["path_params"]["command"].upper().encode() not in TABLE:
            return Match.NONE, {}
        return match, child


for _prefix in ("", "/redis/{cluster}"):
    for _path, _work, _schema in (("", run_one, _COMMAND_SCHEMA), ("/pipeline", run_pipeline, _COMMANDS_SCHEMA),
                                  ("/multi-exec", run_transaction, _COMMANDS_SCHEMA)):
        router.add_api_route((_prefix + _path) or "/", _work, methods=["POST"], response_class=Response,
                             responses=_RESPONSES, openapi_extra=_documented(_schema, of_cluster=bool(_prefix)))

paths = APIRouter(route_class=CommandRoute)
for _prefix in ("", "/redis/{cluster}"):
    for _path in ("/{command}", "/{command}/{arguments:path}"):
        paths.add_api_route(_prefix + _path, run_path, methods=["GET", "POST"], include_in_schema=False)
