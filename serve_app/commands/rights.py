"""Which commands may come over HTTP, and which role each needs.

What lives here: the judgement, made of the shards' own table of commands. Pure; any thread.
"""

from __future__ import annotations

from typing import Final

from raycache.shard.commands import resolve
from serve_app.settings import Role

_OF_A_CONNECTION: Final = frozenset({
    "asking", "auth", "client", "discard", "exec", "hello", "multi", "quit", "readonly", "readwrite", "reset", "select",
    "subscribe", "unwatch", "wait", "watch",
})
"""Commands about a connection: here each request has one of its own, which ends with it."""
_FOR_READERS: Final = frozenset({"command", "dbsize", "echo", "info", "ping", "time"})
"""Commands that change nothing, though their flags do not say so."""
_FOR_ADMINS: Final = frozenset({"config", "acl", "debug", "shutdown", "cluster", "slowlog", "latency"})


def refusal_of(argv: list[bytes]) -> str | None:
    """Return why a command may not come over HTTP at all; None: it may. Unknown commands may: a shard refuses them."""
    name = argv[0].decode("utf-8", "replace").lower()
    if name in _OF_A_CONNECTION:
        return f"ERR {name.upper()} is about a connection, and not available over HTTP"
    if name.startswith("rc."):
        return f"ERR {name.upper()} is no part of Redis, and not available over HTTP"
    return None


def role_for(argv: list[bytes]) -> Role:
    """Return the role that a command needs."""
    name = argv[0].decode("utf-8", "replace").lower()
    if name in _FOR_ADMINS:
        return "admin"
    command = resolve(argv)
    if name in _FOR_READERS or (command is not None and "readonly" in command.flags.split()):
        return "reader"
    return "writer"


def role_for_all(commands: list[list[bytes]]) -> Role:
    """Return the role that all of `commands` together need."""
    roles = {role_for(argv) for argv in commands}
    return "admin" if "admin" in roles else "writer" if "writer" in roles else "reader"
