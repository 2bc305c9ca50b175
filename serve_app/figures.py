"""What the HTTP door counts and measures: answers by status, and how long requests took, by class.

What lives here: the counting, for each cluster apart, and its samples. Pure: durations are handed in. What does not:
when a request begins and ends (`middleware.py`), which class it has (`classes.py`), who gets the samples (`app.py`).
Belongs to the Serve replica's loop.

Every request is measured, and none stands for others: it takes some 1,000 times as long as counting it.
"""

from __future__ import annotations

from typing import Final

from raycache.metrics.families import Samples
from raycache.metrics.histogram import Histogram

DOOR: Final = "http"
GONE: Final = 499
"""Stands for the status of a request that got none: its client was gone first."""
_NO_ERRORS: Final = frozenset({404, 412})
"""Answers that say how things are: the key is absent, or at another version."""


class _OfCluster:
    """Figures of one cluster's requests."""

    def __init__(self) -> None:
        self.answers: dict[int, int] = {}
        """By status."""
        self.latency: dict[str, Histogram] = {}
        """By class."""
        self.errors: dict[str, int] = {}
        """By class: answered with an error."""


class HttpFigures:
    """Figures of one Serve replica."""

    def __init__(self) -> None:
        self._by_cluster: dict[str, _OfCluster] = {}

    def answered(self, cluster: str, class_: str, status: int, took_s: float) -> None:
        """Count one request.

        Args:
            cluster: which one it was about; "": none, or none that is known. Names from outside would never end.
            class_: one of `raycache.shard.classes.CLASSES`; "": it was no command, and only its status counts.
            status: what it was answered with; 0: with nothing.
            took_s: from its head to the end of its answer.
        """
        found = self._by_cluster.get(cluster)
        if found is None:
            found = self._by_cluster[cluster] = _OfCluster()
        status = status or GONE
        found.answers[status] = found.answers.get(status, 0) + 1
        if not class_:
            return
        histogram = found.latency.get(class_)
        if histogram is None:
            histogram = found.latency[class_] = Histogram()
            found.errors[class_] = 0
        histogram.observe(took_s)
        if status >= 400 and status not in _NO_ERRORS:
            found.errors[class_] += 1

    def samples(self) -> dict[str, Samples]:
        """Return the samples by cluster."""
        return {name: _samples(found) for name, found in self._by_cluster.items()}


def _samples(found: _OfCluster) -> Samples:
    samples = Samples()
    for class_, histogram in found.latency.items():
        samples.add("raycache_commands_total", histogram.count, DOOR, "", class_)
        samples.add("raycache_command_errors_total", found.errors[class_], DOOR, "", class_)
        samples.add("raycache_command_duration_seconds", histogram, DOOR, "", class_)
    for status, count in sorted(found.answers.items()):
        samples.add("raycache_http_requests_total", count, str(status))
    return samples
