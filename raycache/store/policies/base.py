"""What an eviction policy is to the store.

What lives here: the one interface. What does not: sizes, expiry, counters (`raycache.store.store`);
a policy only orders entries, all of them, in one order for the whole store, however many segments
the store has. A policy is touched by its store alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import ClassVar, Generic, TypeVar

from raycache.store.entry import Entry

E = TypeVar("E", bound=Entry)


class EvictionPolicy(ABC, Generic[E]):
    """Decides which entry leaves when room is needed.

    The store calls `on_insert` once for a new entry, then any of `on_hit`, `on_update`,
    `on_expiry_change`, then `on_remove` once, whatever the reason. Every call is O(1) unless its
    policy says otherwise: a shard's loop may not stop.
    """

    name: str
    entry_type: type[E]
    """The store makes entries of this type; the slots that it adds belong to the policy."""
    entry_bytes: int
    """Resident bytes of one entry object and of what the policy keeps beside it. See `weight.py`."""
    can_evict: ClassVar[bool] = True
    knows_use: ClassVar[bool] = False
    """Whether the order says which entries are used most or last, so that `hottest` means something."""

    chooses: ClassVar[bool] = False
    """Whether its store tries policies, and changes to the best: "auto"."""
    hears_arrivals: ClassVar[bool] = False
    """Whether the store has to call `on_arrival`."""

    def bind(self, capacity: int, charge: Callable[[Entry], int] | None) -> None:
        """The policy begins to serve a store, which is empty. By default nobody needs to know its size.

        Args:
            capacity: the greatest sum of weights that the store holds.
            charge: what an entry weighs at the moment, its timer included; None: every entry weighs 1.
        """

    def set_capacity(self, capacity: int) -> None:
        """The store holds another sum of weights from now on. By default that changes nothing."""

    def on_arrival(self, key: bytes) -> None:
        """`key`, which is not in the store, is about to be inserted; if room is needed it is made after this call."""

    def on_resize(self, entry: E, growth: int) -> None:
        """`entry` has come to weigh `growth` more (or less). By default nobody weighs."""

    @abstractmethod
    def on_insert(self, entry: E) -> None:
        """A new entry is in the store, with its timer if it has one."""

    def on_hit(self, entry: E) -> None:
        """A look-up found `entry`. By default a hit changes nothing."""

    def on_hits(self, entries: Iterable[E]) -> None:
        """Look-ups found `entries`, in this order, all of which are still there: `on_hit` for each."""
        on_hit = self.on_hit
        for entry in entries:
            on_hit(entry)

    @abstractmethod
    def on_update(self, entry: E) -> None:
        """The value of `entry` was replaced, and perhaps its expiry."""

    def on_expiry_change(self, entry: E) -> None:
        """The expiry of `entry` changed and its value did not. By default that changes nothing."""

    @abstractmethod
    def on_remove(self, entry: E) -> None:
        """`entry` leaves. Links to others must be cut, so that it dies without the cyclic collector."""

    @abstractmethod
    def victim(self, spare: E | None = None) -> E:
        """Return the entry to evict next; the store then removes it.

        Args:
            spare: never return this one (its value is growing right now). There is another.
        """

    def tick(self, now_ms: int) -> None:
        """Some time has passed, a tenth of a second or so. By default nobody cares."""

    def idle(self, entry: E, now_ms: int) -> Generator[None, None, int] | None:
        """Return steps whose result is for how many milliseconds nobody has used `entry`; None: nobody knows."""
        return None

    @abstractmethod
    def entries(self) -> Iterator[E]:
        """Yield every entry, the next victim first where there is an order. Cost: O(n) or more; for tests."""

    def hottest(self, after: E | None, count: int) -> list[E]:
        """Return up to `count` entries, the last to be evicted first; none: that was all. For whoever copies a store.

        Args:
            after: the last one that was returned; None: begin. If it was used meanwhile it is among the first
                again, and so are those that follow.
        Raises:
            LookupError: `after` has left.
        Cost: O(count). By default there is nothing to tell.
        """
        return []

    @abstractmethod
    def fresh(self) -> EvictionPolicy[E]:
        """Return an empty policy with the same settings."""

    def close(self) -> None:
        """The policy is empty and not used again: cut what would keep itself alive without the cyclic collector."""
