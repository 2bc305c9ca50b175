"""How many hits are possible at all: Belady's rule, with the whole future known. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def optimal_hits(keys: Sequence[int], entries: int) -> int:
    """Return the hits of a cache of `entries` entries that evicts whoever is needed again last, and stores every miss.

    Raises:
        ValueError: it holds nothing.
    Cost: O(n log n). Source: Belady, "A study of replacement algorithms", 1966.
    """
    if entries < 1:
        raise ValueError(f"entries must be at least 1, not {entries}")
    never = len(keys)
    next_use = [never] * never
    seen: dict[int, int] = {}
    for place in range(never - 1, -1, -1):
        next_use[place] = seen.get(keys[place], never)
        seen[keys[place]] = place
    held: dict[int, int] = {}
    """Key -> when it is needed next."""
    far: list[tuple[int, int]] = []
    """(-next use, key), the farthest first; a pair that `held` does not confirm is out of date."""
    hits = 0
    for place, key in enumerate(keys):
        if key in held:
            hits += 1
        elif len(held) >= entries:
            _evict(held, far)
        held[key] = next_use[place]
        heapq.heappush(far, (-next_use[place], key))
    return hits


def _evict(held: dict[int, int], far: list[tuple[int, int]]) -> None:
    while True:
        use, key = heapq.heappop(far)
        if held.get(key) == -use:
            del held[key]
            return
