"""Large values: the objects in Ray's store that this shard owns, within a budget of their own.

What lives here: the waiting room between the object's arrival (an actor call) and the command that stores it, the
budget, taking over objects of entries that came from other shards, and counting. What does not: Ray (`Backend`, which
`raycache.actors.objects` is), entries, and commands that need a whole value (`commands.whole`). Belongs to the shard's
loop.

What keeps an object is the value of its entry (`raycache.store.large`). The budget is a store of sizes under a policy
of the same kind as the entries' own: it hears of every use of a large value, and when it is full it says which one has
to go; then that entry is evicted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakValueDictionary

from raycache.descriptor import DESCRIPTOR_BYTES, Descriptor, descriptor_of
from raycache.ring.slots import slot_of
from raycache.store import Entry, EvictionPolicy, Holding, LargeValue, RemovalCause, Store, StoreFullError
from raycache.store.departures import LOST

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore

STAGED_S: Final = 30.0
"""How long an object waits for the command that stores it. Its writer sends that at once; it may have to look for the
slot's owner first, which takes as long as a failover."""
LINGER_S: Final = 30.0
"""How long the objects of entries that went to another shard are kept: that one is copying them."""
MOST_ADOPTING: Final = 2
"""Objects that are copied from other shards at a time: each takes a thread and a share of the memory's bandwidth."""

Owned = tuple[Any, bytes]
"""A reference to an object of this shard's own, and where it is (`Descriptor.where`)."""


class Backend(Protocol):
    """Ray's object store, as a shard uses it. Nothing here blocks; `done` is called on the shard's loop, later."""

    def load(self, descriptor: Descriptor, ref: Any, holders: list[str], done: Callable[[bytes | None], None]) -> None:
        """Fetch a value's bytes; None: its object is lost.

        Args:
            ref: this shard's own reference, None if it has none.
            holders: shards that may have one.
        """

    def own(self, descriptor: Descriptor, holders: list[str], done: Callable[[Owned | None], None]) -> None:
        """Copy another shard's object into one of this shard's own; None: it is lost."""


