"""One user as a value, and the rules that change it.

What lives here: `User`, the words of `ACL SETUSER`, and how a user is written. What does not: what the rules allow
(`rights`), all users together (`users`). Pure.

Passwords are never kept: a user has SHA-256 hashes of them, as in Redis, so that hashes can be moved from there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

READ: Final = 1
WRITE: Final = 2

MAX_RULES: Final = 1000
"""Rules, patterns or passwords of one user; each of them is looked at whenever its rights are worked out."""
MAX_RULE_BYTES: Final = 4096
"""The longest rule; as long as the longest pattern that is compiled."""
DEFAULT: Final = "default"
"""The user of whoever has not said who it is."""

_NAME: Final = re.compile(r"[!-~]{1,256}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_COMMAND: Final = re.compile(r"[a-z0-9_.-]+(\|[a-z0-9_.-]+)?")
_CATEGORY: Final = re.compile(r"@[a-z0-9_-]+")
_RIGHTS_OF: Final = {READ: b"%R~", WRITE: b"%W~", READ | WRITE: b"~"}

Pattern = tuple[int, bytes]
"""What may be done (`READ`, `WRITE` or both) with keys that match, and Redis' glob pattern."""


class RuleError(ValueError):
    """A rule that makes no sense; the text never repeats a password."""


@dataclass(frozen=True, slots=True)
class User:
    """A user. `version` says which of two states of it is the newer one, on whatever shard they were made."""

    name: str
    is_enabled: bool = False
    is_open: bool = False
    """Any password will do (`nopass`)."""
    hashes: tuple[str, ...] = field(default=(), repr=False)
    """SHA-256 of each password, in hex."""
    commands: tuple[str, ...] = ("-@all",)
    """Rules such as "+@read" or "-config|set"; the last one that fits a command counts."""
    patterns: tuple[Pattern, ...] = ()
    version: int = 0
    is_deleted: bool = False
    """Deleted, and remembered so that no older state of it comes back from another shard."""

    def with_rules(self, rules: Iterable[str | bytes]) -> User:
        """Return this user after `rules`, words as ACL SETUSER takes them.

        Raises:
            RuleError: one of them makes no sense; then none counts.
        """
        user = replace(self, is_deleted=False)
        for rule in rules:
            word = rule if isinstance(rule, bytes) else rule.encode()
            if len(word) > MAX_RULE_BYTES:
                raise RuleError(f"a rule is too long ({len(word)} bytes, at most {MAX_RULE_BYTES})")
            user = _applied(user, word)
        if max(map(len, (user.hashes, user.commands, user.patterns))) > MAX_RULES:
            raise RuleError(f"too many rules, at most {MAX_RULES} of a kind")
        return user

    @property
    def flags(self) -> list[str]:
        """Its flags, in Redis' words."""
        return ["on" if self.is_enabled else "off", *(["nopass"] if self.is_open else [])]

    def words(self) -> list[bytes]:
        """Return rules that make this user from a new one, as ACL LIST shows them."""
        return [*(flag.encode() for flag in self.flags), *(b"#" + one.encode() for one in self.hashes),
                *(_RIGHTS_OF[use] + pattern for use, pattern in self.patterns),
                *(command.encode() for command in self.commands)]


def new_user(name: str) -> User:
    """Return a user that may do nothing yet.

    Raises:
        RuleError: that is no name.
    """
    if not _NAME.fullmatch(name):
        raise RuleError("Usernames can't contain spaces or null characters")
    return User(name)


def user_of(line: str) -> User:
    """Return the user that a line of a users' file describes: "user NAME RULE...", as ACL LIST writes it.

    Raises:
        RuleError: it is no such line.
    """
    words = line.split()
    if len(words) < 2 or words[0].lower() != "user":
        raise RuleError('a line must read "user NAME RULE..."')
    return new_user(words[1]).with_rules(words[2:])


def hash_of(password: bytes) -> str:
    """Return what is kept of a password."""
    return hashlib.sha256(password).hexdigest()


