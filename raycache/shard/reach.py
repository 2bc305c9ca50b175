"""Which keys a command touches, for users who may not touch all.

What lives here: the judgement for each kind of command. What does not: rights (`raycache.access`), sessions (`guard`).
Pure.

A command that is not known here to be harmless, and whose keys do not stand among its arguments, is for those who may
use all keys. So a command that is added later is refused to everybody else until somebody has thought about it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from raycache.access.rights import Rights
from raycache.access.user import READ, WRITE

if TYPE_CHECKING:
    from raycache.shard.commands.command import Command

HARMLESS: Final = frozenset({
    "acl", "asking", "auth", "client", "cluster|countkeysinslot", "cluster|help", "cluster|info", "cluster|keyslot",
    "cluster|links", "cluster|myid", "cluster|nodes", "cluster|shards", "cluster|slots", "command", "config",
    "dbsize", "discard", "echo", "exec", "hello", "info", "memory|help", "multi", "object|help", "ping", "quit",
    "rc.access", "rc.curve", "rc.fresh", "rc.link", "rc.metrics", "rc.peer", "rc.stats", "rc.token", "rc.topology",
    "rc.trace", "rc.used", "rc.verify",
    "readonly", "readwrite", "reset", "select", "time", "unwatch", "wait",
})
"""Commands, and containers of them, that tell and change nothing about keys; or that ask for more than rights
themselves (RC.PEER, RC.ACCESS)."""

_READS: Final = {"access": READ}
_WRITES: Final = dict.fromkeys(("insert", "update", "delete"), WRITE)


def needed(command: Command, at: int, argv: list[bytes]) -> int:
    """Return what must be allowed for the key that is number `at` of a command: `READ`, `WRITE`, both, or 0."""
    if not command.key_use:
        return READ | WRITE
    words = command.key_use[min(at, len(command.key_use) - 1)].split()
    use = 0
    for word in words:
        use |= _READS.get(word, 0) | _WRITES.get(word, 0)
    if "variable_flags" in words and all(word.upper() != b"GET" for word in argv[3:]):
        use &= ~READ  # SET without GET tells nothing
    return use


_UNROUTED: Final = {"rc.explain": 1}
"""Commands that tell of the key at this place among their words, but that every shard answers, whoever owns its slot:
so the table, which routes commands, says nothing of their keys."""


def may_reach(rights: Rights, command: Command, argv: list[bytes],
              resolve: Callable[[list[bytes]], Command | None]) -> bool:
    """Return whether `rights` allow what the command does to keys.

    Args:
        argv: a command whose arity has been checked.
        resolve: finds the command that stands at the beginning of a list of words.
    """
    name = command.full_name
    if name == "rc.write":
        return _may_write(rights, argv[2:], resolve)
    if rights.has_all_keys:
        return True
    if command.first_key:
        return all(rights.may_use(key, needed(command, at, argv)) for at, key in enumerate(command.keys(argv)))
    if name in HARMLESS or command.parent in HARMLESS:
        return True
    if (key_at := _UNROUTED.get(name)) is not None:
        return rights.may_use(argv[key_at], READ)
    walks = _WALKS.get(name)
    return walks is not None and all(rights.may_walk(pattern, use) for pattern, use in walks(argv))


def _may_write(rights: Rights, inner: list[bytes], resolve: Callable[[list[bytes]], Command | None]) -> bool:
    """RC.WRITE options command...: whoever sends it must be allowed that command, too."""
    command = resolve(inner)
    if command is None or not command.min_argc <= len(inner) <= command.max_argc or command.name == "rc.write":
        return True  # it will be refused, and nothing done
    return command.full_name in rights.commands and may_reach(rights, command, inner, resolve)


def _scanned(argv: list[bytes]) -> list[tuple[bytes, int]]:
    """SCAN cursor [option value ...]: all its MATCHes; without any, everything."""
    options = argv[2:]
    patterns = [value for name, value in zip(options[::2], options[1::2], strict=False) if name.upper() == b"MATCH"]
    return [(pattern, READ) for pattern in patterns or [b"*"]]


def _with_prefix(argv: list[bytes], at: int, use: int) -> list[tuple[bytes, int]]:
    """A command with a prefix that is meant literally: no byte of it is special."""
    return [(b"".join(b"\\" + bytes([byte]) if byte in b"*?[]\\" else bytes([byte]) for byte in argv[at]) + b"*", use)]


_WALKS: Final[dict[str, Callable[[list[bytes]], list[tuple[bytes, int]]]]] = {
    "scan": _scanned,
    "keys": lambda argv: [(argv[1], READ)],
    "rc.scan": lambda argv: _with_prefix(argv, 2, READ),
    "rc.void": lambda argv: _with_prefix(argv, 1, WRITE),
}
"""Commands for all keys that match a pattern: whoever may use all of those may send them."""
