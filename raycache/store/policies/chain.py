"""Entries in a row: the intrusive, doubly linked, circular list under most policies.

What lives here: the links. What does not: any decision. (Elsewhere in the project "ring" means
the ring of virtual nodes, hence the other word.) An `OrderedDict` would do the same with 50 bytes
more an entry, and stop for 119-185 ms whenever CPython rebuilds one of a million.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from raycache.store.entry import Entry


class ChainEntry(Entry):
    """An entry with a neighbour on each side."""

    __slots__ = ("next", "prev")

    prev: ChainEntry
    next: ChainEntry


class RankedEntry(ChainEntry):
    """An entry with a small number that its policy gives a meaning. It fits into what rounding up left unused."""

    __slots__ = ("count",)

    count: int


C = TypeVar("C", bound=ChainEntry)


def unlink(entry: ChainEntry) -> None:
    """Take `entry` out of the chain that it is in. Its links are cut."""
    before, after = entry.prev, entry.next
    before.next = after
    after.prev = before
    del entry.prev, entry.next


def neighbour(entry: ChainEntry) -> ChainEntry:
    """Return the next older entry of the chain, or its root.

    Raises:
        LookupError: `entry` is in no chain any more.
    """
    try:
        return entry.prev
    except AttributeError:
        raise LookupError("the entry has left") from None


def walk_down(chains: Sequence[Chain[C]], after: C | None, count: int) -> list[C]:
    """Return up to `count` entries of chains given from the hottest to the coldest, each youngest first.

    Args:
        after: the one before them; None: begin.
    Raises:
        LookupError: `after` has left.
    """
    roots = [chain.root for chain in chains]
    places = {id(root): place for place, root in enumerate(roots)}
    entry: ChainEntry = roots[0].prev if after is None else neighbour(after)
    found: list[C] = []
    while len(found) < count:
        place = places.get(id(entry))
        if place is None:
            found.append(entry)  # type: ignore[arg-type]  # the links are typed by their base
            entry = entry.prev
        elif place + 1 == len(roots):
            break
        else:
            entry = roots[place + 1].prev
    return found


class Chain(Generic[C]):
    """Entries from oldest to youngest. `root` is no entry: `root.next` is the oldest, `root.prev` the youngest."""

    __slots__ = ("root",)

    def __init__(self, entry_type: type[C]) -> None:
        root = self.root = entry_type()
        root.prev = root.next = root

    def append(self, entry: ChainEntry) -> None:
        """Link `entry`, which is in no chain, as the youngest."""
        root = self.root
        youngest = root.prev
        entry.prev = youngest
        entry.next = root
        youngest.next = root.prev = entry

    def oldest(self, spare: ChainEntry | None = None) -> C:
        """Return the oldest entry that is not `spare`; there must be one."""
        entry = self.root.next
        if entry is spare:
            entry = entry.next
        return entry  # type: ignore[return-value]  # the links are typed by their base

    def holds_only(self, spare: ChainEntry | None) -> bool:
        """Whether no entry is here but, perhaps, `spare`."""
        root, entry = self.root, self.root.next
        return entry is root or (entry is spare and entry.next is root)

    def close(self) -> None:
        """Cut the root's links to itself; the chain must be empty."""
        del self.root.prev, self.root.next

    def __iter__(self) -> Iterator[C]:
        root, entry = self.root, self.root.next
        while entry is not root:
            yield entry  # type: ignore[misc]  # as above
            entry = entry.next
