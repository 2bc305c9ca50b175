"""COMMAND: the table describes itself, in the form that cluster clients read.

What lives here: COMMAND and its subcommands. What does not: the table (`raycache.shard.commands`),
which tells this module of itself once it is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from raycache.resp import encode
from raycache.resp.encode import NULLS
from raycache.shard.commands.access import in_pieces
from raycache.shard.commands.command import SYNTAX_ERROR, Command, Refusal, Reply, container, help_lines
from raycache.shard.commands.glob import matcher
from raycache.shard.commands.syntax import Argument, arguments_of

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

_table: dict[bytes, Command] = {}
_whole: dict[tuple[str, int], bytes] = {}
"""Long replies (the table, its documentation) by protocol: milliseconds to build, and every cluster client asks."""

_NAMES_A_STEP: Final = 64
"""Commands described in one go: about a millisecond."""
MAX_DOCUMENTED: Final = 256
"""Names that COMMAND DOCS takes: there are fewer commands, and so many take about a millisecond."""
_KEYSPACE_GROUPS: Final = {"generic": "keyspace", "string": "string"}


def know(table: dict[bytes, Command]) -> None:
    """Take note of the complete table."""
    _table.update(table)


def find(name: bytes) -> Command | None:
    """Return the command called `name`, or the subcommand called `container|name`."""
    container_name, _, sub = name.upper().partition(b"|")
    command = _table.get(container_name)
    return command.subcommands.get(sub) if command is not None and sub else command


def known() -> list[Command]:
    """Return every command, each container before its subcommands."""
    return [one for command in _table.values() for one in (command, *command.subcommands.values())]


def categories(command: Command) -> list[str]:
    """Return its ACL categories, each with its @."""
    flags = command.flags.split()
    named = command.categories.split()
    if command.group in _KEYSPACE_GROUPS and not command.subcommands and command.full_name not in ("wait",
                                                                                                   "object|help"):
        named.append(_KEYSPACE_GROUPS[command.group])
    if command.full_name == "object|help":
        named.append("keyspace")
    named += [name for flag,
              name in (("write", "write"), ("readonly", "read"), ("admin", "admin"),
                       ("admin", "dangerous")) if flag in flags]
    named.append("fast" if "fast" in flags else "slow")
    return sorted({f"@{name}" for name in named})


def describe(command: Command, protocol: int) -> bytes:
    """Return the command's entry of COMMAND: ten elements, as in Redis 7."""
    names = partial(encode.set_, protocol=protocol)
    return encode.array([
        encode.bulk(command.full_name.encode()),
        encode.integer(command.arity),
        names(_statuses(command.flags.split())),
        encode.integer(command.first_key),
        encode.integer(command.last_key),
        encode.integer(command.key_step),
        names(_statuses(categories(command))),
        encode.bulks([tip.encode() for tip in command.tips]),
        encode.array(_key_specs(command, protocol)),
        encode.array([describe(sub, protocol) for sub in command.subcommands.values()]),
    ])


def _statuses(words: list[str]) -> list[bytes]:
    return [encode.simple(word.encode()) for word in words]


def _key_specs(command: Command, protocol: int) -> list[bytes]:
    """Return where its keys are, one specification for each use it makes of keys."""
    several = len(command.key_use) > 1
    specs = []
    for offset, use in enumerate(command.key_use):
        last = 0 if several or command.last_key == command.first_key else command.last_key
        specs.append(_map([
            (b"flags", encode.set_(_statuses(use.split()), protocol)),
            (b"begin_search", _search(b"index", [(b"index", command.first_key + offset)], protocol)),
            (b"find_keys",
             _search(b"range", [(b"lastkey", last), (b"keystep", command.key_step), (b"limit", 0)], protocol)),
        ], protocol))
    return specs


def _search(kind: bytes, numbers: list[tuple[bytes, int]], protocol: int) -> bytes:
    spec = _map([(name, encode.integer(number)) for name, number in numbers], protocol)
    return _map([(b"type", encode.bulk(kind)), (b"spec", spec)], protocol)


def _map(pairs: list[tuple[bytes, bytes]], protocol: int) -> bytes:
    return encode.map_([(encode.bulk(name), value) for name, value in pairs], protocol)


def document(command: Command, protocol: int) -> bytes:
    """Return the command's entry of COMMAND DOCS."""
    facts = [(b"summary", encode.bulk(command.summary.encode())), (b"since", encode.bulk(command.since.encode())),
             (b"group", encode.bulk(command.group.encode())), (b"complexity", encode.bulk(command.complexity.encode()))]
    arguments = arguments_of(command.full_name, len(command.key_use))
    if arguments:
        facts.append((b"arguments", encode.array([_argument(one, protocol) for one in arguments])))
    if command.subcommands:
        subs = [(sub.full_name.encode(), document(sub, protocol)) for sub in command.subcommands.values()]
        facts.append((b"subcommands", _map(subs, protocol)))
    return _map(facts, protocol)


def _argument(one: Argument, protocol: int) -> bytes:
    """Return an argument as COMMAND DOCS tells it."""
    facts = [(b"name", encode.bulk(one.name.encode())), (b"type", encode.bulk(one.type.encode()))]
    if one.key_index >= 0:
        facts.append((b"key_spec_index", encode.integer(one.key_index)))
    if one.token:
        facts.append((b"token", encode.bulk(one.token.encode())))
    flags = [name for name, holds in (("optional", one.is_optional), ("multiple", one.is_multiple)) if holds]
    if flags:
        facts.append((b"flags", encode.set_(_statuses(flags), protocol)))
    if one.arguments:
        facts.append((b"arguments", encode.array([_argument(each, protocol) for each in one.arguments])))
    return _map(facts, protocol)


