"""Who is to hear that a key has changed: sessions that cache on their own side (CLIENT TRACKING).

What lives here: the table of keys and sessions, prefixes, and what is to be announced. What does not: the commands
(`commands/tracking`, `commands/near`), sending (`server`). Pure; belongs to the loop of its core.

What makes it right:

* A key is noted *before* the command runs that reads it, and a change takes the note away and puts the key among what
  is due. So a change that falls into a long command is announced, and the shell sends announcements behind replies
  that are under way as well (`Connection.push`): whoever keeps what a reply says hears afterwards that it is old.
* A note is dropped only with an announcement: when the table is full, and when the shard may not hear of changes any
  more (its slots have gone, its lease is over), which announces everything at once.
* Expiry and eviction are announced by the store itself (`Store.on_leave`), in the moment of removal.

While nobody tracks there is nothing to look at: the one test that writes make is that of `ShardCore.watched`, which
they make for WATCH anyway, and a session that tracks is not a plain one (`Session.plain`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from raycache.resp import encode

if TYPE_CHECKING:
    from raycache.shard.commands.command import Command
    from raycache.shard.session import Session

SHARE: Final = 16
"""The table takes this part of a shard's capacity at most, beside it."""
KEY_BYTES: Final = 250
"""What a key takes in the table beyond its own bytes: a place in an ordered dict, the bytes object."""
SET_BYTES: Final = 216
ID_BYTES: Final = 64
MAX_DUE: Final = 16_384
MAX_DUE_BYTES: Final = 1 << 20
"""Beyond so many keys at once, or so many bytes of them, a session is told that everything has changed."""
MAX_PREFIXES: Final = 1024
"""Prefixes that all sessions together listen to: each write looks once at each length among them."""

_HEAD: Final = b">2\r\n$10\r\ninvalidate\r\n"
ALL_CHANGED: Final = _HEAD + b"_\r\n"
"""Everything may have changed."""


@dataclass(slots=True)
class Wanted:
    """What a session has asked for with CLIENT TRACKING ON."""

    bcast: bool = False
    optin: bool = False
    optout: bool = False
    noloop: bool = False
    prefixes: set[bytes] = field(default_factory=set)
    caching: bool = False
    """CLIENT CACHING has been said for the next command."""
    token: bytes = b""
    """Under which other connections of the same handle read for it (RC.LINK)."""
    whole: bool = False
    """Whether they want large values themselves: their process reaches no object store."""

    @property
    def notes_reads(self) -> bool:
        """Whether what is read now is to be noted."""
        return not self.bcast and (self.caching if self.optin else not (self.optout and self.caching))


