"""Any `cachetools.Cache` class as a policy: the class keeps the order, the store everything else.

What it costs: two or three hash tables more for each key, which the charge counts, and pauses of
100 ms and more when one of them is rebuilt at a million entries. For small shards and experiments.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import cachetools

from raycache.store.entry import Entry
from raycache.store.policies.base import EvictionPolicy
from raycache.store.weight import CACHETOOLS_ENTRY_BYTES


class CachetoolsPolicy(EvictionPolicy[Entry]):
    """Holds key -> entry in a cache of the given class, so large that it never evicts by itself."""

    name = "cachetools"
    entry_type = Entry
    entry_bytes = CACHETOOLS_ENTRY_BYTES

    def __init__(self, cache_class: type[cachetools.Cache[bytes, Entry]]) -> None:
        """Make an empty one.

        Raises:
            ValueError: the class cannot be made with a size alone, or drops entries by its own clock.
        """
        if hasattr(cache_class, "expire"):
            raise ValueError(
                f"{cache_class.__name__} keeps time itself, and the store does that already: "
                'give entries a TTL, and choose the policy "ttl" to evict what expires soonest'
            )
        self._cache_class = cache_class
        try:
            self._cache: Any = cache_class(sys.maxsize)
        except TypeError as error:
            raise ValueError(
                f"{cache_class.__name__} cannot be made from a size alone ({error}): "
                "pass a subclass whose __init__ takes only maxsize"
            ) from error

    def on_insert(self, entry: Entry) -> None:
        self._cache[entry.key] = entry

    def on_hit(self, entry: Entry) -> None:
        self._cache[entry.key]

    def on_update(self, entry: Entry) -> None:
        self._cache[entry.key] = entry

    def on_remove(self, entry: Entry) -> None:
        self._cache.pop(entry.key, None)  # a victim has left already

    def victim(self, spare: Entry | None = None) -> Entry:
        """Return the entry that the class pops. `spare` is put back as if new, should it come first."""
        entry: Entry = self._cache.popitem()[1]
        if entry is spare:
            entry = self._cache.popitem()[1]
            self._cache[spare.key] = spare
        return entry

    def entries(self) -> Iterator[Entry]:
        return iter(list(dict(self._cache).values()))

    def fresh(self) -> CachetoolsPolicy:
        return CachetoolsPolicy(self._cache_class)