class Objects:
    """The objects of one shard."""

    def __init__(self, core: ShardCore, capacity_bytes: int, policy: EvictionPolicy[Any], backend: Backend, *,
                 each_copy: bool) -> None:
        """Make an empty set.

        Args:
            core: whose entries hold them.
            capacity_bytes: what all objects together may have.
            policy: a fresh one, of the kind that the core's store has.
            each_copy: whether every owner of a slot has an object of its own, or only the one that leads it.
        """
        self.capacity_bytes = capacity_bytes
        self._core = core
        self._backend = backend
        self._each_copy = each_copy
        self._budget = Store(capacity_bytes=capacity_bytes, policy=policy, segments=1, weigh=lambda _, size: int(size),
                             listener=self._left)
        self._holdings: WeakValueDictionary[bytes, Holding] = WeakValueDictionary()
        self._staged: dict[bytes, tuple[LargeValue, float]] = {}
        self._lingering: deque[tuple[LargeValue, float]] = deque()
        self._arrived: deque[bytes] = deque()
        self._adopting = 0
        self.lost = 0
        """Values that were missed because their object was gone."""
        self.adopted = 0
        """Objects copied from other shards."""
        core.whole.on_large = self._arrive
        core.whole.is_copying = lambda: bool(self._adopting or self._arrived)

    def __len__(self) -> int:
        return len(self._budget)

    @property
    def used_bytes(self) -> int:
        """What the objects have, those on their way included."""
        return self._budget.used_bytes

    # The way in

    def admit(self, name: bytes, size_bytes: int, now_ms: int) -> Holding | None:
        """Make room for an object; return its place, which is given up with the last reference to it. None: refused,
        because it is too large, or nothing may be evicted for it."""
        if name in self._holdings or not 0 < size_bytes <= min(self.capacity_bytes, self._core.max_value_bytes):
            return None
        holding = Holding(name, size_bytes, self._ended)
        self._holdings[name] = holding
        try:
            self._budget.put(name, size_bytes, 0, None, now_ms)
        except StoreFullError:
            return None
        return holding

    def stage(self, holding: Holding, kind: int, owned: Owned, now_s: float) -> bool:
        """Keep an object for the command that stores it; return False if its place has been taken meanwhile."""
        if self._budget.peek(holding.name, 0) is None:
            return False
        value = self._value(holding, Descriptor(holding.name, kind, holding.size_bytes, self._core.shard_id), owned)
        self._staged[holding.name] = value, now_s + STAGED_S
        return True

    def claim(self, name: bytes, key: bytes, head: bytes = b"") -> LargeValue | None:
        """Return what was staged as `name`, to be stored under `key`; None: there is no such object.

        Whoever drops it instead lets go of the object.

        Args:
            head: what is to stand behind the descriptor.
        """
        staged, _ = self._staged.pop(name, (None, 0.0))
        if staged is None or staged.holding is None:
            return None
        staged.holding.key = key
        return _held(staged + head, staged.holding) if head else staged

    def _value(self, holding: Holding, descriptor: Descriptor, owned: Owned, head: bytes = b"") -> LargeValue:
        holding.ref, holding.where = owned
        packed = descriptor._replace(holder=self._core.shard_id, where=holding.where).pack()
        return _held(packed + head, holding)

    # Use

    def use(self, value: LargeValue) -> None:
        """Take note that a value was read."""
        if value.holding is not None:
            self._budget.get(value.holding.name, self._core.now_ms)

    def lend(self, name: bytes) -> Any:
        """Return the reference to an object, None if there is none."""
        holding = self._holdings.get(name)
        return None if holding is None else holding.ref

    def load(self, value: LargeValue, key: bytes, done: Callable[[bytes | None], None]) -> None:
        """Fetch the encoded bytes of a value; `done` gets None where its object is lost."""
        descriptor = descriptor_of(value)
        ref = None if value.holding is None else value.holding.ref
        self.use(value)
        self._backend.load(descriptor, ref, self._holders(descriptor, key), partial(self._loaded, value, key, done))

    def _loaded(self, value: LargeValue, key: bytes, done: Callable[[bytes | None], None], data: bytes | None) -> None:
        """Pass a value on; without one its entry goes, even if nobody has had the patience to wait for that."""
        entry = self._core.store.peek(key, self._core.now_ms) if data is None else None
        if entry is not None and entry.value is value:
            self.lost += 1
            self._core.store.evict(entry)
            self._core.store.departures.restate(key, LOST)
        done(data)

    def linger(self, value: LargeValue) -> None:
        """Keep a value whose entry goes to another shard until that one has surely copied its object."""
        if value.holding is not None:
            self._lingering.append((value, self._core.monotonic_s() + LINGER_S))

    # Entries of other shards

    def _arrive(self, entry: Entry) -> None:
        if entry.value.holding is None:
            self._arrived.append(entry.key)

    def _begin(self) -> None:
        while self._arrived and self._adopting < MOST_ADOPTING:
            self._adopt(self._arrived.popleft())

    def _adopt(self, key: bytes) -> None:
        """Begin to copy the object of an entry that came from another shard, if it is to be copied."""
        core = self._core
        entry = core.store.peek(key, core.now_ms)
        if entry is None or type(entry.value) is not LargeValue or entry.value.holding is not None:
            return
        if not self._each_copy and not core.slots.led([key]):
            return
        try:
            descriptor = descriptor_of(entry.value)
        except ValueError:
            return
        mine = self._holdings.get(descriptor.name)
        if mine is not None and mine.ref is not None:  # it was here before, and has come back
            head = entry.value[DESCRIPTOR_BYTES:]
            mine.key, entry.value = key, self._value(mine, descriptor, (mine.ref, mine.where), head)
            return
        holding = self.admit(descriptor.name, descriptor.size_bytes, core.now_ms)
        if holding is not None:
            self._adopting += 1
            self._backend.own(descriptor, self._holders(descriptor, key),
                              partial(self._owned, key, entry.value, descriptor, holding))

    def _owned(self, key: bytes, value: LargeValue, descriptor: Descriptor, holding: Holding,
               owned: Owned | None) -> None:
        self._adopting -= 1
        core = self._core
        entry = core.store.peek(key, core.now_ms)
        if owned is not None and entry is not None and entry.value is value and (
                self._budget.peek(holding.name, 0) is not None):
            holding.key = key
            # As long as the one before: no other weight.
            entry.value = self._value(holding, descriptor, owned, value[DESCRIPTOR_BYTES:])
            self.adopted += 1
        self._begin()

    def _holders(self, descriptor: Descriptor, key: bytes) -> list[str]:
        """Return the other shards that may own an object of this value, the likeliest first."""
        topology = self._core.topology
        owners = [shard.id for shard in topology.owners_of(slot_of(key))] if topology is not None else []
        return [one for one in dict.fromkeys([descriptor.holder, *owners]) if one != self._core.shard_id]

    # Time, and the budget

    def step(self, now_ms: int, now_s: float) -> None:
        """Begin to copy what has arrived, and let go of what nobody came for."""
        self._budget.step(now_ms)
        self._begin()
        while self._lingering and self._lingering[0][1] < now_s:
            self._lingering.popleft()
        for name in [name for name, (_, until_s) in self._staged.items() if until_s < now_s]:
            del self._staged[name]

    def figures(self) -> dict[str, int]:
        """Return what there is to know, for the shard's statistics."""
        return {"objects": len(self), "object_bytes": self.used_bytes, "object_capacity_bytes": self.capacity_bytes,
                "objects_lost": self.lost, "objects_adopted": self.adopted,
                "objects_arriving": self._adopting + len(self._arrived)}

    def _ended(self, name: bytes) -> None:
        self._budget.delete(name, 0)

    def _left(self, place: Entry, cause: RemovalCause) -> None:
        """The budget has let one go: its entry, too, and the object at once, whoever still has the value."""
        holding = self._holdings.get(place.key)
        if cause is not RemovalCause.EVICTED or holding is None:
            return
        holding.ref = None
        self._staged.pop(holding.name, None)
        core = self._core
        entry = core.store.peek(holding.key, core.now_ms)
        if entry is not None and type(entry.value) is LargeValue and entry.value.holding is holding:
            core.store.evict(entry)


def _held(data: bytes, holding: Holding) -> LargeValue:
    """Return what an entry keeps of an object: what describes it, and what keeps it."""
    value = LargeValue(data)
    value.holding = holding
    return value
