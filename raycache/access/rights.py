"""What a user's rules come to: the commands it may send and the keys it may send them for.

What lives here: `Rights`, worked out once for a user and asked for each command. What does not: which keys a command
names (`raycache.shard.reach`), the rules themselves (`user`). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from raycache.access.user import READ, WRITE, RuleError, User

CATEGORIES: Final = ("keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog",
                     "geo", "stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection",
                     "transaction", "scripting")
"""Redis' categories: all may be named in rules, those too that have no command here."""
_SPECIAL: Final = b"*?[]\\"


class Catalogue:
    """What a user's rules speak of: the commands there are, with their categories, and patterns.

    Args:
        commands: each command's full name ("get", "config|set") and its categories, without the @. A container
            ("config") is there, too.
        compile_pattern: makes a matcher of a glob pattern.
    """

    def __init__(self, commands: Mapping[str, Iterable[str]],
                 compile_pattern: Callable[[bytes], Callable[[bytes], object]]) -> None:
        self.commands = frozenset(commands)
        self.compile = compile_pattern
        self.by_category: dict[str, set[str]] = {name: set() for name in CATEGORIES}
        for name, categories in commands.items():
            for category in categories:
                self.by_category.setdefault(category, set()).add(name)

    def named(self, rule: str) -> set[str] | frozenset[str]:
        """Return the commands that "get", "config", "config|set" or "@read" stand for.

        Raises:
            RuleError: there are none such.
        """
        if rule == "@all":
            return self.commands
        if rule.startswith("@"):
            found = self.by_category.get(rule[1:])
        else:
            found = {name for name in self.commands if name == rule or name.startswith(rule + "|")} or None
        if found is None:
            raise RuleError(rule)
        return found

    def check(self, user: User) -> None:
        """Refuse rules about what does not exist. Raises RuleError."""
        for rule in user.commands:
            try:
                self.named(rule[1:])
            except RuleError:
                text = f"Error in ACL SETUSER modifier '{rule}': Unknown command or category name in ACL"
                raise RuleError(text) from None
        for _, pattern in user.patterns:
            self.compile(pattern)

    def allowed(self, user: User) -> frozenset[str]:
        """Return the commands that `user` may send. What another version of raycache knows and this one not: none."""
        allowed: set[str] = set()
        for rule in user.commands:
            try:
                named = self.named(rule[1:])
            except RuleError:
                continue
            allowed = allowed | named if rule.startswith("+") else allowed - named
        return frozenset(allowed)


class Rights:
    """What one user may do."""

    __slots__ = ("_patterns", "_prefixes", "commands", "has_all_keys", "user")

    def __init__(self, user: User, catalogue: Catalogue) -> None:
        self.user = user.name
        self.commands = catalogue.allowed(user)
        both = READ | WRITE
        self.has_all_keys = any(pattern == b"*" and use == both for use, pattern in user.patterns)
        self._patterns = [(use, catalogue.compile(pattern)) for use, pattern in user.patterns]
        self._prefixes = [(use, prefix) for use, pattern in user.patterns
                          if (prefix := literal_prefix(pattern)) + b"*" == pattern]

    def may_use(self, key: bytes, needed: int) -> bool:
        """Return whether one pattern allows all of `needed` (`READ`, `WRITE`, both, or 0: anything) for `key`."""
        if self.has_all_keys:
            return True
        return any(use & needed == needed and matches(key) for use, matches in self._patterns)

    def may_walk(self, pattern: bytes, needed: int) -> bool:
        """Return whether all keys that `pattern` can match are this user's, as far as their beginnings tell."""
        if self.has_all_keys:
            return True
        beginning = literal_prefix(pattern)
        return any(use & needed == needed and beginning.startswith(prefix) for use, prefix in self._prefixes)


def literal_prefix(pattern: bytes) -> bytes:
    """Return what every key that `pattern` matches begins with."""
    return pattern[: next((at for at, byte in enumerate(pattern) if byte in _SPECIAL), len(pattern))]
