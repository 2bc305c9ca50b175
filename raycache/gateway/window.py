"""How many commands one client may have under way: flow control for replies that cannot be called back.

What lives here: the window's arithmetic. What does not: pausing sockets (`connection`). Pure; one
window belongs to one client's connection.

Once a command has gone to a shard, its reply will come, whether the client reads or not, because
the connection to the shard serves other clients too. So memory is bounded before sending: the
commands under way, times the size that this client's replies had lately, stay within a budget, and
so do the bytes of the commands themselves. The window starts small and doubles while replies stay
small, as TCP's does, because the first replies tell how large the next will be.
"""

from __future__ import annotations

from typing import Final

FIRST_COMMANDS: Final = 64
"""Holds the common pipelines (redis-benchmark -P 16, small transactions); of 1 MiB replies it lets 64 MiB in, once."""
_SMALL_REPLY_BYTES: Final = 1024
"""Below this the count is the bound, not the bytes, and a reply's size need not be remembered."""


class Window:
    """Counts what is under way for one client.

    Args:
        max_commands: never more commands than this.
        max_bytes: budget for expected replies, and separately for the commands' own bytes.
    """

    __slots__ = ("_max_bytes", "_max_commands", "_reply_bytes", "_since_growth", "commands", "request_bytes", "size")

    def __init__(self, max_commands: int, max_bytes: int) -> None:
        self._max_commands = max_commands
        self._max_bytes = max_bytes
        self._reply_bytes = _SMALL_REPLY_BYTES
        self._since_growth = 0
        self.size = min(FIRST_COMMANDS, max_commands)
        self.commands = 0
        self.request_bytes = 0

    @property
    def is_open(self) -> bool:
        """Whether one more command may start; always true when none is under way."""
        return self.commands < self.size and (self.request_bytes < self._max_bytes or not self.commands)

    def started(self, request_bytes: int) -> None:
        """A command of so many bytes is on its way."""
        self.commands += 1
        self.request_bytes += request_bytes

    def finished(self, request_bytes: int, reply_bytes: int) -> None:
        """Its reply, of so many bytes, is in the client's hands or its socket's."""
        self.commands -= 1
        self.request_bytes -= request_bytes
        if reply_bytes > _SMALL_REPLY_BYTES or self._reply_bytes > _SMALL_REPLY_BYTES:
            # Up at once, down by an eighth: one small reply among large ones must not open the window.
            self._reply_bytes = max(reply_bytes, self._reply_bytes - self._reply_bytes // 8, _SMALL_REPLY_BYTES)
            self.size = max(1, min(self.size, self._max_bytes // self._reply_bytes))
        self._since_growth += 1
        if self._since_growth >= self.size < self._max_commands:
            self._since_growth = 0
            self.size = max(1, min(2 * self.size, self._max_commands, self._max_bytes // self._reply_bytes))
