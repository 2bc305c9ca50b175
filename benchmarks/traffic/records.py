"""Records of operations: one row each, as arrays, in memory and in a file.

What lives here: the columns, adding a row, reading files back. What does not: making the operations (`generator`) and
what rows mean together (`findings`). Times are CLOCK_MONOTONIC in seconds, which all processes of one machine share.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

READ: Final = 0
WRITE: Final = 1

OK: Final = 0
FAILED: Final = 1
"""It raised an error. A write may or may not have happened."""
OLDER: Final = 2
"""A read returned less than had been acknowledged before it began."""
MISSING: Final = 3
"""A read found nothing, where a write had been acknowledged before it began."""


class Recorder:
    """Rows of one generator. HOT: a handful of appends an operation."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.began_s, self.ended_s = array("d"), array("d")
        self.kind, self.outcome = array("B"), array("B")
        self.key = array("L")

    def add(self, kind: int, key: int, began_s: float, ended_s: float, outcome: int) -> None:
        """Add one operation that is over."""
        self.began_s.append(began_s)
        self.ended_s.append(ended_s)
        self.kind.append(kind)
        self.outcome.append(outcome)
        self.key.append(key)

    def save(self, path: Path) -> None:
        """Write all rows to `path` and forget them."""
        np.savez(path, began_s=np.array(self.began_s), ended_s=np.array(self.ended_s), kind=np.array(self.kind),
                 outcome=np.array(self.outcome), key=np.array(self.key))
        self._clear()


@dataclass(frozen=True, slots=True)
class Records:
    """Rows of all generators together, in no order."""

    began_s: npt.NDArray[np.float64]
    ended_s: npt.NDArray[np.float64]
    kind: npt.NDArray[np.uint8]
    outcome: npt.NDArray[np.uint8]
    slot: npt.NDArray[np.int64]
    """Of the operation's key."""

    @classmethod
    def load(cls, files: dict[Path, npt.NDArray[np.int64]]) -> Records:
        """Return the rows of several files.

        Args:
            files: path -> the slot of each key number of the generator that wrote it.
        """
        parts = [(np.load(path), slots) for path, slots in files.items()]
        columns = {name: np.concatenate([part[name] for part, _ in parts])
                   for name in ("began_s", "ended_s", "kind", "outcome")}
        return cls(**columns, slot=np.concatenate([slots[part["key"]] for part, slots in parts]))

    def where(self, rows: npt.NDArray[np.bool_]) -> Records:
        """Return the chosen rows alone."""
        return Records(self.began_s[rows], self.ended_s[rows], self.kind[rows], self.outcome[rows], self.slot[rows])

    def __len__(self) -> int:
        return len(self.kind)
