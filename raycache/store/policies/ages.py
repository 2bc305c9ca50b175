"""How long entries of a chain have been idle, without a word about it in any of them.

What lives here: dividers, which stand in the chain between entries. Whoever is used goes to the young end, behind all
of them; so what still stands in front of a divider has not been used since that was put there. Where an entry is used
this costs nothing, and a time in each would cost 8 bytes an entry; the dividers of a store are some hundreds. What does
not: the order itself (`lru.py`).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

from raycache.store.policies.chain import ChainEntry, unlink

EVERY_MS: Final = 100
"""How often a divider is put; idle times are short by as much."""
COARSER_BY: Final = 32
"""One that tells apart only what is this many times as old as the difference goes: 3 % more that they are short by."""
STEP: Final = 10_000
"""Entries passed in one go: about 0.3 ms."""
_FIRST_THINNING: Final = 256


class Divider(ChainEntry):
    """What stands in front of it was not used from `at_ms` on. None: a bookmark of somebody who looks for one."""

    __slots__ = ("at_ms", "is_linked")

    at_ms: int | None
    is_linked: bool

    def __repr__(self) -> str:
        return f"<Divider at {self.at_ms}>"


class Ages:
    """The dividers of the chain with this `root` (see `Chain`)."""

    def __init__(self, root: ChainEntry) -> None:
        self._root = root
        self._dividers: list[Divider] = []
        """Oldest first; some may have left the chain."""
        self._thin_at = _FIRST_THINNING
        self._ticked_ms = -EVERY_MS

    def tick(self, now_ms: int) -> None:
        """Put a divider, unless the last one is so young or nobody was used since."""
        if 0 <= now_ms - self._ticked_ms < EVERY_MS:
            return
        self._ticked_ms = now_ms
        youngest = self._root.prev
        if youngest is self._root or (isinstance(youngest, Divider) and youngest.at_ms is not None):
            return
        self._dividers.append(self._put(now_ms, self._root))
        if len(self._dividers) > self._thin_at:
            self._thin(now_ms)

    def idle(self, entry: ChainEntry, now_ms: int) -> Generator[None, None, int]:
        """Return for how many milliseconds `entry` has been idle; a step after every `STEP` entries passed."""
        root, at = self._root, entry.next
        while True:
            for _ in range(STEP):
                if at is root:
                    return 0
                if isinstance(at, Divider) and at.at_ms is not None:
                    return max(0, now_ms - at.at_ms)
                at = at.next
            bookmark = self._put(None, at)  # `at` itself may be anywhere after the pause
            try:
                yield None
                if not bookmark.is_linked:  # the whole chain has been taken apart
                    return 0
                at = bookmark.next
            finally:
                self._drop(bookmark)

    def first_behind(self, entry: ChainEntry) -> ChainEntry:
        """Return `entry`, or what stands behind it if it is a divider. One with nothing in front of it goes."""
        while isinstance(entry, Divider):
            behind = entry.next
            if entry.at_ms is not None and entry.prev is self._root:
                self._drop(entry)
            entry = behind
        return entry

    def close(self) -> None:
        """Take all dividers out of the chain, where nothing else is left."""
        while isinstance(divider := self._root.next, Divider):
            self._drop(divider)
        self._dividers.clear()

    @staticmethod
    def _put(at_ms: int | None, behind: ChainEntry) -> Divider:
        divider = Divider()
        divider.at_ms, divider.is_linked = at_ms, True
        ahead = behind.prev
        divider.prev, divider.next = ahead, behind
        ahead.next = behind.prev = divider
        return divider

    @staticmethod
    def _drop(divider: Divider) -> None:
        if divider.is_linked:
            divider.is_linked = False
            unlink(divider)

    def _thin(self, now_ms: int) -> None:
        """Take out the dividers that hardly tell anything. What is left: some 32 for each time the age doubles."""
        kept: list[Divider] = []
        linked = [divider for divider in self._dividers if divider.is_linked]
        for divider, younger in zip(linked, [*linked[1:], None], strict=True):
            ahead = divider.prev
            if isinstance(ahead, Divider) and ahead.at_ms is not None:
                self._drop(divider)  # nobody stands between the two
            elif kept and younger is not None and self._tells_little(kept[-1], younger, now_ms):
                self._drop(divider)
            else:
                kept.append(divider)
        self._dividers = kept
        self._thin_at = max(_FIRST_THINNING, 2 * len(kept))

    @staticmethod
    def _tells_little(older: Divider, younger: Divider, now_ms: int) -> bool:
        assert older.at_ms is not None
        assert younger.at_ms is not None
        return (younger.at_ms - older.at_ms) * COARSER_BY <= now_ms - younger.at_ms
