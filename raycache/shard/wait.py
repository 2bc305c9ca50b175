"""Something that a long command waits for: another shard's answer, or time.

What lives here: `Wait`. A command that must wait is a generator that yields one (see `commands.command.Steps`); whoever
drives the generator goes on when `on_done` calls, or when the deadline has passed. Belongs to one shard's loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

NEVER_S: Final = 1e9
"""A time in which nothing happens: added to a deadline, it makes one that never passes."""


class Wait:
    """Done once; knows its deadline (monotonic seconds), and leaves watching it to whoever drives."""

    __slots__ = ("_callback", "deadline_s", "is_done", "result")

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.is_done = False
        self.result: Any = None
        self._callback: Callable[[], None] | None = None

    @property
    def is_endless(self) -> bool:
        """Whether its deadline never passes."""
        return self.deadline_s >= NEVER_S

    def finish(self, result: Any = None) -> None:
        """Say that it is done. Later calls change nothing."""
        if not self.is_done:
            self.is_done, self.result = True, result
            if self._callback is not None:
                self._callback()

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call `callback` when it is done, at once if it is. One callback: the last one given."""
        self._callback = callback
        if self.is_done:
            callback()
