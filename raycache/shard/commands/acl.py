"""ACL: users, as Redis has them, and how shards and gateways tell each other of them.

What lives here: ACL and its subcommands, and RC.ACCESS. What does not: what rules mean (`raycache.access`), who a
session is (`raycache.shard.guard`). Selectors, `ACL LOAD` and `ACL SAVE` are left out: there is no file, users live as
long as their cluster.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from raycache.access.log import MAX_ENTRIES, Denied
from raycache.access.rights import Catalogue, Rights
from raycache.access.user import DEFAULT, RuleError, User, new_user
from raycache.resp import encode
from raycache.resp.encode import OK
from raycache.shard.commands.arguments import integer
from raycache.shard.commands.command import Command, Refusal, container, help_lines
from raycache.shard.reach import may_reach, needed

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

_KEY_RIGHTS: Final = {1: b"%R~", 2: b"%W~", 3: b"~"}
_known: list[Catalogue] = []


def know(catalogue: Catalogue) -> None:
    """Take note of the commands there are."""
    _known[:] = [catalogue]


def setuser(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """ACL SETUSER name [rule ...]: all rules or none."""
    name = argv[2].decode("latin-1")
    try:
        user = (core.guard.users.get(name) or new_user(name)).with_rules(argv[3:])
        core.guard.put(user)
    except RuleError as error:
        raise Refusal(f"ERR {error}") from None
    return OK


def deluser(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """ACL DELUSER name [name ...] -> how many there were."""
    if DEFAULT.encode() in argv[2:]:
        raise Refusal("ERR The 'default' user cannot be removed")
    return encode.integer(sum(core.guard.delete(name.decode("latin-1")) for name in argv[2:]))


def getuser(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """ACL GETUSER name."""
    user, protocol = core.guard.users.get(argv[2].decode("latin-1")), session.protocol
    if user is None:
        return encode.null(protocol)
    bulk = encode.bulk
    keys = b" ".join([_KEY_RIGHTS[use] + pattern for use, pattern in user.patterns])
    return encode.map_([
        (bulk(b"flags"), encode.set_([bulk(flag.encode()) for flag in user.flags], protocol)),
        (bulk(b"passwords"), encode.bulks([digest.encode() for digest in user.hashes])),
        (bulk(b"commands"), bulk(" ".join(user.commands).encode())),
        (bulk(b"keys"), bulk(keys)), (bulk(b"channels"), bulk(b"")), (bulk(b"selectors"), encode.EMPTY_ARRAY),
    ], protocol)


def list_(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """ACL LIST: each user as rules that make it."""
    users = core.guard.users
    lines = [b"user %b %b" % (name.encode(), b" ".join(_words(users.get(name)))) for name in users.names()]
    return encode.bulks(lines)


def _words(user: User | None) -> list[bytes]:
    return user.words() if user is not None else []


def users(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """ACL USERS."""
    return encode.bulks([name.encode() for name in core.guard.users.names()])


def whoami(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """ACL WHOAMI."""
    return encode.bulk(session.user.encode())


def cat(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """ACL CAT [category]."""
    (catalogue,) = _known
    if len(argv) == 2:
        return encode.bulks([name.encode() for name in catalogue.by_category])
    if len(argv) > 3:
        raise Refusal("ERR wrong number of arguments for 'acl|cat' command")
    found = catalogue.by_category.get(argv[2].decode("latin-1").lower())
    if found is None:
        raise Refusal(b"ERR Unknown category '%b'" % argv[2][:128])
    return encode.bulks([name.encode() for name in sorted(found)])


def dryrun(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """ACL DRYRUN user command [argument ...]: what would be answered, without doing anything."""
    user, inner = core.guard.users.get(argv[2].decode("latin-1")), argv[3:]
    if user is None:
        raise Refusal(b"ERR User '%b' not found" % argv[2][:128])
    command = core.command_named(inner)
    if command is None:
        raise Refusal(b"ERR Command '%b' not found" % inner[0][:128])
    if not command.min_argc <= len(inner) <= command.max_argc:
        raise Refusal(f"ERR wrong number of arguments for '{command.full_name}' command")
    rights = core.guard.rights_of(user)
    return OK if rights is None or not command.needs_auth else encode.bulk(_verdict(rights, command, inner, core))


def _verdict(rights: Rights, command: Command, inner: list[bytes], core: ShardCore) -> bytes:
    if command.full_name not in rights.commands:
        return f"This user has no permissions to run the '{command.full_name}' command".encode()
    if may_reach(rights, command, inner, core.command_named):
        return b"OK"
    keys = command.keys(inner)
    if not keys:
        return b"This user has no permissions to use all keys that the command is about"
    denied = next((key for at, key in enumerate(keys) if not rights.may_use(key, needed(command, at, inner))), keys[0])
    return b"This user has no permissions to access the '%b' key" % denied[:128]


def log(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """ACL LOG [count | RESET]."""
    if len(argv) > 3:
        raise Refusal("ERR wrong number of arguments for 'acl|log' command")
    if len(argv) == 3 and argv[2].upper() == b"RESET":
        core.guard.log.clear()
        return OK
    count = integer(argv[2]) if len(argv) == 3 else 10
    entries = core.guard.log.newest(max(0, min(count, MAX_ENTRIES)))
    return encode.array([_entry(one, core.now_ms, session.protocol) for one in entries])


def _entry(one: Denied, now_ms: int, protocol: int) -> bytes:
    bulk = encode.bulk
    age_s = max(0, now_ms - one.created_ms) / 1000
    return encode.map_([
        (bulk(b"count"), encode.integer(one.count)), (bulk(b"reason"), bulk(one.reason.encode())),
        (bulk(b"context"), bulk(one.context.encode())), (bulk(b"object"), bulk(one.object)),
        (bulk(b"username"), bulk(one.user.encode("latin-1"))), (bulk(b"age-seconds"), bulk(b"%.3f" % age_s)),
        (bulk(b"client-info"), bulk(b"addr=%b" % one.address.encode())),
    ], protocol)


def genpass(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """ACL GENPASS [bits]: a random password in hex, 256 bits unless said."""
    bits = integer(argv[2]) if len(argv) == 3 else 256
    if len(argv) > 3 or not 0 < bits <= 4096:
        raise Refusal("ERR ACL GENPASS argument must be the number of bits for the output password, a positive number "
                      "up to 4096")
    digits = (bits + 3) // 4
    return encode.bulk(core.guard.randbytes((digits + 1) // 2).hex()[:digits].encode())


def no_file(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """ACL LOAD, ACL SAVE: refused."""
    raise Refusal("ERR This Redis instance is not configured to use an ACL file. Users live as long as their cluster.")


def access(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RC.ACCESS digest -> the list of users, null if that has this digest; RC.ACCESS MERGE list -> OK."""
    core.guard.must_be_member(session, "RC.ACCESS")
    if len(argv) == 2:
        held = core.guard.users
        return encode.null(session.protocol) if argv[1] == held.digest() else encode.bulk(held.to_bytes())
    if len(argv) != 3 or argv[1].upper() != b"MERGE":
        raise Refusal("ERR syntax error")
    try:
        core.guard.merge(argv[2])
    except ValueError as error:
        raise Refusal(f"ERR {error}") from None
    return OK


