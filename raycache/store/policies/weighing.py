"""What policies share that divide a store among several chains: sizes of parts in the store's own unit.

What lives here: the store's capacity, and what an entry weighs. What does not: any decision.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from raycache.store.entry import Entry
from raycache.store.policies.base import EvictionPolicy
from raycache.store.policies.chain import Chain, RankedEntry, unlink, walk_down

R = TypeVar("R", bound=RankedEntry)

UNBOUND: Final = 1 << 20
"""The capacity of a policy that serves no store."""
_MIN_CHARGE: Final = 512
"""A guess of what an entry weighs where weights are bytes, to size tables before there is one."""


class WeighingPolicy(EvictionPolicy[R]):
    """Entries in several chains, each of which knows the sum of its weights.

    An entry's count says which chain it is in: its lowest bits, as `chain_of` reads them, are the number of the chain.
    """

    hears_arrivals = True
    knows_use = True
    queue_mask: int
    """Which bits of a count are the number of the chain."""

    def __init__(self, chains: int) -> None:
        self._chains: list[Chain[R]] = [Chain(self.entry_type) for _ in range(chains)]
        self._roots = [chain.root for chain in self._chains]
        self._weights = [0] * chains
        self._count = 0
        self._charge: Callable[[Entry], int] | None = None
        self._is_bound = False
        self._size = 1
        self.bind(UNBOUND, None)

    def bind(self, capacity: int, charge: Callable[[Entry], int] | None) -> None:
        self._charge = charge
        self.set_capacity(capacity)
        self._make_tables(capacity if charge is None else max(capacity // _MIN_CHARGE, 1))

    def set_capacity(self, capacity: int) -> None:
        self._size = capacity

    def _make_tables(self, expected: int) -> None:
        """Make what depends on how many entries there may be. By default there is no such thing."""

    @property
    def capacity(self) -> int:
        """What the store can hold, in the unit of weights: where that is entries, and it is bytes that ran out, as many
        as there are."""
        return self._size if self._charge is not None else min(self._size, max(self._count, 1))

    def weight_of(self, entry: R) -> int:
        """Return what `entry` weighs now."""
        return 1 if self._charge is None else self._charge(entry)

    def on_resize(self, entry: R, growth: int) -> None:
        if self._charge is not None:
            self._weights[entry.count & self.queue_mask] += growth

    def on_remove(self, entry: R) -> None:
        self._weights[entry.count & self.queue_mask] -= 1 if self._charge is None else self._charge(entry)
        self._count -= 1
        unlink(entry)

    def _add(self, entry: R, chain: int) -> None:
        """Count a new entry, whose count is set, and link it as the youngest of its chain."""
        self._weights[chain] += 1 if self._charge is None else self._charge(entry)
        self._count += 1
        self._chains[chain].append(entry)

    def _move(self, entry: R, source: int, target: int) -> None:
        """Make an entry, whose count is set already, the youngest of another chain, or of its own."""
        if source != target:
            weight = 1 if self._charge is None else self._charge(entry)
            self._weights[source] -= weight
            self._weights[target] += weight
        before, after = entry.prev, entry.next
        before.next = after
        after.prev = before
        root = self._roots[target]
        youngest = root.prev
        entry.prev, entry.next = youngest, root
        youngest.next = root.prev = entry

    @abstractmethod
    def _coldest_first(self) -> Sequence[int]:
        """Return the numbers of the chains from the one that evicts first on."""

    def entries(self) -> Iterator[R]:
        for number in self._coldest_first():
            yield from self._chains[number]

    def hottest(self, after: R | None, count: int) -> list[R]:
        return walk_down([self._chains[number] for number in reversed(self._coldest_first())], after, count)

    def fresh(self) -> WeighingPolicy[R]:
        return type(self)()  # type: ignore[call-arg]  # subclasses take nothing

    def close(self) -> None:
        for chain in self._chains:
            chain.close()
