"""What `Store.clear` leaves behind, taken apart a little at a time.

What lives here: whole generations of dropped entries. Freeing a million entries at once stops
the loop for more than 100 ms; forgetting them all at once and freeing them in steps does not.
They still count against the memory of the store until they are gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raycache.store.entry import Entry
from raycache.store.policies.base import EvictionPolicy
from raycache.store.segments import Segment
from raycache.store.wheel import TimerWheel


@dataclass(slots=True)
class Generation:
    """Everything that a store held at one moment."""

    segments: list[Segment]
    policy: EvictionPolicy[Any]
    wheel: TimerWheel


class Graveyard:
    """Generations waiting to be taken apart, first in, first out."""

    def __init__(self, on_free: Callable[[Entry], None]) -> None:
        """Make an empty one; `on_free` is called with each entry just before it is taken apart."""
        self._on_free = on_free
        self._generations: deque[Generation] = deque()

    def __bool__(self) -> bool:
        return bool(self._generations)

    def add(self, generation: Generation) -> None:
        """Take over a generation that nobody else uses any more."""
        self._generations.append(generation)

    def release(self, budget: int) -> int:
        """Free up to `budget` entries (and as many empty segments); return how many pieces that were."""
        spent = 0
        while self._generations and spent < budget:
            generation = self._generations[0]
            while generation.segments and spent < budget:
                spent += 1
                segment = generation.segments[-1]
                if segment:
                    self._free(generation, segment.popitem()[1])
                else:
                    generation.segments.pop()
            if not generation.segments:
                self._generations.popleft()
                generation.policy.close()
                generation.wheel.close()
        return spent

    def _free(self, generation: Generation, entry: Entry) -> None:
        self._on_free(entry)
        generation.policy.on_remove(entry)
        generation.wheel.cancel(entry)
