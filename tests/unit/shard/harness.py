"""A shard core driven by hand: commands as people write them in, parsed replies out, time on a leash."""

from __future__ import annotations

import random
from typing import Any

import hiredis

from raycache.config import Limits
from raycache.resp.parse import split_inline
from raycache.shard.commands.command import Reply
from raycache.shard.core import ShardCore
from raycache.shard.session import Session
from raycache.store import Store, make_policy

START_MS = 1_700_000_000_000


def parsed(reply: bytes) -> Any:
    """Return what one whole reply means; errors come back as `hiredis.ReplyError`."""
    reader = hiredis.Reader()
    reader.feed(reply)
    value = reader.gets()
    assert not reader.has_data(), f"{reply!r} is more than one reply"
    assert value is not False, f"{reply!r} is no whole reply"
    return value


def finished(reply: Reply) -> tuple[bytes, int]:
    """Drive a reply to its end; return it and in how many steps it came."""
    steps = 1
    while not isinstance(reply, bytes):
        try:
            next(reply)
            steps += 1
        except StopIteration as stop:
            reply = stop.value
    return reply, steps


class Shard:
    """A core, one session on it, and `run`."""

    def __init__(self, *, capacity_bytes: int = 64 << 20, policy: str = "lru", limits: Limits | None = None,
                 **options: Any) -> None:
        self.store = Store(capacity_bytes=capacity_bytes, policy=make_policy(policy, seed=1), segments=64)
        self.core = ShardCore(store=self.store, limits=limits, policy=policy, started_ms=START_MS,
                              rng=random.Random(1), **options)
        self.now_s = 0.0
        self.core.monotonic_s = lambda: self.now_s
        self.session = self.core.open_session("127.0.0.1:1000")

    def raw(self, *argv: bytes | str, session: Session | None = None) -> bytes:
        """Run one command, long ones to their end; return the encoded reply."""
        return self.drive(list(argv), session)[0]

    def drive(self, argv: list[bytes | str], session: Session | None = None) -> tuple[bytes, int]:
        """Run one command; return its reply and in how many steps it came."""
        words = [word.encode() if isinstance(word, str) else word for word in argv]
        return finished(self.core.execute(session or self.session, words))

    def run(self, line: str, session: Session | None = None) -> Any:
        """Run a command written as for redis-cli; return the parsed reply, an error as its text."""
        value = parsed(self.raw(*split_inline(line.encode()), session=session))
        return str(value) if isinstance(value, hiredis.ReplyError) else value

    def advance(self, milliseconds: int) -> None:
        """Let time pass."""
        self.core.now_ms += milliseconds
        self.now_s += milliseconds / 1000

    def another(self) -> Session:
        """Open one more session."""
        return self.core.open_session(f"127.0.0.1:{1000 + self.core.sessions_opened}")
