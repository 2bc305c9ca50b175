"""How much `make bench-fast` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ROUNDS: Final = 7


@dataclass(frozen=True, slots=True)
class Amount:
    """Chosen on the command line, the same for every part."""

    quick: bool = False
    """A tenth of the work: to try the parts, not for figures."""
    seed: int = 20260

    @property
    def rounds(self) -> int:
        """Rounds of each side, in turns."""
        return 3 if self.quick else ROUNDS

    def size(self, full: int) -> int:
        """Return how many operations a round makes."""
        return max(1, full // 10) if self.quick else full
