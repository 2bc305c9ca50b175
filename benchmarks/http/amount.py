"""How much `make bench-http` does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Amount:
    """Chosen on the command line, the same for every part."""

    quick: bool = False
    """A part of the work: to try the parts, not for figures."""

    @property
    def rounds(self) -> int:
        """Rounds of each side."""
        return 2 if self.quick else 5

    @property
    def round_s(self) -> int:
        """How long a side is loaded in one round, in seconds."""
        return 2 if self.quick else 4
