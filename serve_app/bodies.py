"""Bodies: read as they come and no further than allowed; large ones written in pieces.

What lives here: both directions, and the account of what is in memory. What does not: the limits (`admission.py`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serve_app.admission import Admission
from serve_app.door import BODY_BYTES, door_of
from serve_app.problems import refuse

PIECE_BYTES: Final = 256 * 1024
"""A body longer than this leaves in pieces of it: enough for the wire, and little to hold beside the value."""


Body = bytes | bytearray
"""One piece as it came; several in one buffer, which belongs to whoever has read it."""


@asynccontextmanager
async def read_body(request: Request) -> AsyncIterator[Body]:
    """Read the body of `request`; it counts as held until the block ends, and is in memory once.

    Raises:
        Refused: 413 as soon as it is too long, 429 if too much is held, 400 if its sender left.
    """
    admission = door_of(request).admission
    stated = request.headers.get("content-length", "")
    expected = int(stated) if stated.isascii() and stated.isdigit() else 0
    admission.check_length(expected)
    admission.hold(expected)
    held, length = expected, 0
    try:
        body: Body = b""
        async for piece in request.stream():
            length += len(piece)
            if length > held:
                admission.check_length(length)
                admission.hold(length - held)
                held = length
            if not body:
                body = piece
            elif piece:
                if type(body) is bytes:
                    body = bytearray(body)
                body += piece
        yield body
    except ClientDisconnect:
        raise refuse(400, "invalid", "the connection ended before the body did") from None
    finally:
        admission.release(held)
        request.scope[BODY_BYTES] = length


class Answer(Response):
    """An answer that is complete: its headers stand as they are sent. Made without what the framework would look up."""

    def __init__(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
        self.status_code = status
        self.raw_headers = headers
        self.body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body})


class Pieces(Answer):
    """A body that leaves in pieces, each when the one before it is on its way; it counts as held until it has left."""

    def __init__(self, headers: list[tuple[bytes, bytes]], body: bytes | memoryview, admission: Admission) -> None:
        super().__init__(200, headers)
        self._whole = memoryview(body)
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises:
            Refused: 429 before anything is sent, if too much is held.
        """
        whole = self._whole
        self._admission.hold(len(whole))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for start in range(0, len(whole), PIECE_BYTES):
                piece = whole[start : start + PIECE_BYTES].tobytes()
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._admission.release(len(whole))
