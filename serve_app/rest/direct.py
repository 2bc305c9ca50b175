"""Routes without FastAPI's machinery between request and function.

What lives here: `DirectRoute`. A GET of a key has to be hardly slower than an endpoint that returns a constant, and
working out what a function wants to be called with takes longer than asking the shard. So these functions take the
request, and their routes say by hand what OpenAPI must know.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

Endpoint = Callable[[Request], Awaitable[Response]]


class DirectRoute(APIRoute):
    """A route whose function takes the request and returns the response."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return the function itself."""
        return cast(Endpoint, self.endpoint)
