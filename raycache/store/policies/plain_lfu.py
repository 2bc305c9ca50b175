"""Plain LFU: the lowest count of uses leaves first, and among equals the one longest at that count.

It never forgets, so it suits loads whose favourites never change, and comparison; `lfu.py` ages.
A count starts at 1, grows by one with every use, and is forgotten with the entry.

Source of the O(1) structure: Shah, Mitra, Matani, "An O(1) algorithm for implementing the LFU
cache eviction scheme", 2010.
"""

from __future__ import annotations

from collections.abc import Iterator

from raycache.store.policies.base import EvictionPolicy
from raycache.store.policies.chain import Chain, ChainEntry, neighbour, unlink
from raycache.store.weight import RANKED_ENTRY_BYTES


class PlainLfuEntry(ChainEntry):
    """An entry that knows the group of its equals."""

    __slots__ = ("group",)

    group: Group

    @property
    def count(self) -> int:
        """How often the entry was used."""
        return self.group.count


class Group(Chain[PlainLfuEntry]):
    """All entries of one count, longest there first, and the groups of the next lower and higher counts."""

    __slots__ = ("count", "higher", "lower")

    lower: Group
    higher: Group

    def __init__(self, count: int) -> None:
        super().__init__(PlainLfuEntry)
        self.count = count

    def join(self, lower: Group, higher: Group) -> None:
        """Stand between two neighbours."""
        self.lower, self.higher = lower, higher
        lower.higher = higher.lower = self

    def leave(self) -> None:
        """Let the neighbours close up. All links are cut; the group must be empty."""
        self.lower.higher, self.higher.lower = self.higher, self.lower
        del self.lower, self.higher
        self.close()


class PlainLfuPolicy(EvictionPolicy[PlainLfuEntry]):
    """Groups in a circle by rising count, from a group of count 0 that stays empty."""

    name = "plain-lfu"
    knows_use = True
    entry_type = PlainLfuEntry
    entry_bytes = RANKED_ENTRY_BYTES

    def __init__(self) -> None:
        self._base = Group(0)
        self._base.lower = self._base.higher = self._base

    def on_insert(self, entry: PlainLfuEntry) -> None:
        self._add(entry, self._base)

    def on_hit(self, entry: PlainLfuEntry) -> None:
        group = entry.group
        count = group.count + 1
        if group.root.next is group.root.prev and group.higher.count != count:
            group.count = count  # alone at its count, and nobody at the next: the group itself moves up
            return
        unlink(entry)
        self._add(entry, group)
        if group.root.next is group.root:
            group.leave()

    on_update = on_hit

    def on_remove(self, entry: PlainLfuEntry) -> None:
        group = entry.group
        unlink(entry)
        del entry.group
        if group.root.next is group.root:
            group.leave()

    def victim(self, spare: PlainLfuEntry | None = None) -> PlainLfuEntry:
        group = self._base.higher
        if group.holds_only(spare):
            group = group.higher
        return group.oldest(spare)

    def entries(self) -> Iterator[PlainLfuEntry]:
        group = self._base.higher
        while group is not self._base:
            yield from group
            group = group.higher

    def hottest(self, after: PlainLfuEntry | None, count: int) -> list[PlainLfuEntry]:
        if after is None:
            group = self._base.lower
            entry: ChainEntry = group.root.prev
        else:
            entry, group = neighbour(after), after.group
        found: list[PlainLfuEntry] = []
        while len(found) < count and group is not self._base:
            if entry is group.root:
                group = group.lower
                entry = group.root.prev
            else:
                found.append(entry)  # type: ignore[arg-type]  # the links are typed by their base
                entry = entry.prev
        return found

    def fresh(self) -> PlainLfuPolicy:
        return PlainLfuPolicy()

    def close(self) -> None:
        base = self._base
        del base.lower, base.higher
        base.close()

    def _add(self, entry: PlainLfuEntry, below: Group) -> None:
        """Put `entry`, which is in no chain, into the group of the count after `below`."""
        group = below.higher
        if group.count != below.count + 1:
            group = Group(below.count + 1)
            group.join(below, below.higher)
        group.append(entry)
        entry.group = group
