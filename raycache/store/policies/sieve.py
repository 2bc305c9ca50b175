"""SIEVE: a queue in the order of insertion, and a hand that passes over what was used since it last came by.

A hit only sets a mark, which is the cheapest thing that a policy can do on a hit. Overwriting counts as a use.

Source: Zhang, Yang, Yue, Vigfusson, Rashmi, "SIEVE is Simpler than LRU: an Efficient Turn-Key Eviction Algorithm for
Web Caches", NSDI 2024.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from raycache.store.policies.base import EvictionPolicy
from raycache.store.policies.chain import Chain, ChainEntry, RankedEntry, unlink, walk_down
from raycache.store.weight import RANKED_ENTRY_BYTES

MAX_PASSES: Final = 8192
"""Marks that the hand clears for one eviction, about half a millisecond: then the next entry leaves, marked or not. No
trace that the tests use needs as many."""


class SieveEntry(RankedEntry):
    """Its count is 1 if it was used since the hand last came by, else 0."""

    __slots__ = ()


class SievePolicy(EvictionPolicy[SieveEntry]):
    """One chain, oldest first, and the hand: the entry that it looks at next, None: the oldest."""

    name = "sieve"
    knows_use = True
    entry_type = SieveEntry
    entry_bytes = RANKED_ENTRY_BYTES

    def __init__(self) -> None:
        self._chain: Chain[SieveEntry] = Chain(SieveEntry)
        self._hand: ChainEntry | None = None

    def on_insert(self, entry: SieveEntry) -> None:
        entry.count = 0
        self._chain.append(entry)

    def on_hit(self, entry: SieveEntry) -> None:
        entry.count = 1

    on_update = on_hit

    def on_hits(self, entries: Iterable[SieveEntry]) -> None:
        for entry in entries:
            entry.count = 1

    def on_remove(self, entry: SieveEntry) -> None:
        if entry is self._hand:
            younger = entry.next
            self._hand = None if younger is self._chain.root else younger
        unlink(entry)

    def victim(self, spare: SieveEntry | None = None) -> SieveEntry:
        root = self._chain.root
        hand = self._hand or root.next
        for _ in range(MAX_PASSES):
            if hand is root:
                hand = root.next
            if hand.count == 0 and hand is not spare:  # type: ignore[attr-defined]  # the links are typed by their base
                break
            hand.count = 0  # type: ignore[attr-defined]
            hand = hand.next
        while hand is root or hand is spare:
            hand = hand.next
        self._hand = hand
        return hand  # type: ignore[return-value]

    def entries(self) -> Iterator[SieveEntry]:
        return iter(self._chain)

    def hottest(self, after: SieveEntry | None, count: int) -> list[SieveEntry]:
        return walk_down([self._chain], after, count)

    def fresh(self) -> SievePolicy:
        return SievePolicy()

    def close(self) -> None:
        self._hand = None
        self._chain.close()
