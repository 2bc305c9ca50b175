"""One request about a key, as little of it as its answer needs.

What lives here: `Asked`. What does not: what headers mean. A request object of the framework reads a header by going
through all of them; a GET of a key has five to look for, and is answered in less time than that takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serve_app.door import Door

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope


class Asked:
    """A request whose path a route has matched. Belongs to the request's task."""

    __slots__ = ("_headers", "door", "receive", "scope")

    def __init__(self, door: Door, scope: Scope, receive: Receive) -> None:
        self.door = door
        self.scope = scope
        self.receive = receive
        # Of several headers with one name the first counts, as everywhere in the framework.
        self._headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))

    @classmethod
    def of(cls, request: Request) -> Asked:
        """Return the same of a request object."""
        return cls(request.app.state.door, request.scope, request.receive)

    @property
    def cluster(self) -> str:
        """What the path names as the cluster, whatever that may be."""
        name: str = self.scope["path_params"]["cluster"]
        return name

    def header(self, name: bytes) -> str | None:
        """Return a header; `name` in small letters. None: there is none."""
        found = self._headers.get(name)
        return None if found is None else found.decode("latin-1")
