"""How large the window of W-TinyLFU is: hill climbing on the hit ratio.

What lives here: one number and the rule that moves it. What does not: the window itself.
"""

from __future__ import annotations

from typing import Final

FIRST: Final = 0.01
FIRST_STEP: Final = 0.0625
RESTART: Final = 0.05
DECAY: Final = 0.98
PERIOD: Final = 10
MOST = 0.8


class Climber:
    __slots__ = ("_last", "_step", "hits", "misses", "part")

    def __init__(self) -> None:
        self.part = FIRST
        self._step = FIRST_STEP
        self._last = 0.0
        self.hits = 0
        self.misses = 0

    def window(self, capacity: int) -> int:
        return max(int(capacity * self.part), 1)

    def is_due(self, entries: int) -> bool:
        return self.hits + self.misses >= PERIOD * max(entries, 1)

    def step(self) -> None:
        ratio = self.hits / (self.hits + self.misses)
        change = ratio - self._last
        self._last = ratio
        self.hits = self.misses = 0
        amount = self._step if change >= 0 else -self._step
        self.part = min(max(self.part + amount, 0.0), MOST)
        self._step = FIRST_STEP * (1 if amount >= 0 else -1) if abs(change) >= RESTART else amount * DECAY
