"""How much `make bench-rescale` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ENTRIES: Final = 1_000_000
ROUNDS: Final = 7
REQUESTS: Final = 200_000


@dataclass(frozen=True, slots=True)
class Amount:
    """Chosen on the command line, the same for every part."""

    quick: bool = False
    """A tenth of the work: to try the parts, not for figures."""
    seed: int = 20260

    @property
    def entries(self) -> int:
        """Entries that lie in the cluster while it is scaled."""
        return ENTRIES // 10 if self.quick else ENTRIES

    @property
    def rounds(self) -> int:
        """Rounds of redis-benchmark a side."""
        return 3 if self.quick else ROUNDS

    @property
    def requests(self) -> int:
        """Requests a round."""
        return REQUESTS // 10 if self.quick else REQUESTS
