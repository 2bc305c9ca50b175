"""Random: any entry leaves, each equally likely. No order to keep, so hits cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from raycache.store.entry import Entry
from raycache.store.policies.base import EvictionPolicy
from raycache.store.weight import SLOTTED_ENTRY_BYTES


class RandomEntry(Entry):
    """An entry that knows its place in the policy's list."""

    __slots__ = ("place",)

    place: int


class RandomPolicy(EvictionPolicy[RandomEntry]):
    """A list of all entries without holes: who leaves is replaced by the last."""

    name = "random"
    entry_type = RandomEntry
    entry_bytes = SLOTTED_ENTRY_BYTES

    def __init__(self, rng: Random | None = None) -> None:
        self._rng = Random() if rng is None else rng
        self._list: list[RandomEntry] = []

    def on_insert(self, entry: RandomEntry) -> None:
        entry.place = len(self._list)
        self._list.append(entry)

    def on_update(self, entry: RandomEntry) -> None:
        pass

    def on_remove(self, entry: RandomEntry) -> None:
        last = self._list.pop()
        if last is not entry:
            self._list[entry.place] = last
            last.place = entry.place

    def victim(self, spare: RandomEntry | None = None) -> RandomEntry:
        # random() * n is uniform enough for any n that fits in memory, and a third of randrange's cost.
        place = int(self._rng.random() * len(self._list))
        if self._list[place] is spare:
            place = (place + 1 + int(self._rng.random() * (len(self._list) - 1))) % len(self._list)
        return self._list[place]

    def entries(self) -> Iterator[RandomEntry]:
        return iter(self._list)

    def fresh(self) -> RandomPolicy:
        return RandomPolicy(self._rng)
