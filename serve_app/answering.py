"""Problems as responses, and the handlers that make every error one.

What lives here: the last word on each error that leaves a route. What does not: which error is which problem
(`problems.py`). The Redis convention has errors of its own form and answers them itself.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from raycache.errors import RayCacheError
from serve_app.problems import MEDIA_TYPE, Problem, Refused, problem_of

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger(__name__)


def response_of(problem: Problem) -> Response:
    """Return the problem as a response."""
    return Response(json.dumps(problem.document(), ensure_ascii=False, default=str), problem.status,
                    dict(problem.headers), MEDIA_TYPE)


async def _refused(_: Request, error: Exception) -> Response:
    return response_of(problem_of(error))


def allowed(request: Request) -> str:
    """Return the methods that some route has for the path of `request`; each route only knows its own."""
    found: set[str] = set()
    for route in request.app.state.own_routes:
        regex = getattr(route, "path_regex", None)
        if regex is not None and regex.match(request.scope["path"]):
            found |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(found))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        error.headers = {"Allow": allowed(request)}
    words = {404: ("no-such-route", "there is nothing at this path"),
             405: ("method-not-allowed", "this path does not know the method; Allow names those that it knows")}
    kind, detail = words.get(error.status_code, ("http", str(error.detail)))
    return response_of(Problem(error.status_code, kind, detail, error.headers or {}))


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [{"where": ".".join(str(part) for part in each["loc"]), "what": each["msg"]} for each in error.errors()]
    detail = "; ".join(f"{each['where']}: {each['what']}" for each in found) or "the request is not valid"
    return response_of(Problem(422, "invalid", detail, more={"errors": found}))


def unexpected(error: Exception, scope: Any) -> Response:
    """Return what the caller of a route with a bug gets; the log gets the rest."""
    log.error("%s %s failed", scope.get("method"), scope.get("path"), exc_info=error)
    return response_of(problem_of(error))


def answer_errors(application: FastAPI) -> None:
    """Let every error of the application's routes be a problem document."""
    application.add_exception_handler(Refused, _refused)
    application.add_exception_handler(RayCacheError, _refused)
    application.add_exception_handler(TimeoutError, _refused)
    application.add_exception_handler(HTTPException, _http)
    application.add_exception_handler(RequestValidationError, _invalid)
