"""Changing the policy of a store that serves: in steps, none of which stops the loop; and beginning to watch a store.

What lives here: the steps, the room for what entries of the new policy cost more, and what of the store is replaced.
What does not: whose an entry is meanwhile (`policies/moving.py`), what is watched (`watching.py`), and when "auto"
changes (`choosing.py`). These functions are parts of `Store`, and may see its inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raycache.store.choosing import Chooser
from raycache.store.policies.base import EvictionPolicy
from raycache.store.policies.moving import MovingPolicy
from raycache.store.watching import Watcher
from raycache.store.weight import weigher

if TYPE_CHECKING:
    from raycache.store.store import Store

STEP_ENTRIES: Final = 256
"""Entries that pass over in one step, about 0.4 ms."""
STEP_BYTES: Final = 64 * 1024
"""Room made in one step: a few hundred small entries leave for it."""


class Switch:
    """One change of policy, under way.

    Args:
        new: is empty.
        growth: what each entry will be charged more, in bytes; less, if it is negative.
    Raises:
        ValueError: one of the two policies can only be chosen at the start.
    """

    def __init__(self, store: Store, new: EvictionPolicy[Any], growth: int) -> None:
        self.moving = MovingPolicy(store.policy, new, len(store))
        self.growth = growth
        self.weigh = store._weigh if not growth else weigher(store._entry_bytes + store._version_bytes + growth)
        """What entries are charged when the change is done; the new policy counts so from the beginning."""
        self._reserved = 0

    def step(self, store: Store) -> bool:
        """Do a little; return whether that was all, so that the store may charge by the new policy."""
        if store.policy is self.moving and self.moving.left:
            self.moving.move(STEP_ENTRIES)
            return False
        missing = self.growth * len(store) - self._reserved
        if missing > 0:
            chunk = min(missing, STEP_BYTES)
            store.set_aside(chunk, store.stepped_ms)
            self._reserved += chunk
            return False
        if store.is_clearing:  # what is in the graveyard is given back as it was charged
            return False
        store.set_aside(-self._reserved, store.stepped_ms)
        return True


def begin_switch(store: Store, policy: EvictionPolicy[Any], *, by_chooser: bool) -> None:
    """See `Store.switch_policy`."""
    if store._switch is not None:
        raise ValueError("the policy is being changed; try again when that is done")
    keeps_charge = by_chooser or store._fixed_weigh is not None
    switch = Switch(store, policy, 0 if keeps_charge else policy.entry_bytes - store._entry_bytes)
    store._switch = switch
    store._bind(policy)
    store._policy = switch.moving
    if not by_chooser:
        choose(store, policy)
    _serve_under(store, switch.moving)


def step_switch(store: Store, switch: Switch) -> None:
    """Go on changing the policy of `store`."""
    is_done = switch.step(store)
    if store._policy is switch.moving and not switch.moving.left:
        switch.moving.old.close()
        store._policy = switch.moving.new
        _serve_under(store, store._policy)
    if is_done:
        store._switch = None
        if switch.growth:
            store._free_bytes -= switch.growth * store._count
            store._entry_bytes += switch.growth
            store._weigh = switch.weigh


def choose(store: Store, policy: EvictionPolicy[Any]) -> None:
    """Begin or end to choose, as somebody has asked for `policy`."""
    watcher = store._watcher
    chooser = Chooser(type(store), policy.name) if policy.chooses else None
    if watcher is not None and (chooser is not None or watcher.most_keys):
        watcher.choose(chooser)
        store._lookups = watcher.watch(store._segments)
    elif chooser is not None:
        _watch_by(store, Watcher(len(store._segments), 0, chooser))
    else:
        _watch_by(store, None)


def watch(store: Store, most_keys: int) -> None:
    """See `Store.watch`."""
    chooser = None if store._watcher is None else store._watcher.chooser
    _watch_by(store, Watcher(len(store._segments), most_keys, chooser) if most_keys or chooser is not None else None)


def _watch_by(store: Store, watcher: Watcher | None) -> None:
    store._watcher = watcher
    store._lookups = store._segments if watcher is None else watcher.watch(store._segments)
    store._show_hot()


def _serve_under(store: Store, policy: EvictionPolicy[Any]) -> None:
    store._on_hit = policy.on_hit
    store._on_arrival = policy.on_arrival if policy.hears_arrivals else None
    store._new_entry = policy.entry_type
    store._show_hot()