class Tracking:
    """The sessions of one core that track, and what they are to hear.

    Args:
        limit_bytes: what the table of keys may take.
        on_use: told whether anybody tracks anything, whenever that changes.
    """

    def __init__(self, limit_bytes: int, on_use: Callable[[bool], None]) -> None:
        self.limit_bytes = limit_bytes
        self._on_use = on_use
        self.sessions: dict[int, Session] = {}
        """Those that track, by their ids."""
        self.links: dict[bytes, Session] = {}
        """By the tokens under which others read for them."""
        self._keys: OrderedDict[bytes, int | set[int]] = OrderedDict()
        self._bytes = 0
        self._prefixes: dict[int, dict[bytes, set[int]]] = {}
        """Length -> prefixes -> who listens."""
        self.due: dict[int, dict[bytes, None] | None] = {}
        """Session -> the keys that it is to hear of; None: everything."""
        self.on_due: Callable[[], None] = lambda: None
        """Called when there is something to announce, after there was nothing."""
        self.writer: Session | None = None
        """Whose command runs now, as far as it tracks itself: NOLOOP."""
        self.dropped = 0
        """Keys announced only because the table was full."""

    # Who tracks

    def start(self, session: Session, wanted: Wanted) -> None:
        """Let `session` track, or track in another way; prefixes come in addition to those that it has."""
        before = session.tracking
        for prefix in wanted.prefixes:
            self._prefixes.setdefault(len(prefix), {}).setdefault(prefix, set()).add(session.id)
        if before is not None:
            wanted.prefixes |= before.prefixes
            wanted.token = before.token
        session.tracking = wanted
        session.refresh()
        self.sessions[session.id] = session
        if len(self.sessions) == 1:
            self._on_use(True)

    def stop(self, session: Session) -> None:
        """Let `session` track nothing any more. Harmless if it does not."""
        wanted, session.tracking = session.tracking, None
        if wanted is None:
            return
        for prefix in wanted.prefixes:
            listeners = self._prefixes[len(prefix)][prefix]
            listeners.discard(session.id)
            if not listeners:
                del self._prefixes[len(prefix)][prefix]
                if not self._prefixes[len(prefix)]:
                    del self._prefixes[len(prefix)]
        if self.links.get(wanted.token) is session:
            del self.links[wanted.token]
        self.sessions.pop(session.id, None)
        self.due.pop(session.id, None)
        session.refresh()
        if not self.sessions:
            self._keys.clear()
            self._bytes = 0
            self._on_use(False)

    def link(self, session: Session, token: bytes, *, whole: bool = False) -> None:
        """Let other connections read for `session`, which tracks, under `token`; `whole`: see `Wanted`."""
        wanted = session.tracking
        assert wanted is not None
        self.links.pop(wanted.token, None)
        wanted.token, wanted.whole = token, whole
        self.links[token] = session

    def room_for(self, prefixes: Iterable[bytes]) -> bool:
        """Return whether so many more prefixes may be listened to."""
        return sum(map(len, self._prefixes.values())) + len(set(prefixes)) <= MAX_PREFIXES

    @property
    def key_count(self) -> int:
        """Keys in the table."""
        return len(self._keys)

    @property
    def prefix_count(self) -> int:
        """Prefixes that are listened to."""
        return sum(map(len, self._prefixes.values()))

    # What they have read

    def remember(self, session: Session, keys: Iterable[bytes]) -> None:
        """Note that `session` reads `keys`."""
        table, number = self._keys, session.id
        for key in keys:
            ids = table.get(key)
            if ids is None:
                table[key] = number
                self._bytes += KEY_BYTES + len(key)
            elif type(ids) is int:
                if ids != number:
                    table[key] = {ids, number}
                    self._bytes += SET_BYTES + 2 * ID_BYTES
            elif number not in ids:  # type: ignore[operator]
                ids.add(number)  # type: ignore[union-attr]
                self._bytes += ID_BYTES
        while self._bytes > self.limit_bytes and table:
            self.dropped += 1
            self._announce(*table.popitem(last=False))

    # What has changed

    def changed(self, key: bytes) -> None:
        """Take in that `key` was written, or has gone."""
        if self._prefixes:
            for length, prefixes in self._prefixes.items():
                for number in prefixes.get(key[:length], ()):
                    self._tell(number, key)
        ids = self._keys.pop(key, None)
        if ids is not None:
            self._announce(key, ids)

    def all_changed(self) -> None:
        """Take in that everything may have changed, or that changes may not be heard of here any more."""
        self._keys.clear()
        self._bytes = 0
        if self.sessions and not self.due:
            self.on_due()
        for number in self.sessions:
            self.due[number] = None

    def take(self) -> list[tuple[Session, bytes]]:
        """Return what is to be sent now, and to whom; nothing is due afterwards."""
        due = [(self.sessions[number], keys) for number, keys in self.due.items()]
        self.due.clear()
        # Without RESP3 there is no way to say it on the same connection; Redis says nothing either.
        return [(session, _message(keys)) for session, keys in due if session.protocol == 3]

    def _announce(self, key: bytes, ids: int | set[int]) -> None:
        self._bytes -= KEY_BYTES + len(key)
        if isinstance(ids, int):
            self._tell(ids, key)
            return
        self._bytes -= SET_BYTES + ID_BYTES * len(ids)
        for number in ids:
            self._tell(number, key)

    def _tell(self, number: int, key: bytes) -> None:
        session = self.sessions.get(number)
        if session is None or (session is self.writer and session.tracking is not None and session.tracking.noloop):
            return
        if not self.due:
            self.on_due()
        keys = self.due.setdefault(number, {})
        if keys is not None:
            keys[key] = None
            if len(keys) > MAX_DUE:
                self.due[number] = None


def _message(keys: dict[bytes, None] | None) -> bytes:
    if keys is None or sum(map(len, keys)) > MAX_DUE_BYTES:
        return ALL_CHANGED
    return _HEAD + encode.bulks(keys)


def keys_read(session: Session, command: Command | None, argv: list[bytes]) -> list[bytes]:
    """Return the keys that a command of `session` reads now, for EXEC those of all that it has queued."""
    if command is None or not command.min_argc <= len(argv) <= command.max_argc:
        return []
    if session.multi is not None:
        if command.full_name != "exec" or session.multi_error:
            return []
        return [key for queued, words in session.multi if queued.is_read for key in queued.keys(words)]
    return command.keys(argv) if command.is_read and command.first_key else []


def settle_caching(session: Session, command: Command | None) -> None:
    """Take note that a command has run: CLIENT CACHING counts for one, or for one transaction."""
    wanted = session.tracking
    if wanted is not None and session.multi is None and (command is None or command.parent != "client"):
        wanted.caching = False