_HELP = help_lines("ACL", [
    "CAT [<category>]", "    List all categories, or the commands inside a category.",
    "DELUSER <username> [<username> ...]", "    Delete a list of users.",
    "DRYRUN <username> <command> [<arg> ...]", "    Tell whether the user could run the command.",
    "GETUSER <username>", "    Get the user's details.",
    "GENPASS [<bits>]", "    Generate a secure random password.",
    "LIST", "    Show users' details in config file format.",
    "LOG [<count> | RESET]", "    Show the ACL log entries.",
    "SETUSER <username> <attribute> [<attribute> ...]", "    Create or modify a user with the specified attributes.",
    "USERS", "    List all the registered usernames.",
    "WHOAMI", "    Return the current connection username.",
])

_sub = partial(Command, group="server", parent="acl", flags="admin noscript loading stale", since="6.0.0")
_open = partial(Command, group="server", parent="acl", flags="noscript loading stale", since="6.0.0")

COMMANDS = [
    container("acl", "server", "Users and what they may do.", [
        _open(name="cat", arity=-2, handler=cat, summary="Lists categories, or the commands of one."),
        _sub(name="deluser", arity=-3, handler=deluser, summary="Deletes users and closes their connections."),
        _sub(name="dryrun", arity=-4, handler=dryrun, since="7.0.0", summary="Tells whether a user may run a command."),
        _open(name="genpass", arity=-2, handler=genpass, summary="Makes a password."),
        _sub(name="getuser", arity=3, handler=getuser, summary="Returns a user's rules."),
        _open(name="help", arity=2, flags="loading stale", handler=_HELP, summary="Returns help on the subcommands."),
        _sub(name="list", arity=2, handler=list_, summary="Returns all users' rules."),
        _sub(name="load", arity=2, handler=no_file, summary="Refused: there is no file."),
        _sub(name="log", arity=-2, handler=log, summary="Returns what was refused lately."),
        _sub(name="save", arity=2, handler=no_file, summary="Refused: there is no file."),
        _sub(name="setuser", arity=-3, handler=setuser, summary="Makes or changes a user."),
        _sub(name="users", arity=2, handler=users, summary="Returns the names of all users."),
        _open(name="whoami", arity=2, handler=whoami, summary="Returns the name of this connection's user."),
    ], since="6.0.0"),
    Command(name="rc.access", arity=-2, flags="admin noscript loading stale", handler=access, group="raycache",
            since="0.1.0", summary="What shards and gateways tell each other of users."),
]
