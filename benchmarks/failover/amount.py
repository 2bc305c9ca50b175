"""How much `make bench-failover` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KILLS: Final = 10
REDIS_KILLS: Final = 3
MACHINES_LOST: Final = 3
QUICK: Final = 2
RATE: Final = 5_000.0
"""Operations a second, half of them writes."""


@dataclass(frozen=True, slots=True)
class Amount:
    """How much to do: chosen on the command line, the same for every part."""

    quick: bool = False
    """A few kills and short absences: to try the parts, not for figures."""
    seed: int = 20260

    @property
    def kills(self) -> int:
        """Processes killed per mode."""
        return QUICK if self.quick else KILLS

    @property
    def redis_kills(self) -> int:
        """Primaries of Redis Cluster killed; few, because each costs half a minute."""
        return 1 if self.quick else REDIS_KILLS

    @property
    def machines_lost(self) -> int:
        """Machines powered off or cut off per mode."""
        return 1 if self.quick else MACHINES_LOST

    def seconds(self, full_s: float) -> float:
        """Return how long something stays away."""
        return min(full_s, 10.0) if self.quick else full_s
