"""Requests as the shards read them, and which of them may be sent twice.

What lives here: encoding a command, and the judgement what a repetition would change. What does not:
sending and retrying (`upstream`, `executor`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from raycache.resp.encode import HEADERS
from raycache.shard.commands.command import Command

_READY_HEADERS: Final = len(HEADERS)
_CRLF: Final = b"\r\n"

MULTI: Final = b"*1\r\n$5\r\nMULTI\r\n"
EXEC: Final = b"*1\r\n$4\r\nEXEC\r\n"

_SAME_WHEN_REPEATED: Final = frozenset({
    "config|set", "config|resetstat", "del", "expire", "expireat", "flushall", "flushdb", "getex", "mset", "persist",
    "pexpire", "pexpireat", "psetex", "set", "setex", "setrange", "touch", "unlink",
})
"""Writes that leave the same behind when they run twice in a row. DEL may then count fewer than it removed, which
harms nobody, while a DEL that is given up leaves a stale value in the cache."""
_CONDITIONS: Final = frozenset({b"NX", b"XX", b"GET", b"GT", b"LT"})


def encoded(argv: list[bytes]) -> bytes:
    """Return `argv` as one request."""
    parts = [b"*%d\r\n" % len(argv)]
    for argument in argv:
        size = len(argument)
        parts += (HEADERS[size] if size < _READY_HEADERS else b"$%d\r\n" % size, argument, _CRLF)
    return b"".join(parts)


def encoded_transaction(commands: Iterable[list[bytes]]) -> bytes:
    """Return MULTI, the commands and EXEC, to be written in one piece."""
    return b"".join((MULTI, *map(encoded, commands), EXEC))


def may_repeat(command: Command, argv: list[bytes]) -> bool:
    """Whether sending `argv` again is right after a connection broke before its reply came.

    Reads may always be repeated. A conditional write may not: the second run would meet the first one's result.
    """
    if not command.is_write():
        return True
    if command.full_name not in _SAME_WHEN_REPEATED:
        return False
    if command.full_name in ("del", "unlink", "touch", "mset", "setex", "psetex", "persist"):
        return True
    return _CONDITIONS.isdisjoint(word.upper() for word in argv[2:])
