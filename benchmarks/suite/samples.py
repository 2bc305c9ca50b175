"""From the nanoseconds of single requests to what the raw file keeps: rates, percentiles, counts by length.

What lives here: pure arithmetic. What does not: tables and plots (`benchmarks.report`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.harness.stats import median, percentile

PERCENTS: Final = (0.0, 5.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 100.0)
PAUSE_EDGES_MS: Final = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
SUSTAINED: Final = 0.9
"""A rate was kept if this part of it was answered: a short round ends with some that still wait."""

Ns = npt.NDArray[np.int64]


@dataclass(slots=True)
class Sample:
    """One round of one side."""

    rps: float
    waits_ns: Ns
    """How long each request took: in a closed loop from its beginning, in an open one from its time."""
    services_ns: Ns = field(default_factory=lambda: np.empty(0, np.int64))
    """In an open loop, how long each took from its beginning: what a benchmark would see that waits before it asks."""
    wrong: int = 0
    """Reads that did not return what was written."""
    failed: int = 0
    unserved: int = 0
    """Arrivals that were given up because the backlog was too long; each counts as having waited until then."""
    errors: dict[str, int] = field(default_factory=dict)


def ladder(times_ns: Ns) -> dict[str, float]:
    """Return percentiles in microseconds, by their names such as "p99.9": times that were really measured."""
    return {f"p{percent:g}": round(percentile(times_ns, percent) / 1000, 2) for percent in PERCENTS}


def counts_by_length(times_ns: Ns, edges_ms: Sequence[float] = PAUSE_EDGES_MS) -> list[int]:
    """Return how many times lie from each edge to below the next; the last count has all from the last edge on."""
    edges = np.concatenate((np.asarray(edges_ms, np.float64) * 1e6, [np.inf]))
    return [int(count) for count in np.histogram(times_ns, bins=edges)[0]]


def record(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return what is kept of the rounds of one side at one point; plain JSON values.

    Raises:
        ValueError: there are no rounds, or a round measured nothing.
    """
    if not samples:
        raise ValueError("no rounds")
    waits = np.concatenate([sample.waits_ns for sample in samples])
    services = np.concatenate([sample.services_ns for sample in samples])
    kept: dict[str, Any] = {
        "rps": median([sample.rps for sample in samples]),
        "rps_rounds": [round(sample.rps, 2) for sample in samples],
        "p50_us_rounds": [round(percentile(sample.waits_ns, 50) / 1000, 2) for sample in samples],
        "p99_us_rounds": [round(percentile(sample.waits_ns, 99) / 1000, 2) for sample in samples],
        "requests": int(waits.size),
        "latency_us": ladder(waits),
        "wrong": sum(sample.wrong for sample in samples),
        "failed": sum(sample.failed for sample in samples),
        "unserved": sum(sample.unserved for sample in samples),
    }
    if services.size:
        kept["service_us"] = ladder(services)
    errors: dict[str, int] = {}
    for sample in samples:
        for text, count in sample.errors.items():
            errors[text] = errors.get(text, 0) + count
    return kept | ({"errors": errors} if errors else {})


def is_sustained(kept: dict[str, Any], rate: float) -> bool:
    """Whether a side kept up with an open loop: nothing was given up, and it answered as fast as it was asked."""
    return not kept["unserved"] and not kept["failed"] and kept["rps"] >= SUSTAINED * rate
