"""Connections that have not shown the secret yet, where a door demands one: how many there may be, and for how long.

What lives here: who is to be dropped, oldest first. What does not: sockets, and what a stranger may send (each door's
connections). Pure; belongs to the loop of its door.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from raycache.config import Limits

T = TypeVar("T")


class Strangers(Generic[T]):
    """Those who have not said who they are.

    Args:
        limits: how many, and for how long.
        is_known: whether one has meanwhile.
    """

    def __init__(self, limits: Limits, is_known: Callable[[T], bool]) -> None:
        self._limits = limits
        self._is_known = is_known
        self._since_s: dict[T, float] = {}

    def __len__(self) -> int:
        return len(self._since_s)

    def add(self, one: T, now_s: float) -> list[T]:
        """Take in a new one; return those who must go for it. The newest are the likeliest to be honest."""
        self._since_s[one] = now_s
        if len(self._since_s) <= self._limits.max_unauthenticated:
            return []
        self._forget_known()
        surplus = len(self._since_s) - self._limits.max_unauthenticated
        return self._take(list(self._since_s)[:max(0, surplus)])

    def overdue(self, now_s: float) -> list[T]:
        """Return those who have had time enough. To be called about once a second."""
        self._forget_known()
        until_s = now_s - self._limits.auth_timeout_s
        return self._take([one for one, since_s in self._since_s.items() if since_s < until_s])

    def forget(self, one: T) -> None:
        """One is gone."""
        self._since_s.pop(one, None)

    def _forget_known(self) -> None:
        for one in [one for one in self._since_s if self._is_known(one)]:
            del self._since_s[one]

    def _take(self, gone: list[T]) -> list[T]:
        for one in gone:
            del self._since_s[one]
        return gone