def _cached(what: str, protocol: int, build: Callable[[], bytes]) -> bytes:
    reply = _whole.get((what, protocol))
    if reply is None:
        reply = _whole[what, protocol] = build()
    return reply


def command(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """COMMAND: the whole table."""
    protocol = session.protocol
    return _cached("table", protocol, lambda: encode.array([describe(one, protocol) for one in _table.values()]))


def info(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """COMMAND INFO [name ...]."""
    protocol, names = session.protocol, argv[2:]
    if not names:
        return command(core, session, argv)

    def described(name: bytes) -> bytes:
        found = find(name)
        return describe(found, protocol) if found is not None else NULLS[protocol]

    return in_pieces(core, session, names, _NAMES_A_STEP, described, lambda body: b"*%d\r\n%b" % (len(names), body))


def docs(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """COMMAND DOCS [name ...]: names that do not exist are left out."""
    protocol = session.protocol
    if len(argv) == 2:
        return _cached("docs", protocol, lambda: _documents(list(_table.values()), protocol))
    if len(argv) > MAX_DOCUMENTED + 2:
        raise Refusal(f"ERR too many names, at most {MAX_DOCUMENTED}")
    return _documents([found for name in argv[2:] if (found := find(name)) is not None], protocol)


def _documents(commands: list[Command], protocol: int) -> bytes:
    return _map([(one.full_name.encode(), document(one, protocol)) for one in commands], protocol)


def count(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """COMMAND COUNT."""
    return encode.integer(len(_table))


def list_(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN glob]."""
    everything = known()
    if len(argv) == 2:
        chosen = list(_table.values())
    elif len(argv) == 5 and argv[2].upper() == b"FILTERBY":
        chosen = _filtered(everything, argv[3].upper(), argv[4])
    else:
        raise Refusal(SYNTAX_ERROR)
    return encode.bulks([one.full_name.encode() for one in chosen])


def _filtered(commands: list[Command], by: bytes, value: bytes) -> list[Command]:
    if by == b"MODULE":
        return []
    if by == b"ACLCAT":
        wanted = "@" + value.decode("latin-1").lower()
        return [one for one in commands if wanted in categories(one)]
    if by == b"PATTERN":
        matches = matcher(value, ignore_case=True)
        return [one for one in commands if matches(one.full_name.encode())]
    raise Refusal(SYNTAX_ERROR)


def _inner(argv: list[bytes]) -> tuple[Command, list[bytes]]:
    """Return the command that COMMAND GETKEYS asks about, and its arguments."""
    inner = argv[2:]
    asked = find(inner[0])
    if asked is not None and asked.subcommands and len(inner) > 1:
        asked = asked.subcommands.get(inner[1].upper())
    if asked is None:
        raise Refusal("ERR Invalid command specified")
    if not asked.first_key:
        raise Refusal("ERR The command has no key arguments")
    if not asked.min_argc <= len(inner) <= asked.max_argc:
        raise Refusal("ERR Invalid number of arguments specified for command")
    return asked, inner


def getkeys(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """COMMAND GETKEYS command [argument ...]."""
    asked, inner = _inner(argv)
    return encode.bulks(asked.keys(inner))


def getkeysandflags(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """COMMAND GETKEYSANDFLAGS command [argument ...]."""
    asked, inner = _inner(argv)
    uses = asked.key_use
    return encode.array([
        encode.array([encode.bulk(key), encode.set_(_statuses(uses[min(at, len(uses) - 1)].split()), session.protocol)])
        for at, key in enumerate(asked.keys(inner))
    ])


_HELP = help_lines("COMMAND", [
    "(no subcommand)", "    Return details about all commands.",
    "COUNT", "    Return the total number of commands.",
    "LIST", "    Return a list of all commands.",
    "INFO [<command-name> ...]", "    Return details about multiple commands.",
    "DOCS [<command-name> ...]", "    Return documentation of commands.",
    "GETKEYS <full-command>", "    Return the keys from a full command.",
    "GETKEYSANDFLAGS <full-command>", "    Return the keys and the access flags from a full command.",
])

_sub = partial(Command, group="server", parent="command", flags="loading stale", categories="connection",
               complexity="O(N)")
_UNORDERED = ("nondeterministic_output_order",)

COMMANDS = [
    container("command", "server", "Describes the commands.", [
        _sub(name="count", arity=2, handler=count, since="2.8.13", summary="Returns the number of commands."),
        _sub(name="info", arity=-2, handler=info, since="2.8.13", tips=_UNORDERED,
             summary="Describes some commands, or all."),
        _sub(name="docs", arity=-2, handler=docs, since="7.0.0", tips=_UNORDERED,
             summary="Documents some commands, or all."),
        _sub(name="list", arity=-2, handler=list_, since="7.0.0", tips=_UNORDERED,
             summary="Returns the names of commands."),
        _sub(name="getkeys", arity=-4, handler=getkeys, since="2.8.13", summary="Returns the keys of a whole command."),
        _sub(name="getkeysandflags", arity=-4, handler=getkeysandflags, since="7.0.0",
             summary="Returns the keys of a whole command and what it does to them."),
        _sub(name="help", arity=2, handler=_HELP, since="5.0.0", summary="Returns help on the subcommands."),
    ], arity=-1, flags="loading stale", categories="connection", handler=command, since="2.8.13", complexity="O(N)",
       tips=_UNORDERED),
]
