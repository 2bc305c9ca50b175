"""The command table: every command a shard knows, by name.

What lives here: putting the groups together and finding commands. What does not: the commands
themselves (one file per group; a later data type is one more file and one more line in `_GROUPS`).

`TABLE` holds commands by their upper-case name. `DISPATCH` is the hot path's shortcut: upper and
lower case as clients send them, without the containers (CLIENT, CONFIG, ...), whose subcommand has
to be found first.
"""

from __future__ import annotations

from typing import Final

from raycache.access.rights import Catalogue
from raycache.resp import encode
from raycache.shard.commands import (
    acl,
    client,
    cluster,
    config,
    connection,
    counters,
    curve,
    expiry,
    explain,
    handle,
    info,
    inspection,
    introspection,
    keys,
    keyspace,
    latency,
    leases,
    metrics,
    near,
    queue,
    ranges,
    replication,
    slowlog,
    stored,
    strings,
    tracing,
    transactions,
    usage,
    warming,
)
from raycache.shard.commands.command import Command
from raycache.shard.commands.glob import matcher
from raycache.shard.commands.timed import QUICK, timed

__all__ = ["ALL", "CATALOGUE", "DISPATCH", "TABLE", "Command", "is_http", "resolve", "unknown_command"]

_GROUPS: Final = (strings, counters, ranges, keys, expiry, keyspace, inspection, connection, client, info, config,
                  introspection, transactions, cluster, handle, leases, near, queue, replication, stored, usage,
                  warming, explain, acl, curve, slowlog, latency, metrics, tracing)

TABLE: Final[dict[bytes, Command]] = {command.name.upper().encode(): command
                                      for group in _GROUPS for command in group.COMMANDS}
introspection.know(TABLE)

CATALOGUE: Final = Catalogue(
    {each.full_name: [name.removeprefix("@") for name in introspection.categories(each)]
     for command in TABLE.values() for each in (command, *command.subcommands.values())}, matcher)
"""What the rules of users speak of."""
acl.know(CATALOGUE)

DISPATCH: Final[dict[bytes, Command]] = {
    name: command for upper, command in TABLE.items() if not command.subcommands for name in (upper, upper.lower())
}

ALL: Final[tuple[Command | None, ...]] = (
    None, *(one for command in TABLE.values() for one in (command, *command.subcommands.values()))
)
"""Every command and subcommand by its number; at 0 stands what is in no table."""
for _number, _command in enumerate(ALL):
    if _command is not None:
        object.__setattr__(_command, "number", _number)  # frozen for everybody else
        if _command.full_name not in QUICK:
            object.__setattr__(_command, "handler", timed(_command.handler))

_SHOWN_BYTES: Final = 128


def resolve(argv: list[bytes]) -> Command | None:
    """Return the command or subcommand that `argv` names, in any case; None if there is none."""
    command = TABLE.get(argv[0].upper())
    if command is None or not command.subcommands or len(argv) == 1:
        return command
    return command.subcommands.get(argv[1].upper())


def is_http(argv: list[bytes]) -> bool:
    """Return whether this is no command but a line of an HTTP request, of the two that Redis looks for, too.

    A page in somebody's browser can send one to a door on loopback, with commands in its body: nobody else would.
    """
    return argv[0].lower() in (b"post", b"host:")


def unknown_command(argv: list[bytes]) -> bytes:
    """Return Redis' reply to a command, or to a subcommand, that does not exist."""
    container = TABLE.get(argv[0].upper())
    if container is not None and container.subcommands:
        name = container.name.upper().encode()
        return encode.error(b"ERR unknown subcommand '%b'. Try %b HELP." % (argv[1].partition(b"\0")[0][:_SHOWN_BYTES],
                                                                            name))
    shown = b""
    for argument in argv[1:]:
        if len(shown) >= _SHOWN_BYTES:
            break
        shown += b"'%b' " % argument.partition(b"\0")[0][: _SHOWN_BYTES - len(shown)]
    name = argv[0].partition(b"\0")[0][:_SHOWN_BYTES]
    return encode.error(b"ERR unknown command '%b', with args beginning with: %b" % (name, shown))
