"""What records show: failures, wrong answers, how long nothing was acknowledged, how long reads took. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.traffic.records import FAILED, MISSING, OK, OLDER, READ, WRITE, Records


@dataclass(frozen=True, slots=True)
class Counts:
    """Operations by what became of them."""

    reads: int
    writes: int
    failed_reads: int
    failed_writes: int
    older_reads: int
    """Reads that returned less than had been acknowledged."""
    missing_reads: int
    """Reads that found nothing where something had been acknowledged."""

    @property
    def failed(self) -> int:
        """Operations that raised an error."""
        return self.failed_reads + self.failed_writes


def count(records: Records) -> Counts:
    """Return how many operations there were, and what became of them."""

    def number(kind: int, outcome: int | None = None) -> int:
        rows = records.kind == kind
        return int(np.count_nonzero(rows if outcome is None else rows & (records.outcome == outcome)))

    return Counts(number(READ), number(WRITE), number(READ, FAILED), number(WRITE, FAILED), number(READ, OLDER),
                  number(READ, MISSING))


def longest_gap_s(records: Records, slots: npt.NDArray[np.int64], from_s: float, to_s: float) -> float:
    """Return the longest time between two acknowledged writes to `slots` one after the other, from `from_s` to `to_s`.

    The two ends count as acknowledgements, so that silence until the end is a gap and not nothing.
    """
    acked = (records.kind == WRITE) & (records.outcome == OK) & np.isin(records.slot, slots)
    ends_s = records.ended_s[acked]
    inside = np.sort(ends_s[(ends_s >= from_s) & (ends_s <= to_s)])
    return float(np.diff(np.concatenate(([from_s], inside, [to_s]))).max())


def read_times_ms(records: Records) -> npt.NDArray[np.float64]:
    """Return how long each read took that gave an answer, in milliseconds."""
    answered = records.where((records.kind == READ) & (records.outcome != FAILED))
    return (answered.ended_s - answered.began_s) * 1000


def between(records: Records, from_s: float, to_s: float) -> Records:
    """Return the operations that began from `from_s` to `to_s`."""
    return records.where((records.began_s >= from_s) & (records.began_s < to_s))
