"""ARC: a chain of what was used once, one of what was used again, and ghosts of both that move the border between them.

Overwriting counts as a use. Where weights are bytes, sizes of chains and steps of the border are bytes, too.

Source: Megiddo, Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", USENIX FAST 2003, figure 4.
"""

from __future__ import annotations

from collections.abc import Sequence

from raycache.store.policies.chain import RankedEntry
from raycache.store.policies.ghosts import Ghosts
from raycache.store.policies.weighing import WeighingPolicy
from raycache.store.weight import GHOST_BYTES, RANKED_ENTRY_BYTES

ONCE, AGAIN = 0, 1
"""The chains that the paper calls T1 and T2, and its ghosts B1 and B2."""


class ArcEntry(RankedEntry):
    """Its count is the number of its chain."""

    __slots__ = ()


class ArcPolicy(WeighingPolicy[ArcEntry]):
    """Both chains are oldest first."""

    name = "arc"
    entry_type = ArcEntry
    entry_bytes = RANKED_ENTRY_BYTES + GHOST_BYTES
    queue_mask = AGAIN
    _ghosts: tuple[Ghosts, Ghosts]

    def __init__(self) -> None:
        super().__init__(2)
        self.target = 0.0
        """How much of the capacity is for what was used once."""
        self._returning: int | None = None
        """Whose ghost the key that arrives was."""

    def _make_tables(self, expected: int) -> None:
        self._ghosts = Ghosts(expected), Ghosts(expected)

    def on_arrival(self, key: bytes) -> None:
        hashed, (once, again) = hash(key), self._ghosts
        self._returning = None
        weight = once.take(hashed)
        if weight:
            self._returning = ONCE
            step = weight * max(again.weight / (once.weight + weight), 1.0)
            self.target = min(self.target + step, float(self.capacity))
            return
        weight = again.take(hashed)
        if weight:
            self._returning = AGAIN
            self.target = max(self.target - weight * max(once.weight / (again.weight + weight), 1.0), 0.0)

    def on_insert(self, entry: ArcEntry) -> None:
        entry.count = ONCE if self._returning is None else AGAIN
        self._returning = None
        self._add(entry, entry.count)
        once, again = self._ghosts
        capacity, weights = self._size, self._weights
        while once.count and weights[ONCE] + once.weight > capacity:
            once.drop_oldest()
        while again.count and weights[ONCE] + weights[AGAIN] + once.weight + again.weight > 2 * capacity:
            again.drop_oldest()

    def on_hit(self, entry: ArcEntry) -> None:
        source = entry.count
        entry.count = AGAIN
        self._move(entry, source, AGAIN)

    on_update = on_hit

    def victim(self, spare: ArcEntry | None = None) -> ArcEntry:
        used, target = self._weights[ONCE], self.target
        chosen = ONCE if used > target or (self._returning == AGAIN and used == target) else AGAIN
        if self._chains[chosen].holds_only(spare):
            chosen = AGAIN - chosen
        entry = self._chains[chosen].oldest(spare)
        ghosts = self._ghosts[chosen]
        # Ghosts that are lighter than entries may be more than the charge counts; then the older of both kinds go.
        while self._ghosts[ONCE].count + self._ghosts[AGAIN].count > self._count:
            (ghosts if ghosts.count else self._ghosts[AGAIN - chosen]).drop_oldest()
        ghosts.add(hash(entry.key), self.weight_of(entry))
        return entry

    def _coldest_first(self) -> Sequence[int]:
        return ONCE, AGAIN
