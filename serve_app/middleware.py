"""Around every request: how many may be under way, how long it may take, how long it took, and no error as it is.

What lives here: one ASGI wrapper, written out by hand because it is on the way of every GET. What does not: limits
(`admission.py`), the words of errors (`problems.py`), figures (`figures.py`).
"""

from __future__ import annotations

import re
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.answering import response_of, unexpected
from serve_app.door import ACCOUNT, BODY_BYTES, Door
from serve_app.problems import Problem, Refused, problem_of

_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d+(?:\.\d+)?)\"?\s*(?:$|[,;])", re.IGNORECASE)

ENDLESS: Final = frozenset({"/page/feed"})
"""Paths that have an end of their own: events come for as long as somebody looks."""


def wished_s(headers: list[tuple[bytes, bytes]], most_s: float) -> float:
    """Return how long a request may take: what `Prefer: wait=` says (RFC 7240), and never more than `most_s`."""
    for name, value in headers:
        if name == b"prefer":
            found = _WAIT.search(value.decode("latin-1"))
            if found is not None:
                return min(float(found[1]), most_s)
    return most_s


class Around:
    """The application with its limits around it."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, status, sent_bytes = time.monotonic(), 0, 0

        async def watched(message: Message) -> None:
            nonlocal status, sent_bytes
            if not status:
                status = message.get("status", 0)  # an answer begins with it
            else:
                sent_bytes += len(message.get("body", b""))
            await send(message)

        door = self._door
        try:
            door.admission.enter()
        except Refused as refused:
            await response_of(refused.problem)(scope, receive, watched)
            door.answered(scope, status, time.monotonic() - began_s)
            return
        limit_s = wished_s(scope["headers"], door.settings.deadline_s)
        try:
            if scope["path"] in ENDLESS:
                await self._app(scope, receive, watched)
            else:
                with door.deadlines.until(began_s + limit_s):
                    await self._app(scope, receive, watched)
        except TimeoutError:
            if status:
                raise  # the connection breaks off: what is there is not all
            problem = Problem(504, "deadline", f"not done within {limit_s:g} s; a write may or may not have happened")
            await response_of(problem)(scope, receive, watched)
        except Exception as error:
            if status:
                raise
            problem = problem_of(error)
            response = unexpected(error, scope) if problem.status == 500 else response_of(problem)
            await response(scope, receive, watched)
        finally:
            door.admission.leave()
            if ACCOUNT in scope:
                scope[ACCOUNT].charge(scope.get(BODY_BYTES, 0) + sent_bytes)
            if scope["path"] not in ENDLESS:
                door.answered(scope, status, time.monotonic() - began_s)
