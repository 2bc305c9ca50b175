"""The slow log: the last commands that took long, as Redis' SLOWLOG keeps them.

What lives here: the entries, their bounds, and what of a command may be shown. What does not: measuring, and the
command SLOWLOG (`raycache.shard.commands.slowlog`). Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

SLOWER_THAN_US: Final = 10_000
"""Redis' `slowlog-log-slower-than`."""
MAX_ENTRIES: Final = 128
"""Redis' `slowlog-max-len`."""
MOST_ENTRIES: Final = 10_000
"""What `slowlog-max-len` may be set to: an entry takes up to 5 KiB."""
MAX_ARGUMENTS: Final = 32
MAX_ARGUMENT_BYTES: Final = 128
"""As much of a command as Redis keeps."""
REDACTED: Final = b"(redacted)"
_SECRET: Final = frozenset({b"AUTH", b"HELLO", b"ACL", b"CONFIG", b"RC.ACCESS"})
"""Commands whose arguments may be secrets: only their names are kept."""


@dataclass(frozen=True, slots=True)
class SlowCommand:
    """One command that took long."""

    id: int
    """Counts up by one, RESET or not."""
    unix_s: int
    """When it ended."""
    duration_us: int
    argv: tuple[bytes, ...]
    """Its name and arguments, cut, and without secrets."""
    client: str
    """Address of the client, "host:port"."""
    client_name: bytes


class SlowLog:
    """The newest slow commands, `max_entries` at most."""

    def __init__(self) -> None:
        self.slower_than_us = SLOWER_THAN_US
        """Commands that take longer are kept; negative: none."""
        self.total = 0
        """Commands kept since the start, those that have left again included."""
        self._entries: deque[SlowCommand] = deque(maxlen=MAX_ENTRIES)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def max_entries(self) -> int:
        """How many are kept."""
        assert self._entries.maxlen is not None
        return self._entries.maxlen

    def resize(self, max_entries: int) -> None:
        """Keep so many from now on; the newest stay."""
        self._entries = deque(self._entries, maxlen=max_entries)

    def add(self, argv: Sequence[bytes], duration_s: float, unix_ms: int, client: str, client_name: bytes) -> bool:
        """Keep a command if it took long enough; return whether it did."""
        duration_us = round(duration_s * 1e6)
        if self.slower_than_us < 0 or duration_us < self.slower_than_us:
            return False
        self._entries.append(SlowCommand(self.total, unix_ms // 1000, duration_us, shown(argv), client, client_name))
        self.total += 1
        return True

    def newest(self, count: int) -> list[SlowCommand]:
        """Return the newest entries first, `count` at most, all if it is negative."""
        entries = list(reversed(self._entries))
        return entries if count < 0 else entries[:count]

    def clear(self) -> None:
        """Forget every entry; ids go on."""
        self._entries.clear()


def shown(argv: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return what may be kept of a command: cut as Redis does, its arguments left out where they may be secrets."""
    if argv[0].upper() in _SECRET:
        return (argv[0], *[REDACTED] * min(len(argv) - 1, MAX_ARGUMENTS - 1))
    kept = [_cut(argument) for argument in argv[:MAX_ARGUMENTS]]
    if len(argv) > MAX_ARGUMENTS:
        kept[-1] = b"... (%d more arguments)" % (len(argv) - MAX_ARGUMENTS + 1)
    return tuple(kept)


def _cut(argument: bytes) -> bytes:
    argument = bytes(argument)
    if len(argument) <= MAX_ARGUMENT_BYTES:
        return argument
    return b"%b... (%d more bytes)" % (argument[:MAX_ARGUMENT_BYTES], len(argument) - MAX_ARGUMENT_BYTES)
