"""LFU with dynamic aging: what is used least often leaves first, and fame fades.

Plain LFU never forgets: what was popular once stays for ever. Here an entry's priority is its
count of uses plus the age of the cache when it was last used, and that age is the priority of the
last victim. So what is not used any more is overtaken by newcomers.

Source: LFU-DA, Arlitt, Cherkasova, Dilley, Friedrich, Jin, "Evaluating content management
techniques for Web proxy caches", 1999, there for equal sizes. Counts stop at 255 here, which
keeps every priority within 255 of the age: so a circle of 256 chains holds them in order, and
everything is O(1) where the paper has a heap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from raycache.store.policies.base import EvictionPolicy
from raycache.store.policies.chain import Chain, ChainEntry, RankedEntry, neighbour, unlink
from raycache.store.weight import RANKED_ENTRY_BYTES

# Redis' counters are 8 bits wide as well, and CPython keeps ints up to 256 ready-made. On the traces
# that the tests use, unbounded counts give the same hits, to within one in 7,000.
MAX_COUNT: Final = 255
_MASK: Final = MAX_COUNT


class LfuEntry(RankedEntry):
    """An entry that knows how often it was used."""

    __slots__ = ()


class LfuPolicy(EvictionPolicy[LfuEntry]):
    """A circle of chains: chain `p & 255` holds the entries of priority `p`, longest there first."""

    name = "lfu"
    knows_use = True
    entry_type = LfuEntry
    entry_bytes = RANKED_ENTRY_BYTES

    def __init__(self) -> None:
        self._chains = [Chain(LfuEntry) for _ in range(MAX_COUNT + 1)]
        self._roots = [chain.root for chain in self._chains]
        self._age = 0

    def on_insert(self, entry: LfuEntry) -> None:
        entry.count = 1
        self._chains[self._age + 1 & _MASK].append(entry)

    def on_hit(self, entry: LfuEntry) -> None:
        count = entry.count
        if count < MAX_COUNT:
            count += 1
            entry.count = count
        root = self._roots[self._age + count & _MASK]
        youngest = root.prev
        if youngest is entry:
            return
        # `unlink` and `append` written out: this runs once per read.
        before, after = entry.prev, entry.next
        before.next = after
        after.prev = before
        entry.prev = youngest
        entry.next = root
        youngest.next = root.prev = entry

    on_update = on_hit

    def on_remove(self, entry: LfuEntry) -> None:
        unlink(entry)

    def victim(self, spare: LfuEntry | None = None) -> LfuEntry:
        for age in range(self._age, self._age + MAX_COUNT + 1):
            chain = self._chains[age & _MASK]
            if not chain.holds_only(spare):
                if spare is None:  # else one of lower priority may stay, and must not fall out of the circle
                    self._age = age
                return chain.oldest(spare)
        raise LookupError("there is no entry to evict")

    def entries(self) -> Iterator[LfuEntry]:
        for priority in range(self._age, self._age + MAX_COUNT + 1):
            yield from self._chains[priority & _MASK]

    def hottest(self, after: LfuEntry | None, count: int) -> list[LfuEntry]:
        age, roots = self._age, self._roots
        above = {id(root): (number - age & _MASK) for number, root in enumerate(roots)}  # priorities over the age
        entry: ChainEntry = roots[age + MAX_COUNT & _MASK].prev if after is None else neighbour(after)
        found: list[LfuEntry] = []
        while len(found) < count:
            place = above.get(id(entry))
            if place is None:
                found.append(entry)  # type: ignore[arg-type]  # the links are typed by their base
                entry = entry.prev
            elif place == 0:
                break
            else:
                entry = roots[age + place - 1 & _MASK].prev
        return found

    def fresh(self) -> LfuPolicy:
        return LfuPolicy()

    def close(self) -> None:
        for chain in self._chains:
            chain.close()
