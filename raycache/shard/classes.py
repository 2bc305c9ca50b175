"""What kind of work a command is: the classes by which figures are shown.

What lives here: the classes and which command is in which. What does not: counting (`meter`). Pure.
"""

from __future__ import annotations

from typing import Final

from raycache.shard.commands import ALL
from raycache.shard.commands.command import Command

READ: Final = "read"
READ_MANY: Final = "read_many"
WRITE: Final = "write"
WRITE_MANY: Final = "write_many"
LOAD: Final = "load"
QUEUE: Final = "queue"
KEYSPACE: Final = "keyspace"
TRANSACTION: Final = "transaction"
CONNECTION: Final = "connection"
ADMIN: Final = "admin"
UNKNOWN: Final = "unknown"

CLASSES: Final = {
    READ: "reads of one key, such as GET and RC.GET",
    READ_MANY: "reads of several keys, such as MGET and RC.MGET",
    WRITE: "writes of one key, such as SET and INCR",
    WRITE_MANY: "writes of several keys, such as MSET and DEL",
    LOAD: "leases, fills and tags of values that are loaded through the cache; a lease's wait is part of its time",
    QUEUE: "writes that wait for a database",
    KEYSPACE: "questions about all keys, such as SCAN, DBSIZE and FLUSHALL",
    TRANSACTION: "MULTI, EXEC, WATCH and their kin; commands that EXEC runs are part of it",
    CONNECTION: "PING, HELLO, AUTH, CLIENT and the like, and WAIT",
    ADMIN: "INFO, CONFIG, COMMAND, CLUSTER, SLOWLOG and the like, and what operators and the router ask",
    UNKNOWN: "what is no command",
}
"""Every class, and what is in it."""

_NAMED: Final = {
    **dict.fromkeys(("rc.lease", "rc.fill", "rc.free", "rc.gens", "rc.void", "rc.getl", "rc.mgetl"), LOAD),
    **dict.fromkeys(("rc.queue", "rc.pending", "rc.queued", "rc.dequeue", "rc.bury", "rc.deadletters", "rc.revive",
                     "rc.discard"), QUEUE),
    **dict.fromkeys(("scan", "keys", "randomkey", "dbsize", "flushdb", "flushall", "rc.clear", "rc.scan", "rc.hottest"),
                    KEYSPACE),
    **dict.fromkeys(("wait", "rc.token", "rc.link", "rc.fresh", "readonly", "readwrite", "asking"), CONNECTION),
    **dict.fromkeys(("object", "memory", "rc.peer", "rc.verify"), ADMIN),
    "rc.read": READ_MANY, "rc.write": WRITE,
}
_GROUPS: Final = {"transactions": TRANSACTION, "connection": CONNECTION}


def class_of(command: Command | None) -> str:
    """Return the class of a command, one of `CLASSES`; of what is no command `UNKNOWN`."""
    if command is None:
        return UNKNOWN
    name = command.parent or command.name
    if (named := _NAMED.get(name)) is not None:
        return named
    if command.group in _GROUPS:
        return _GROUPS[command.group]
    if not command.first_key:
        return ADMIN
    if command.is_write():
        return WRITE if command.one_key else WRITE_MANY
    return READ if command.one_key else READ_MANY


CLASS_OF: Final = tuple(class_of(command) for command in ALL)
"""The class of each command, by its number."""
