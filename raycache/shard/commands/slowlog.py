"""SLOWLOG: the last commands that took long.

What lives here: the command. What does not: what is kept and for how long (`raycache.metrics.slowlog`), measuring
(`raycache.shard.turn`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from raycache.metrics.slowlog import SlowCommand
from raycache.resp import encode
from raycache.resp.encode import OK
from raycache.shard.commands.arguments import integer
from raycache.shard.commands.command import Command, Refusal, container, help_lines

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

_SHOWN: Final = 10


def get(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """SLOWLOG GET [count]: the newest first, 10 unless said otherwise; -1: all."""
    count = integer(argv[2]) if len(argv) > 2 else _SHOWN
    if count < -1:
        raise Refusal("ERR count should be greater than or equal to -1")
    return encode.array([_entry(one) for one in core.meter.slowlog.newest(count)])


def _entry(one: SlowCommand) -> bytes:
    return encode.array([encode.integer(one.id), encode.integer(one.unix_s), encode.integer(one.duration_us),
                         encode.bulks(one.argv), encode.bulk(one.client.encode()), encode.bulk(one.client_name)])


def length(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """SLOWLOG LEN."""
    return encode.integer(len(core.meter.slowlog))


def reset(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """SLOWLOG RESET."""
    core.meter.slowlog.clear()
    return OK


_HELP = help_lines("SLOWLOG", [
    "GET [<count>]", "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "LEN", "    Return the length of the slowlog.",
    "RESET", "    Reset the slowlog.",
])

_sub = partial(Command, group="server", parent="slowlog", flags="admin loading stale", since="2.2.12")

COMMANDS = [
    container("slowlog", "server", "Shows commands that took long.", [
        _sub(name="get", arity=-2, handler=get, tips=("request_policy:all_nodes", "nondeterministic_output"),
             summary="Returns the newest entries of the slow log."),
        _sub(name="len", arity=2, handler=length,
             tips=("request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"),
             summary="Returns how many entries the slow log has."),
        _sub(name="reset", arity=2, handler=reset,
             tips=("request_policy:all_nodes", "response_policy:all_succeeded"),
             summary="Empties the slow log."),
        Command(name="help", arity=2, flags="loading stale", parent="slowlog", group="server", since="6.2.0",
                handler=_HELP, summary="Returns help on the subcommands."),
    ], since="2.2.12"),
]
