"""Which keys a shard has in each slot: remembered while slots leave it, turn by turn.

What lives here: the lists, and how far the look through the store has come that fills them. What does not: looking
(`giving`), and hearing of keys that come meanwhile (`copies`). Belongs to the shard's loop.
"""

from __future__ import annotations

from typing import Final

LOOKED_THROUGH: Final = 1000
"""A slot with more keys than this (one hash tag for very many) may have keys listed twice."""


class KeysBySlot:
    """The keys of one store, as one look through it finds them, and with those that have come since.

    The keys are the store's own objects, so each costs eight bytes. Those that have gone stay: who reads them asks the
    store. A key may be there twice, if it came while the look was under way.
    """

    __slots__ = ("_keys", "_next", "count")

    def __init__(self) -> None:
        self._keys: dict[int, list[bytes]] = {}
        self._next = 0
        self.count = 0
        """Keys in it, those that have gone included."""

    @property
    def is_whole(self) -> bool:
        """Whether the look has come to its end."""
        return self._next < 0

    def is_next(self, cursor: int) -> bool:
        """Return whether the look goes on at `cursor`: several receivers look at a time, each at its own pace, and
        whoever is first where nobody has been adds what is there."""
        return cursor == self._next

    def found(self, slot: int, key: bytes) -> None:
        """Take note of a key that the look has found."""
        self._keys.setdefault(slot, []).append(key)
        self.count += 1

    def reached(self, cursor: int) -> None:
        """Take note that the look has gone on to `cursor`; 0: to the end."""
        self._next = cursor or -1

    def came(self, slot: int, key: bytes) -> None:
        """Take note of a key that has just come into the store."""
        known = self._keys.setdefault(slot, [])
        if len(known) > LOOKED_THROUGH or key not in known:
            known.append(key)
            self.count += 1

    def of(self, slot: int) -> list[bytes]:
        """Return the keys of a slot. More may be appended to the list; nothing else changes in it before `take`."""
        return self._keys.get(slot, [])

    def take(self, slot: int, most: int) -> list[bytes]:
        """Remove some keys of a slot that has left and return them; none: there are no more."""
        known = self._keys.get(slot, [])
        taken = known[-most:]
        del known[-most:]
        if not known:
            self._keys.pop(slot, None)
        self.count -= len(taken)
        return taken