def _applied(user: User, word: bytes) -> User:
    """Return `user` after one rule."""
    lower = word.lower()
    if (simple := _SIMPLE.get(lower)) is not None:
        return replace(user, **simple)
    if lower == b"reset":
        return User(user.name, version=user.version)
    first, rest = word[:1], word[1:]
    if first in (b">", b"#"):
        digest = hash_of(rest) if first == b">" else _checked_hash(rest)
        return replace(user, is_open=False, hashes=(*_without(user.hashes, digest), digest))
    if first in (b"<", b"!"):
        digest = hash_of(rest) if first == b"<" else _checked_hash(rest)
        if digest not in user.hashes:
            raise RuleError("the password you are trying to remove from the user does not exist")
        return replace(user, hashes=_without(user.hashes, digest))
    if first in (b"~", b"%"):
        pattern = _pattern(word)
        return replace(user, patterns=(*[one for one in user.patterns if one[1] != pattern[1]], pattern))
    if first in (b"+", b"-"):
        return replace(user, commands=_with_command(user.commands, lower))
    if first == b"&":
        return user  # channels: there is no publish/subscribe to keep anybody from
    raise RuleError(f"Error in ACL SETUSER modifier '{_shown(word)}': Syntax error")


_SIMPLE: Final[dict[bytes, dict[str, Any]]] = {
    b"on": {"is_enabled": True}, b"off": {"is_enabled": False},
    b"nopass": {"is_open": True, "hashes": ()}, b"resetpass": {"is_open": False, "hashes": ()},
    b"allkeys": {"patterns": ((READ | WRITE, b"*"),)}, b"~*": {"patterns": ((READ | WRITE, b"*"),)},
    b"resetkeys": {"patterns": ()},
    b"allcommands": {"commands": ("+@all",)}, b"+@all": {"commands": ("+@all",)},
    b"nocommands": {"commands": ("-@all",)}, b"-@all": {"commands": ("-@all",)},
    b"allchannels": {}, b"resetchannels": {}, b"clearselectors": {}, b"sanitize-payload": {},
    b"skip-sanitize-payload": {},
}  # fmt: skip


def _with_command(commands: tuple[str, ...], word: bytes) -> tuple[str, ...]:
    """Return rules of commands after one more; an earlier rule for the very same thing is not needed any more."""
    text = word.decode("latin-1")
    if not (_COMMAND.fullmatch(text[1:]) or _CATEGORY.fullmatch(text[1:])):
        raise RuleError(f"Error in ACL SETUSER modifier '{_shown(word)}': Unknown command or category name in ACL")
    return (*[one for one in commands if one[1:] != text[1:] or one[1:] == "@all"], text)


def _pattern(word: bytes) -> Pattern:
    if word.startswith(b"~"):
        return READ | WRITE, _sane(word[1:])
    rights, tilde, pattern = word[1:].partition(b"~")
    letters = rights.upper()
    if not tilde or letters not in (b"R", b"W", b"RW", b"WR"):
        raise RuleError(f"Error in ACL SETUSER modifier '{_shown(word)}': Syntax error")
    return (READ if b"R" in letters else 0) | (WRITE if b"W" in letters else 0), _sane(pattern)


def _sane(pattern: bytes) -> bytes:
    if not pattern or any(byte <= 0x20 for byte in pattern):
        raise RuleError("a key pattern must not be empty nor contain blanks")
    return pattern


def _checked_hash(text: bytes) -> str:
    digest = text.decode("latin-1")
    if not _HASH.fullmatch(digest):
        raise RuleError("The password hash must be exactly 64 characters and contain only lowercase hexadecimal "
                        "characters")
    return digest


def _without(hashes: tuple[str, ...], digest: str) -> tuple[str, ...]:
    return tuple(one for one in hashes if one != digest)


def _shown(word: bytes) -> str:
    """A rule as an error may repeat it. It is none of those that hold passwords: but a password may look like it."""
    return word[:1].decode("latin-1") + "…" if word[:1] in b"><#!" else word[:32].decode("latin-1")
