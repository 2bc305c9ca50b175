"""How much `make bench-warm` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KEYS: Final = 10_000
ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Amount:
    """Chosen on the command line, the same for every part."""

    quick: bool = False
    """A tenth of the keys and one round: to try the parts, not for figures."""
    wanted_rounds: int = ROUNDS
    """Rounds a side, unless quick."""
    seed: int = 20260

    @property
    def keys(self) -> int:
        """Keys that are loaded each time."""
        return KEYS // 10 if self.quick else KEYS

    @property
    def rounds(self) -> int:
        """Rounds a side."""
        return 1 if self.quick else self.wanted_rounds

    @property
    def rest_s(self) -> float:
        """How long the other clients are watched alone, in seconds."""
        return 2.0 if self.quick else 5.0
