"""Looking at how long commands run, for the slow log.

What lives here: the wrapper around the handlers of commands that can be slow. What does not: what becomes of one that
was (`raycache.shard.meter`), and commands that run in steps, which are added up where they are run
(`raycache.shard.long`).

The look is around the handler and not where commands are taken, so that a command is seen whichever way it has come:
in a turn, behind one that waits for other shards, in a transaction, or after a quorum was asked. And it costs nothing
where it could not tell anything: plain GETs and SETs are written out in the hot loop, and `QUICK` commands stay as they
are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raycache.shard.commands.command import Handler, Reply

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

QUICK: Final = frozenset({"incr", "decr", "incrby", "decrby", "rc.incrby", "ttl", "pttl", "expire", "pexpire",
                          "persist", "ping", "strlen", "type"})
"""Commands whose work depends neither on how much they are told nor on what is stored: two looks at the clock (0.1 us)
would cost more than they could tell."""


def timed(handler: Handler) -> Handler:
    """Return `handler` with a look at the clock around it: what took longer than the core's `slow_s` is noted."""

    def run(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
        clock_s = core.clock_s
        began_s = clock_s()
        try:
            return handler(core, session, argv)
        finally:
            if (took_s := clock_s() - began_s) > core.slow_s:
                core.meter.slow(session, argv, took_s, core.now_ms)

    return run
