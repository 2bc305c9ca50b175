"""Between two policies: entries of the old one pass over to the new one, a few at a time, while both serve.

What lives here: whose an entry is, and letting it pass. What does not: when (`raycache.store.switching`). An entry
becomes one of the new policy's by changing its class, so whoever holds it holds it still; that is why the entries of
all policies that can be changed have the same slots.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from raycache.store.entry import Entry
from raycache.store.policies.base import EvictionPolicy
from raycache.store.policies.chain import RankedEntry


def can_move(policy: EvictionPolicy[Any]) -> bool:
    """Whether entries of `policy` can become those of another one."""
    return policy.entry_type.__base__ is RankedEntry and not policy.entry_type.__dict__["__slots__"]


class MovingPolicy(EvictionPolicy[Any]):
    """Old entries leave first, coldest first; new ones are the new policy's. A hit lets an old one pass at once."""

    hears_arrivals = True

    def __init__(self, old: EvictionPolicy[Any], new: EvictionPolicy[Any], left: int) -> None:
        """Begin.

        Args:
            new: is empty, and bound to the store already.
            left: how many entries the old one has.
        Raises:
            ValueError: entries of one of the two have a form of their own.
        """
        for policy in (old, new):
            if not can_move(policy):
                raise ValueError(f"the policy {policy.name} can only be chosen when a cluster starts")
        self.old, self.new = old, new
        self.name = new.name
        self.entry_type = new.entry_type
        self.entry_bytes = max(old.entry_bytes, new.entry_bytes)
        self.left = left
        self._old_type = old.entry_type

    def set_capacity(self, capacity: int) -> None:
        self.old.set_capacity(capacity)
        self.new.set_capacity(capacity)

    def on_arrival(self, key: bytes) -> None:
        self.new.on_arrival(key)

    def on_insert(self, entry: Any) -> None:
        self.new.on_insert(entry)

    def on_hit(self, entry: Any) -> None:
        if entry.__class__ is self._old_type:
            self._pass(entry)
        self.new.on_hit(entry)

    def on_hits(self, entries: Iterable[Any]) -> None:
        for entry in entries:
            self.on_hit(entry)

    def on_update(self, entry: Any) -> None:
        if entry.__class__ is self._old_type:
            self._pass(entry)
        self.new.on_update(entry)

    def on_expiry_change(self, entry: Any) -> None:
        self._of(entry).on_expiry_change(entry)

    def on_resize(self, entry: Any, growth: int) -> None:
        self._of(entry).on_resize(entry, growth)

    def on_remove(self, entry: Any) -> None:
        if entry.__class__ is self._old_type:
            self.left -= 1
            self.old.on_remove(entry)
        else:
            self.new.on_remove(entry)

    def victim(self, spare: Any = None) -> Any:
        if self.left > 1 or (self.left and (spare is None or spare.__class__ is not self._old_type)):
            return self.old.victim(spare)
        return self.new.victim(spare)

    def move(self, count: int) -> None:
        """Let up to `count` entries pass, those first that would be evicted first."""
        for _ in range(min(count, self.left)):
            self._pass(self.old.victim())

    def tick(self, now_ms: int) -> None:
        self.new.tick(now_ms)

    def entries(self) -> Iterator[Any]:
        yield from self.old.entries()
        yield from self.new.entries()

    def fresh(self) -> EvictionPolicy[Any]:
        return self.new.fresh()

    def close(self) -> None:
        self.old.close()
        self.new.close()

    def _of(self, entry: Entry) -> EvictionPolicy[Any]:
        return self.old if entry.__class__ is self._old_type else self.new

    def _pass(self, entry: Any) -> None:
        self.left -= 1
        self.old.on_remove(entry)
        entry.__class__ = self.entry_type
        self.new.on_insert(entry)


