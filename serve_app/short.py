"""The short way: requests about one key, from the server to their answer without the framework between.

What lives here: `Application`, which is the framework's and knows which requests go the short way, and `ShortWay`, the
end of it. What does not: any rule. Limits, deadline and figures are those of `Around`, the path is matched by the
route itself, and what is answered is what the route's function answers; so either way gives the same, bit for bit
(tests/clients/test_http_short.py sends the same to both). docs/decisions/0030 says what it saves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from starlette.routing import Match

from raycache.errors import RayCacheError
from serve_app.answering import response_of
from serve_app.asked import Asked
from serve_app.middleware import Around
from serve_app.problems import Refused, problem_of
from serve_app.rest import keys
from serve_app.rest.direct import KeyRoute

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from serve_app.door import Door

_PREFIX: Final = "/v1/"
_TOLD: Final = (Refused, RayCacheError, TimeoutError)
"""Errors that a route's caller is told of, as `answering.answer_errors` has it; `Around` answers all others."""


class ShortWay:
    """Answers what a key's route would; the route has been matched."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            response = await keys.ANSWERS[scope["method"]](Asked(self._door, scope, receive))
        except _TOLD as error:
            response = response_of(problem_of(error))
        try:
            await response(scope, receive, send)
        except Refused as refused:  # too much is held: it has sent nothing
            await response_of(refused.problem)(scope, receive, send)


class Application(FastAPI):
    """The framework's application, with a short way for requests about one key.

    Args:
        for_browsers: whether a middleware for pages of other origins is in the framework's way, and has a say.
        options: the framework's.
    """

    def __init__(self, door: Door, *, for_browsers: bool, **options: Any) -> None:
        super().__init__(**options)
        self._for_browsers = for_browsers
        self._short: ASGIApp = Around(ShortWay(door), door)
        self._routes: Mapping[str, KeyRoute] = {method: route for route in keys.router.routes
                                                if isinstance(route, KeyRoute) for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the application's life."""
        if scope["type"] == "http" and not scope.get("root_path") and scope["path"].startswith(_PREFIX):
            route = self._routes.get(scope["method"])
            if route is not None and not (self._for_browsers and _has_origin(scope)):
                match, child = route.matches(scope)
                if match is Match.FULL:
                    scope["app"] = self
                    scope.update(child)
                    await self._short(scope, receive, send)
                    return
        await self.whole(scope, receive, send)

    async def whole(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request by the framework."""
        await super().__call__(scope, receive, send)


def _has_origin(scope: Scope) -> bool:
    return any(name == b"origin" for name, _ in scope["headers"])
