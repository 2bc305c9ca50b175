"""CLIENT TRACKING and its kin: clients that keep values on their own side are told when those change.

What lives here: the subcommands of CLIENT, and running the commands of a session that tracks. What does not: who is
told what (`raycache.shard.tracking`), what the Python handle uses instead of CLIENT CACHING (`near`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from raycache.access.user import READ
from raycache.resp import encode
from raycache.resp.encode import OK
from raycache.shard.commands.command import SYNTAX_ERROR, Refusal, Reply, Steps
from raycache.shard.tracking import Wanted, keys_read, settle_caching

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session
    from raycache.shard.tracking import Tracking

_SWITCHES: Final = {b"BCAST": "bcast", b"OPTIN": "optin", b"OPTOUT": "optout", b"NOLOOP": "noloop"}
_NO_REDIRECT: Final = (
    "ERR REDIRECT is not supported, as there is no publish/subscribe here: use RESP3, which tells of changes on the "
    "same connection"
)
_NO_BCAST_SWITCH: Final = (
    "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a "
    "different mode."
)
_NO_OPT_SWITCH: Final = (
    "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a "
    "different mode."
)
_CACHING_WITHOUT: Final = (
    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled"
)
_MUST_NOT_OVERLAP: Final = b"Prefixes for a single client must not overlap."


def tracking(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLIENT TRACKING ON | OFF [BCAST] [PREFIX prefix ...] [OPTIN] [OPTOUT] [NOLOOP]."""
    wanted = _options(argv[3:])
    switch = argv[2].upper()
    if switch == b"OFF":
        core.tracking.stop(session)
        return OK
    if switch != b"ON":
        raise Refusal(SYNTAX_ERROR)
    _check(session.tracking, wanted)
    if wanted.bcast:
        _check_prefixes(core, session, wanted)
        if not wanted.prefixes:
            wanted.prefixes = {b""}
    core.tracking.start(session, wanted)
    return OK


def _options(words: list[bytes]) -> Wanted:
    wanted = Wanted()
    rest = iter(words)
    for word in rest:
        option = word.upper()
        if option in _SWITCHES:
            setattr(wanted, _SWITCHES[option], True)
            continue
        value = next(rest, None) if option in (b"PREFIX", b"REDIRECT") else None
        if value is None:
            raise Refusal(SYNTAX_ERROR)
        if option == b"REDIRECT":
            raise Refusal(_NO_REDIRECT)
        for other in wanted.prefixes:
            if _overlap(other, value):
                raise Refusal(b"ERR Prefix '%b' overlaps with another provided prefix '%b'. %b"
                              % (other, value, _MUST_NOT_OVERLAP))
        wanted.prefixes.add(value)
    return wanted


def _check(before: Wanted | None, wanted: Wanted) -> None:
    """Refuse what makes no sense, in the order of Redis' checks."""
    if wanted.prefixes and not wanted.bcast:
        raise Refusal("ERR PREFIX option requires BCAST mode to be enabled")
    if before is not None and before.bcast != wanted.bcast:
        raise Refusal(_NO_BCAST_SWITCH)
    if wanted.bcast and (wanted.optin or wanted.optout):
        raise Refusal("ERR OPTIN and OPTOUT are not compatible with BCAST")
    if wanted.optin and wanted.optout:
        raise Refusal("ERR You can't use both OPTIN mode and OPTOUT mode")
    if before is not None and ((before.optin and wanted.optout) or (before.optout and wanted.optin)):
        raise Refusal(_NO_OPT_SWITCH)


def _check_prefixes(core: ShardCore, session: Session, wanted: Wanted) -> None:
    if session.tracking is not None:
        for prefix in wanted.prefixes:
            for known in session.tracking.prefixes:
                if _overlap(prefix, known):
                    raise Refusal(b"ERR Prefix '%b' overlaps with an existing prefix '%b'. %b"
                                  % (prefix, known, _MUST_NOT_OVERLAP))
    rights = session.rights
    for prefix in wanted.prefixes or {b""}:  # the names of others' keys are theirs
        if rights is not None and not rights.may_walk(_literally(prefix) + b"*", READ):
            raise Refusal("NOPERM this user may hear only of keys that it may read: give PREFIXes of such")
    if not core.tracking.room_for(wanted.prefixes or {b""}):
        raise Refusal("ERR too many prefixes are listened to")


def _literally(prefix: bytes) -> bytes:
    return b"".join(b"\\" + bytes([byte]) if byte in b"*?[]\\" else bytes([byte]) for byte in prefix)


def _overlap(one: bytes, other: bytes) -> bool:
    return one.startswith(other) or other.startswith(one)


def caching(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLIENT CACHING YES | NO: of the next command, or transaction."""
    wanted, answer = session.tracking, argv[2].upper()
    if wanted is None:
        raise Refusal(_CACHING_WITHOUT)
    if answer == b"YES":
        if not wanted.optin:
            raise Refusal("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
    elif answer == b"NO":
        if not wanted.optout:
            raise Refusal("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.")
    else:
        raise Refusal(SYNTAX_ERROR)
    wanted.caching = True
    return OK


def getredir(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLIENT GETREDIR: 0 while it tracks, for nothing is ever redirected; else -1."""
    return encode.integer(-1 if session.tracking is None else 0)


def trackinginfo(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """CLIENT TRACKINGINFO."""
    wanted, protocol = session.tracking, session.protocol
    flags = [b"off"] if wanted is None else [
        name for name, is_on in (
            (b"on", True), (b"bcast", wanted.bcast),
            (b"optin", wanted.optin), (b"caching-yes", wanted.optin and wanted.caching),
            (b"optout", wanted.optout), (b"caching-no", wanted.optout and wanted.caching),
            (b"noloop", wanted.noloop),
        ) if is_on]
    return encode.map_([
        (encode.bulk(b"flags"), encode.set_([encode.bulk(flag) for flag in flags], protocol)),
        (encode.bulk(b"redirect"), getredir(core, session, argv)),
        (encode.bulk(b"prefixes"), encode.bulks(sorted(wanted.prefixes) if wanted is not None else [])),
    ], protocol)


def run_tracked(core: ShardCore, session: Session, argv: list[bytes]) -> Reply:
    """Run a command of a session that tracks: note what it reads, and whose writes these are."""
    command = core.command_named(argv)
    note_reads(core, session, argv)
    core.tracking.writer = session
    try:
        reply = core.checked(session, argv)
    finally:
        core.tracking.writer = None
    settle_caching(session, command)
    wanted = session.tracking
    if isinstance(reply, bytes) or wanted is None or not wanted.noloop:
        return reply
    return _as_writer(core.tracking, session, reply)


def note_reads(core: ShardCore, session: Session, argv: list[bytes]) -> None:
    """Note what a command of a session that tracks is about to read, unless it may not."""
    wanted = session.tracking
    if wanted is None or not wanted.notes_reads:
        return
    command = core.command_named(argv)
    keys = keys_read(session, command, argv)
    if keys and command is not None and core.guard.refusal(session, command, argv, is_logged=False) is None:
        core.tracking.remember(session, keys)


def _as_writer(tracking: Tracking, session: Session, steps: Steps) -> Steps:
    """Run `steps`; what they write is the session's own."""
    try:
        while True:
            tracking.writer = session
            try:
                wait = next(steps)
            finally:
                tracking.writer = None
            yield wait
    except StopIteration as stop:
        reply: bytes = stop.value
        return reply
    finally:
        steps.close()
