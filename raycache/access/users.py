"""All users of a cluster, as every shard and gateway holds them.

What lives here: the list, who a password belongs to, and how two lists become one. What does not: how lists travel
(`raycache.shard.guard`, `raycache.actors`). Pure; belongs to one loop.

Lists are merged user by user, and the newer state of each counts, a deletion too. So it does not matter who tells whom
and how often: all who have heard of the same changes hold the same list.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

import msgpack

from raycache.access.user import DEFAULT, User, hash_of, new_user

MAX_USERS: Final = 10_000
"""Deleted ones included, which are remembered."""
MAX_BYTES: Final = 16 << 20
_DIGEST_BYTES: Final = 16
_NOBODY: Final = User("nobody", hashes=("0" * 64,))
"""Whom passwords are compared with where there is no such user, so that time does not tell."""


class Users:
    """The users of one cluster. `default` is always among them: whoever has not said who it is."""

    def __init__(self, users: Iterable[User] = ()) -> None:
        self._users: dict[str, User] = {DEFAULT: everybody()}
        self._users.update((user.name, user) for user in users)
        self._packed: bytes | None = None
        self._digest = b""

    def get(self, name: str) -> User | None:
        """Return a user, None if there is none."""
        user = self._users.get(name)
        return None if user is None or user.is_deleted else user

    @property
    def default(self) -> User:
        """The user of whoever has not said who it is."""
        return self._users[DEFAULT]

    def names(self) -> list[str]:
        """Return the names of all users, sorted."""
        return sorted(name for name, user in self._users.items() if not user.is_deleted)

    def owner_of(self, name: str, password: bytes, *, may_be_open: bool) -> User | None:
        """Return the user `name` if it may come in with `password`, else None.

        Takes the same time whether or not there is such a user, and whichever of its passwords is right.

        Args:
            may_be_open: whether `nopass` counts.
        """
        user, digest = self.get(name), hash_of(password)
        is_right = False
        for one in (user or _NOBODY).hashes or _NOBODY.hashes:
            is_right |= hmac.compare_digest(one, digest)
        may_enter = user is not None and user.is_enabled and (is_right or (user.is_open and may_be_open))
        return user if may_enter else None

    def put(self, user: User, version: int) -> User:
        """Take a changed user in, under a version of its own that is at least `version`.

        Raises:
            ValueError: there are too many.
        """
        if user.name not in self._users and len(self._users) >= MAX_USERS:
            raise ValueError(f"too many users, at most {MAX_USERS}")
        user = self._users[user.name] = replace(user, version=self._next(user.name, version))
        self._packed = None
        return user

    def delete(self, name: str, version: int) -> bool:
        """Delete a user; return whether there was one."""
        if self.get(name) is None:
            return False
        self._users[name] = User(name, version=self._next(name, version), is_deleted=True)
        self._packed = None
        return True

    def merge(self, packed: bytes) -> set[str]:
        """Take in another's list; return the names of users that have changed by it.

        Raises:
            ValueError: it cannot be read; then nothing was changed.
        """
        changed = {user.name: user for user in unpacked(packed) if self._is_news(user)}
        self._users.update(changed)
        if changed:
            self._packed = None
        return set(changed)

    def to_bytes(self) -> bytes:
        """Return the list for others: everybody who holds the same has the same bytes."""
        if self._packed is None:
            rows = [_row(user) for _, user in sorted(self._users.items())]
            self._packed = msgpack.packb(rows)
            self._digest = hashlib.blake2b(self._packed, digest_size=_DIGEST_BYTES).digest()
        return self._packed

    def digest(self) -> bytes:
        """Return 16 bytes by which two lists are known to be the same."""
        self.to_bytes()
        return self._digest

    def _next(self, name: str, version: int) -> int:
        return max(version, max(user.version for user in self._users.values()) + 1)

    def _is_news(self, user: User) -> bool:
        known = self._users.get(user.name)
        # Of two states with the same version any one may win, if only it is the same one everywhere.
        return known is None or (user.version, msgpack.packb(_row(user))) > (known.version, msgpack.packb(_row(known)))


def everybody() -> User:
    """Return the user of whoever has not said who it is, as it is unless changed: it may do everything."""
    return replace(new_user(DEFAULT).with_rules(["on", "nopass", "allkeys", "allcommands"]), version=-1)


def unpacked(packed: bytes) -> list[User]:
    """Return the users of a list.

    Raises:
        ValueError: it cannot be read.
    """
    if len(packed) > MAX_BYTES:
        raise ValueError("a list of users is too long")
    try:
        rows = msgpack.unpackb(packed)
        users = [_user(*row) for row in rows]
    except Exception as error:  # msgpack raises half a dozen kinds
        raise ValueError(f"this is no list of users: {type(error).__name__}") from None
    if len(users) > MAX_USERS:
        raise ValueError(f"too many users, at most {MAX_USERS}")
    return users


def _row(user: User) -> list[Any]:
    return [user.name, user.version, user.is_deleted, user.words()]


def _user(name: str, version: int, is_deleted: bool, words: list[bytes]) -> User:
    if not (type(version) is int and type(is_deleted) is bool):
        raise TypeError("version and mark of a user")
    return replace(new_user(name).with_rules(words), version=version, is_deleted=is_deleted)
