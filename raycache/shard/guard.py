"""The guard at a door: who a session is, what it may do, and what was refused.

What lives here: identities and their rights, for one shard or gateway, and the log of refusals. What does not: the list
of users (`raycache.access`), which keys a command touches (`reach`), ACL's commands (`commands.acl`). Belongs to the
loop of its core.

A session that may do everything has no rights to look at (`Session.rights` is None): it goes the way it would go if
there were no users. The cluster's secret is above all users: whoever shows it is a member, whatever `default` may do.
"""

from __future__ import annotations

import hmac
import logging
import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from raycache.access.log import DeniedLog
from raycache.access.rights import Rights
from raycache.access.user import DEFAULT, User
from raycache.access.users import Users
from raycache.resp import encode
from raycache.shard.commands import CATALOGUE, resolve
from raycache.shard.commands.command import Command, Refusal
from raycache.shard.reach import may_reach

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

log = logging.getLogger(__name__)

WRONG_PASS: Final = "WRONGPASS invalid username-password pair or user is disabled."
_NO_KEY: Final = encode.error("NOPERM this user has no permissions to access one of the keys used as arguments")
MAX_FAILURES: Final = 8
"""Wrong passwords after which a connection is closed: whoever mistypes does so less often, and a guesser has to
connect anew."""


class Guard:
    """Knows the users of one cluster and the rights of each session.

    Args:
        core: whose sessions these are.
        users: those that the cluster was started with.
    """

    def __init__(self, core: ShardCore, users: Iterable[User] = ()) -> None:
        self._core = core
        self.users = Users(users)
        self.log = DeniedLog()
        self.randbytes: Callable[[int], bytes] = random.SystemRandom().randbytes
        self.needs_certificate = False
        """Whether members must have shown a certificate of the cluster's, too: so where its doors speak TLS."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when users have changed here, and not by `merge`."""
        self._rights: dict[str, Rights | None] = {}

    # Sessions

    def begin(self, session: Session) -> None:
        """Make `session` what it is before anybody has said who it is: `default`, if that may come in unasked."""
        default = self.users.default
        session.is_peer, session.is_anonymous = False, True
        is_free = not self._core.require_auth and default.is_enabled and default.is_open
        self._become(session, default, is_in=is_free)

    def authenticate(self, session: Session, name: bytes, password: bytes) -> None:
        """Let `session` in as a user or as a member of the cluster, or refuse. Compared in constant time."""
        core, secret = self._core, self._core.secret
        if secret is not None:
            is_member = hmac.compare_digest(password, secret.encode())
            if is_member and name == DEFAULT.encode():
                session.user, session.rights, session.is_peer = DEFAULT, None, True
                session.authenticated, session.is_anonymous = True, False
                session.refresh()
                return
        may_be_open = not core.require_auth and not (name == DEFAULT.encode() and secret is not None)
        user = self.users.owner_of(name.decode("latin-1"), password, may_be_open=may_be_open)
        if user is None:
            session.auth_failures += 1
            session.closing = session.auth_failures >= MAX_FAILURES
            self.log.add("auth", "toplevel", b"AUTH", name.decode("latin-1"), session.address, core.now_ms)
            raise Refusal(WRONG_PASS)
        session.is_peer = session.is_anonymous = False
        self._become(session, user, is_in=True)

    def _become(self, session: Session, user: User, *, is_in: bool) -> None:
        session.user, session.rights, session.authenticated = user.name, self.rights_of(user), is_in
        session.refresh()

    def must_be_member(self, session: Session, what: str) -> None:
        """Refuse those who are no part of the cluster: shards, gateways and the router show its secret.

        Raises:
            Refusal: it has not, or has no certificate where there are such.
        """
        if not session.is_peer:
            raise Refusal(f"NOAUTH {what} is for those who have shown the cluster's secret")
        if self.needs_certificate and not session.has_certificate:
            raise Refusal(f"NOAUTH {what} is for those who have shown a certificate of the cluster's")

    # Commands

    def refusal(self, session: Session, command: Command, argv: list[bytes], *, is_logged: bool = True) -> bytes | None:
        """Return the reply to a command that `session` may not send, None if it may.

        Args:
            argv: a command whose arity has been checked.
        """
        rights = session.rights
        if rights is None or not command.needs_auth:
            return None
        denied, kind, reply = denied_by(rights, command, argv)
        if denied is None:
            return None
        if is_logged:
            context = "multi" if session.multi is not None else "toplevel"
            self.log.add(kind, context, denied, session.user, session.address, self._core.now_ms)
        return reply

    # Users

    def rights_of(self, user: User) -> Rights | None:
        """Return what a user may do; None: everything."""
        if user.name not in self._rights:
            rights = Rights(user, CATALOGUE)
            is_full = rights.has_all_keys and rights.commands == CATALOGUE.commands
            self._rights[user.name] = None if is_full else rights
        return self._rights[user.name]

    def put(self, user: User) -> None:
        """Change a user, or make it.

        Raises:
            Refusal: there are too many, or it would let strangers in where the doors demand a secret.
            RuleError: it speaks of what does not exist.
        """
        CATALOGUE.check(user)
        if user.is_open and self._core.require_auth and user.is_enabled and user.name != DEFAULT:
            raise Refusal("ERR nopass is refused beyond loopback: give the user a password")
        try:
            self.users.put(user, self._core.now_ms)
        except ValueError as error:
            raise Refusal(f"ERR {error}") from None
        self._changed({user.name})
        self.on_change()

    def delete(self, name: str) -> bool:
        """Delete a user and close its connections; return whether there was one."""
        if not self.users.delete(name, self._core.now_ms):
            return False
        self._changed({name})
        self.on_change()
        return True

    def merge(self, packed: bytes) -> bool:
        """Take in another's list of users; return whether this one knows more than that now.

        Raises:
            ValueError: it cannot be read.
        """
        if packed != self.users.to_bytes():
            self._changed(self.users.merge(packed))
        return packed != self.users.to_bytes()

    def take(self, packed: bytes) -> bytes | None:
        """Take in the router's list of users; return this one if that says more now."""
        try:
            return self.users.to_bytes() if self.merge(packed) else None
        except ValueError as error:
            log.warning("a list of users that cannot be read was ignored: %s", error)
            return None

    def _changed(self, names: set[str]) -> None:
        """Give every session of a changed user its new rights, at once; who was deleted is disconnected."""
        for name in names:
            self._rights.pop(name, None)
        for session in list(self._core.sessions.values()) if names else ():
            if session.user not in names or session.is_peer:
                continue
            user = self.users.get(session.user)
            if user is None:
                session.authenticated = session.plain = False
                if session.kill is not None:
                    session.kill()
            elif session.is_anonymous:
                self.begin(session)
            else:
                session.rights = self.rights_of(user)
                session.refresh()


def denied_by(rights: Rights, command: Command, argv: list[bytes]) -> tuple[bytes | None, str, bytes]:
    """Return what of a command is denied (its name, or its keys; None: nothing), the kind of that, and the reply."""
    name = command.full_name
    if name not in rights.commands:
        text = f"NOPERM this user has no permissions to run the '{name}' command"
        return name.encode(), "command", encode.error(text)
    if not may_reach(rights, command, argv, resolve):
        keys = command.keys(argv)
        return b" ".join(keys[:4])[:128] or name.encode(), "key", _NO_KEY
    return None, "", b""
