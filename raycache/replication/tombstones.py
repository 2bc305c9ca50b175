"""Tombstones: which keys were deleted, and at which version, for a bounded time.

What lives here: the table and its bounds. Without it a copy that was late, or a transfer under way, would bring a
deleted key back. Belongs to one shard's loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

MOST: Final = 200_000
"""Beyond this the oldest go early: some 40 MB, and the age of the youngest forgotten one is in the statistics."""


class Tombstones:
    """Deleted keys, oldest first."""

    def __init__(self, ttl_s: float, most: int = MOST) -> None:
        self._ttl_s = ttl_s
        self._most = most
        self._versions: dict[bytes, int] = {}
        self._order: deque[tuple[float, bytes, int]] = deque()
        self.get: Callable[[bytes, int], int] = self._versions.get
        """(key, default) -> version."""
        self.dropped_early = 0
        """Tombstones that went before their time because there were too many."""

    def __len__(self) -> int:
        return len(self._versions)

    def __contains__(self, key: bytes) -> bool:
        return key in self._versions

    def add(self, key: bytes, version: int, now_s: float) -> None:
        """Remember that `key` was deleted at `version`."""
        self._versions[key] = version
        self._order.append((now_s, key, version))

    def discard(self, key: bytes) -> None:
        """Forget that `key` was deleted: it was written again."""
        self._versions.pop(key, None)

    def step(self, now_s: float, budget: int = 1000) -> None:
        """Forget what is old enough, or too much, at most `budget` of them."""
        order, versions = self._order, self._versions
        while order and budget > 0 and (now_s - order[0][0] >= self._ttl_s or len(order) > self._most):
            budget -= 1
            since_s, key, version = order.popleft()
            if versions.get(key) == version:
                del versions[key]
                self.dropped_early += now_s - since_s < self._ttl_s

    def items(self) -> Iterator[tuple[bytes, int]]:
        """Yield (key, version) of each."""
        yield from self._versions.items()

    def clear(self) -> None:
        """Forget all."""
        self._versions.clear()
        self._order.clear()
