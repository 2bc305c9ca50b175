"""RC.TRACE: the context of a trace, for the next command of a connection.

What lives here: the command. What does not: spans (`raycache.tracing.shards`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raycache.shard.commands.command import Command

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

MAX_CONTEXT_BYTES: Final = 128
"""W3C's traceparent has 55."""


def trace(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.TRACE traceparent -> no reply at all, whatever it is: it leads another command, which has one."""
    if session.command is not None:  # a part of the next one
        core.calls[session.command.number] -= 1
    if core.tracer is not None and session.multi is None and len(argv[1]) <= MAX_CONTEXT_BYTES:
        session.trace = argv[1]
        session.refresh()
    return b""


COMMANDS = [
    Command(name="rc.trace", arity=2, flags="loading stale fast no_auth", handler=trace, group="connection",
            since="0.1.0", summary="Gives the next command the context of a trace; has no reply."),
]
