"""The functions that a shard has been told of: a bounded table.

What lives here: adding and forgetting. What does not: the wire (`raycache.shard.commands.usage`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from raycache.usage.rows import MAX_NAME, FunctionUse

MAX_FUNCTIONS: Final = 512
"""Some 300 bytes each. A program has dozens; names made at run time must not fill a shard."""


class FunctionTable:
    """Sums by function. When it is full, whichever was heard of longest ago is forgotten."""

    def __init__(self, size: int = MAX_FUNCTIONS) -> None:
        self._size = size
        self._uses: dict[str, FunctionUse] = {}

    def __len__(self) -> int:
        return len(self._uses)

    def add(self, name: str, use: FunctionUse) -> None:
        """Add what a handle has counted since it last told."""
        name = name[:MAX_NAME]
        known = self._uses.pop(name, None)  # and in again at the end: in order of the last news
        if known is None:
            known = FunctionUse()
            if len(self._uses) >= self._size:
                del self._uses[next(iter(self._uses))]
        known.add(use)
        self._uses[name] = known

    def all(self) -> Mapping[str, FunctionUse]:
        """Return the sums by function. Not a copy."""
        return self._uses
