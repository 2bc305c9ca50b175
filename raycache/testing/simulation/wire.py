"""What simulated clients, shards and routers say to each other, as plain values in place of bytes on a socket.

What lives here: requests, answers, and reading a shard's encoded reply. Commands are real ones, and replies are the
real bytes that the core encoded: only the framing of requests is left out, which has tests of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import hiredis

from raycache.testing.simulation.history import Operation


@dataclass(slots=True)
class Request:
    """One command on a connection. Its answer carries the same `tag`."""

    tag: int
    argv: list[bytes]
    operation: Operation | None = None
    """For the record only; no core sees it."""
    attempt: int = 0


@dataclass(slots=True)
class Answer:
    """A shard's encoded reply."""

    tag: int
    reply: bytes


@dataclass(slots=True)
class Call:
    """One of the control calls that go over Ray, not over a shard's door."""

    tag: int
    name: str
    data: Any = None


class ErrorReply:
    """An error in place of a reply."""

    __slots__ = ("prefix", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.prefix = text.partition(" ")[0]

    def __repr__(self) -> str:
        return f"-{self.text}"


def decode(reply: bytes) -> Any:
    """Return what `reply` says: None, int, bytes, a list of those, or an `ErrorReply`."""
    reader = hiredis.Reader(replyError=ErrorReply)  # type: ignore[arg-type]
    reader.feed(reply)
    return reader.gets()
