"""CLIENT: what a connection says of itself, and who else is connected.

What lives here: CLIENT and its subcommands, but for those of tracking (`tracking`). Anything newer than Redis 7 that we
do not know is an unknown subcommand: an error, and the connection goes on.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from raycache.resp import encode
from raycache.resp.encode import OK
from raycache.shard.commands import tracking
from raycache.shard.commands.access import LONG_KEYS, in_pieces
from raycache.shard.commands.arguments import integer
from raycache.shard.commands.command import SYNTAX_ERROR, Command, Refusal, Reply, container, help_lines
from raycache.shard.commands.connection import check_name
from raycache.shard.session import REPLY_OFF, REPLY_ON, REPLY_SKIP, Session

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore

_TYPES = (b"normal", b"master", b"replica", b"slave", b"pubsub")


def client_id(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLIENT ID."""
    return encode.integer(session.id)


def setname(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLIENT SETNAME name: an empty one takes the name away."""
    check_name(argv[2])
    session.name = argv[2]
    return OK


def getname(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLIENT GETNAME."""
    return encode.bulk(session.name or None, session.protocol)


def setinfo(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLIENT SETINFO LIB-NAME name | LIB-VER version. From Redis 7.2, sent by every newer driver."""
    option = argv[2].upper()
    if option not in (b"LIB-NAME", b"LIB-VER"):
        raise Refusal(b"ERR Unrecognized option '%b'" % argv[2])
    check_name(argv[3], b"ERR %b cannot contain spaces, newlines or special characters." % option.lower())
    if option == b"LIB-NAME":
        session.lib_name = argv[3]
    else:
        session.lib_ver = argv[3]
    return OK


def describe(core: ShardCore, session: Session) -> bytes:
    """Return the line of one session, in the words of CLIENT LIST."""
    wanted = session.tracking
    flags = b"%b%b%b" % (b"x" if session.multi is not None else b"", b"t" if wanted is not None else b"",
                         b"B" if wanted is not None and wanted.bcast else b"")
    queued = len(session.multi) if session.multi is not None else -1
    age_s, idle_s = ((core.now_ms - since_ms) // 1000 for since_ms in (session.created_ms, session.last_ms))
    return (
        b"id=%d addr=%b laddr=%b fd=-1 name=%b age=%d idle=%d flags=%b db=0 sub=0 psub=0 ssub=0 multi=%d watch=%d "
        b"cmd=%b user=%b redir=%d resp=%d lib-name=%b lib-ver=%b"
    ) % (session.id, session.address.encode(), session.local_address.encode(), session.name, age_s, idle_s,
         flags or b"N", queued,
         len(session.watched), session.last_command.encode(), session.user.encode(),
         -1 if wanted is None else 0, session.protocol,
         session.lib_name, session.lib_ver)


def info(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLIENT INFO."""
    return encode.verbatim(describe(core, session) + b"\n", session.protocol)


def list_(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """CLIENT LIST [TYPE type] [ID id [id ...]]."""
    chosen = list(core.sessions.values())
    if len(argv) == 4 and argv[2].upper() == b"TYPE":
        if not _is_normal(argv[3]):
            chosen = []
    elif len(argv) > 3 and argv[2].upper() == b"ID":
        ids = [integer(word, "ERR Invalid client ID") for word in argv[3:]]
        chosen = [core.sessions[wanted] for wanted in ids if wanted in core.sessions]
    elif len(argv) != 2:
        raise Refusal(SYNTAX_ERROR)
    return in_pieces(core, session, chosen, LONG_KEYS, lambda one: describe(core, one) + b"\n",
                     partial(encode.verbatim, protocol=session.protocol))


def _is_normal(name: bytes) -> bool:
    if name.lower() not in _TYPES:
        raise Refusal(b"ERR Unknown client type '%b'" % name)
    return name.lower() == b"normal"


def kill(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLIENT KILL address | CLIENT KILL [ID id] [ADDR a] [LADDR a] [TYPE t] [USER u] [SKIPME yes|no] ..."""
    if len(argv) == 3:
        victims = [one for one in core.sessions.values() if one.address.encode() == argv[2]]
        if not victims:
            raise Refusal("ERR No such client")
        _close(victims, session)
        return OK
    victims = _kill_choice(core, session, argv[2:])
    _close(victims, session)
    return encode.integer(len(victims))


def _kill_choice(core: ShardCore, session: Session, words: list[bytes]) -> list[Session]:
    """Return the sessions that every filter of CLIENT KILL fits."""
    chosen = list(core.sessions.values())
    skip_me = True
    if len(words) % 2:
        raise Refusal(SYNTAX_ERROR)
    for option, value in zip(words[::2], words[1::2], strict=True):
        name = option.upper()
        if name == b"ID":
            wanted = integer(value, "ERR client-id should be greater than 0")
            if wanted < 1:
                raise Refusal("ERR client-id should be greater than 0")
            chosen = [one for one in chosen if one.id == wanted]
        elif name == b"ADDR":
            chosen = [one for one in chosen if one.address.encode() == value]
        elif name == b"LADDR":
            chosen = [one for one in chosen if one.local_address.encode() == value]
        elif name == b"TYPE":
            chosen = chosen if _is_normal(value) else []
        elif name == b"USER":
            if value != b"default":
                raise Refusal(b"ERR No such user '%b'" % value)
        elif name == b"SKIPME" and value.lower() in (b"yes", b"no"):
            skip_me = value.lower() == b"yes"
        else:
            raise Refusal(SYNTAX_ERROR)
    return [one for one in chosen if one is not session or not skip_me]


def _close(victims: list[Session], session: Session) -> None:
    """Close connections: others at once, the asking one after its reply."""
    for victim in victims:
        victim.closing = True
        if victim is not session and victim.kill is not None:
            victim.kill()


def no_evict(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLIENT NO-EVICT ON | OFF: connections are not evicted for memory here, so it is only remembered."""
    if argv[2].upper() not in (b"ON", b"OFF"):
        raise Refusal(SYNTAX_ERROR)
    session.no_evict = argv[2].upper() == b"ON"
    return OK


def reply(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLIENT REPLY ON | OFF | SKIP."""
    mode = argv[2].upper()
    if mode not in (b"ON", b"OFF", b"SKIP"):
        raise Refusal(SYNTAX_ERROR)
    if mode == b"ON":
        session.reply = REPLY_ON
    elif mode == b"OFF" or session.reply == REPLY_OFF:
        session.reply = REPLY_OFF
    else:
        session.reply = REPLY_SKIP
    session.refresh()
    return OK if mode == b"ON" else b""


_HELP = help_lines("CLIENT", [
    "CACHING (YES|NO)", "    Track the keys of the next command, or do not, in OPTIN or OPTOUT mode.",
    "GETNAME", "    Return the name of the current connection.",
    "GETREDIR", "    Return 0 while the connection tracks keys, else -1: nothing is redirected.",
    "ID", "    Return the ID of the current connection.",
    "INFO", "    Return information about the current client connection.",
    "KILL <ip:port>", "    Kill connection made from <ip:port>.",
    "KILL <option> <value> [<option> <value> [...]]", "    Kill connections by ID, ADDR, LADDR, TYPE, USER, SKIPME.",
    "LIST [options ...]", "    Return information about client connections.",
    "NO-EVICT (ON|OFF)", "    Accepted; connections are never evicted.",
    "REPLY (ON|OFF|SKIP)", "    Control the replies sent to the current connection.",
    "SETINFO (LIB-NAME|LIB-VER) <value>", "    Name the client library.",
    "SETNAME <name>", "    Assign the name <name> to the current connection.",
    "TRACKING (ON|OFF) [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
    "    Control whether the connection is told when keys change.",
    "TRACKINGINFO", "    Report how the connection tracks keys.",
])

_sub = partial(Command, group="connection", parent="client", categories="connection")
_QUIET = "noscript loading stale"
_ADMIN = "admin noscript loading stale"

COMMANDS = [
    container("client", "connection", "Says who is connected.", [
        _sub(name="id", arity=2, flags=_QUIET, handler=client_id, since="5.0.0",
             summary="Returns the connection's number."),
        _sub(name="setname", arity=3, flags=_QUIET, handler=setname, since="2.6.9", summary="Names the connection."),
        _sub(name="getname", arity=2, flags=_QUIET, handler=getname, since="2.6.9",
             summary="Returns the connection's name."),
        _sub(name="setinfo", arity=4, flags=_QUIET, handler=setinfo, since="7.2.0",
             summary="Names the client library."),
        _sub(name="info", arity=2, flags=_QUIET, handler=info, since="6.2.0", tips=("nondeterministic_output",),
             summary="Describes the connection."),
        _sub(name="list", arity=-2, flags=_ADMIN, handler=list_, since="2.4.0", complexity="O(N)",
             tips=("nondeterministic_output",),
             summary="Describes every connection."),
        _sub(name="kill", arity=-3, flags=_ADMIN, handler=kill, since="2.4.0", complexity="O(N)",
             summary="Closes connections."),
        _sub(name="no-evict", arity=3, flags=_ADMIN, handler=no_evict, since="7.0.0",
             summary="Accepted; changes nothing."),
        _sub(name="reply", arity=3, flags=_QUIET, handler=reply, since="3.2.0", summary="Turns replies off and on."),
        _sub(name="tracking", arity=-3, flags=_QUIET, handler=tracking.tracking, since="6.0.0",
             summary="Turns on and off that the connection is told when keys change that it has read."),
        _sub(name="caching", arity=3, flags=_QUIET, handler=tracking.caching, since="6.0.0",
             summary="Says whether what the next command reads is tracked."),
        _sub(name="trackinginfo", arity=2, flags=_QUIET, handler=tracking.trackinginfo, since="6.2.0",
             summary="Describes how the connection tracks."),
        _sub(name="getredir", arity=2, flags=_QUIET, handler=tracking.getredir, since="6.0.0",
             summary="Returns 0 while the connection tracks, else -1."),
        _sub(name="help", arity=2, flags="loading stale", handler=_HELP, since="5.0.0",
             summary="Returns help on the subcommands."),
    ], since="2.4.0"),
]
