"""The connection itself: greeting, secret, protocol.

What lives here: PING, ECHO, HELLO, AUTH, SELECT, QUIT, RESET and what cluster clients say about
reading from replicas. What does not: CLIENT (`client`), sockets.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final

from raycache.resp import encode
from raycache.resp.encode import OK, PONG
from raycache.shard.commands.arguments import check_database, int64
from raycache.shard.commands.command import Command, Refusal
from raycache.shard.session import REPLY_ON

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

REDIS_VERSION: Final = "7.0.15"
"""What clients that ask for a version get: the Redis whose behaviour is matched."""
HELLO_VERSION: Final = "7.4.0"
"""What HELLO says instead: redis-py refuses to cache on its side where that is less (tracking itself is as
in 7.0)."""

_DEFAULT_USER: Final = b"default"
_NO_PASSWORD: Final = (
    "ERR AUTH <password> called without any password configured for the default user. "
    "Are you sure your configuration is correct?"
)
_HELLO_FIRST: Final = (
    "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> "
    "option can be used to authenticate the client and select the RESP protocol version at the same time"
)
BAD_NAME: Final = "ERR Client names cannot contain spaces, newlines or special characters."


MAX_NAME_BYTES: Final = 4096
"""Redis has no limit; but no budget counts these names, and CLIENT LIST repeats them."""
_PRINTABLE: Final = re.compile(rb"[!-~]*")


def check_name(text: bytes, refusal: str | bytes = BAD_NAME) -> None:
    """Refuse what may not name a client: blanks, anything beyond ASCII, more than `MAX_NAME_BYTES`."""
    if len(text) > MAX_NAME_BYTES:
        raise Refusal(f"ERR name is too long ({len(text)} bytes, at most {MAX_NAME_BYTES})")
    if not _PRINTABLE.fullmatch(text):
        raise Refusal(refusal)


def ping(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """PING [message]."""
    if len(argv) > 2:
        raise Refusal("ERR wrong number of arguments for 'ping' command")
    return PONG if len(argv) == 1 else encode.bulk(argv[1])


def echo(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """ECHO message."""
    return encode.bulk(argv[1])


def select(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """SELECT 0: there is one database."""
    check_database(argv[1])
    return OK


def auth(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """AUTH [user] secret."""
    if len(argv) > 3:
        raise Refusal("ERR syntax error")
    if len(argv) == 2 and core.secret is None and core.guard.users.default.is_open:
        raise Refusal(_NO_PASSWORD)
    core.guard.authenticate(session, argv[1] if len(argv) == 3 else _DEFAULT_USER, argv[-1])
    return OK


def hello(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """HELLO [2 | 3 [AUTH user secret] [SETNAME name]]."""
    protocol = session.protocol
    if len(argv) > 1:
        number = int64(argv[1])
        if number is None:
            raise Refusal("ERR Protocol version is not an integer or out of range")
        if number not in (2, 3):
            raise Refusal("NOPROTO unsupported protocol version")
        protocol = number
    credentials, name = _hello_options(argv[2:])
    if credentials is not None:
        core.guard.authenticate(session, *credentials)
    if not session.authenticated:
        raise Refusal(_HELLO_FIRST)
    if name is not None:
        session.name = name
    session.protocol = protocol
    return _greeting(core, session)


def _hello_options(words: list[bytes]) -> tuple[tuple[bytes, bytes] | None, bytes | None]:
    """Return user and secret, and the client's name, each None if not given."""
    credentials, name = None, None
    at = 0
    while at < len(words):
        option, left = words[at].upper(), len(words) - at - 1
        if option == b"AUTH" and left >= 2:
            credentials = (words[at + 1], words[at + 2])
            at += 3
        elif option == b"SETNAME" and left >= 1:
            name = words[at + 1]
            check_name(name)
            at += 2
        else:
            raise Refusal(b"ERR Syntax error in HELLO option '%b'" % words[at])
    return credentials, name


def _greeting(core: ShardCore, session: Session) -> bytes:
    protocol, bulk = session.protocol, encode.bulk
    return encode.map_([
        (bulk(b"server"), bulk(b"redis")),
        (bulk(b"version"), bulk(HELLO_VERSION.encode())),
        (bulk(b"proto"), encode.integer(protocol)),
        (bulk(b"id"), encode.integer(session.id)),
        (bulk(b"mode"), bulk(b"cluster" if core.topology is not None else b"standalone")),
        (bulk(b"role"), bulk(b"master")),
        (bulk(b"modules"), encode.EMPTY_ARRAY),
    ], protocol)


def quit_(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """QUIT."""
    session.closing = True
    return OK


def reset(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """RESET: as a new connection, which has not shown its secret."""
    core.watch.forget(session)
    core.tracking.stop(session)
    session.end_transaction()
    session.protocol, session.name, session.reply = 2, b"", REPLY_ON
    session.readonly = session.asking = session.no_evict = False
    core.guard.begin(session)
    return encode.simple(b"RESET")


def _clustered(core: ShardCore) -> None:
    if core.topology is None:
        raise Refusal("ERR This instance has cluster support disabled")


def readonly(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """READONLY: reads of slots that this shard is a replica of are answered from now on."""
    _clustered(core)
    session.readonly = True
    return OK


def readwrite(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """READWRITE."""
    _clustered(core)
    session.readonly = False
    return OK


def asking(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """ASKING: taken for the next command and changes nothing: a slot's new owner serves it from the start."""
    _clustered(core)
    session.asking = True
    session.refresh()
    return OK


_open = partial(Command, group="connection", categories="connection")
_NO_AUTH = "noscript loading stale fast no_auth allow_busy"

COMMANDS = [
    _open(name="ping", arity=-1, flags="fast", handler=ping,
          tips=("request_policy:all_shards", "response_policy:all_succeeded"),
          summary="Answers PONG, or the message."),
    _open(name="echo", arity=2, flags="loading stale fast", handler=echo, summary="Returns the message."),
    _open(name="select", arity=2, flags="loading stale fast", handler=select,
          summary="Selects the database; there is only 0."),
    _open(name="auth", arity=-2, flags=_NO_AUTH, handler=auth, summary="Shows the cluster's secret."),
    _open(name="hello", arity=-1, flags=_NO_AUTH, handler=hello, since="6.0.0",
          summary="Greets the server, chooses the protocol, shows the secret."),
    _open(name="quit", arity=-1, flags=_NO_AUTH, handler=quit_, summary="Closes the connection."),
    _open(name="reset", arity=1, flags=_NO_AUTH, handler=reset, since="6.2.0",
          summary="Makes the connection as if new."),
    _open(name="readonly", arity=1, flags="loading stale fast", handler=readonly, group="cluster", since="3.0.0",
          summary="Allows reads from replicas."),
    _open(name="readwrite", arity=1, flags="loading stale fast", handler=readwrite, group="cluster", since="3.0.0",
          summary="Ends READONLY."),
    _open(name="asking", arity=1, flags="fast", handler=asking, group="cluster", since="3.0.0",
          summary="Says that the next command follows an ASK redirection."),
]
