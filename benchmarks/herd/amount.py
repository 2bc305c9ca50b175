"""How much `make bench-herd` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PROCESSES: Final = 8
CALLERS: Final = 1_000
LOAD_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Amount:
    """Chosen on the command line, the same for every part."""

    quick: bool = False
    """A tenth of the work: to try the parts, not for figures."""
    seed: int = 20260

    @property
    def callers(self) -> int:
        """Callers of the herd, over all processes."""
        return CALLERS // 10 if self.quick else CALLERS

    @property
    def rounds(self) -> int:
        """Rounds of each side."""
        return 3 if self.quick else 5

    @property
    def hot_s(self) -> float:
        """How long a key is kept hot, in seconds."""
        return 8.0 if self.quick else 60.0

    @property
    def calls(self) -> int:
        """Calls a round and side of the decorated hit."""
        return 1_000 if self.quick else 10_000

    @property
    def entries(self) -> int:
        """Entries that carry one tag."""
        return 20_000 if self.quick else 1_000_000

    @property
    def invalidations(self) -> int:
        """How often each size is invalidated."""
        return 10 if self.quick else 50
