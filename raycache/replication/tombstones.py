"""Tombstones: which keys were deleted, and at which version, for a bounded time.

What lives here: the table and its bounds. Without it a copy that was late, or a transfer under way, would bring a
deleted key back. Belongs to one shard's loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

MOST: Final = 200_000
"""Beyond this the oldest go early: some 40 MB with short keys; how many did is in the statistics."""
MOST_KEY_BYTES: Final = 32 * 1024 * 1024
"""The same for the keys themselves, which may have 64 KiB each."""


class Tombstones:
    """Deleted keys, oldest first."""

    def __init__(self, ttl_s: float, most: int = MOST, most_key_bytes: int = MOST_KEY_BYTES) -> None:
        self._ttl_s = ttl_s
        self._most = most
        self._most_key_bytes = most_key_bytes
        self._key_bytes = 0
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
        self._key_bytes += len(key)

    def discard(self, key: bytes) -> None:
        """Forget that `key` was deleted: it was written again."""
        self._versions.pop(key, None)

    def step(self, now_s: float, budget: int = 1000) -> None:
        """Forget what is old enough, or too much, at most `budget` of them."""
        order, versions = self._order, self._versions
        while order and budget > 0 and (now_s - order[0][0] >= self._ttl_s or self._are_too_many()):
            budget -= 1
            since_s, key, version = order.popleft()
            self._key_bytes -= len(key)
            if versions.get(key) == version:
                del versions[key]
                self.dropped_early += now_s - since_s < self._ttl_s

    def _are_too_many(self) -> bool:
        return len(self._order) > self._most or self._key_bytes > self._most_key_bytes

    def items(self) -> Iterator[tuple[bytes, int]]:
        """Yield (key, version) of each."""
        yield from self._versions.items()

    def clear(self) -> None:
        """Forget all."""
        self._versions.clear()
        self._order.clear()
        self._key_bytes = 0
