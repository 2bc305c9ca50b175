"""How much `make bench-hits` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.hits.traces import TRACES, Reference

SHORT: Final = ("multi3", "sprite", "web12")
"""Traces of a sixth of the requests."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Chosen on the command line, the same for every part."""

    quick: bool = False
    """The three short traces and short rounds: to try the parts, not for figures."""
    traces: Path = TRACES
    seed: int = 20260

    def reference(self) -> Reference:
        """Return the traces to replay, with what is known of them.

        Raises:
            LookupError: they are not there.
        """
        reference = Reference.load(self.traces)
        return reference.only(SHORT) if self.quick else reference

    @property
    def rounds(self) -> int:
        """Rounds of each side where something is timed."""
        return 5 if self.quick else 9

    @property
    def requests(self) -> int:
        """Requests a round where something is timed."""
        return 100_000 if self.quick else 400_000
