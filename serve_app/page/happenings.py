"""What happened to a cluster, each thing once: the router's events, and what shards refuse.

What lives here: giving events numbers, so that a page can tell new ones from those it has shown. What does not: seeing
failovers and transfers (`raycache.router`), which tells of each by its age. Pure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

KEPT: Final = 60
"""Events kept. The router keeps about as many."""
SAME_S: Final = 2.0
"""Two events of the same words are one if they are no further apart: their times are ages, measured anew each time."""

_REFUSALS: Final = (
    ("rejected", "writes for want of space"),
    ("queue_refused", "writes because too many wait for a database"),
    ("connections_refused", "connections above its limit"),
)
"""A shard's counters, and what they count."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One event."""

    id: int
    kind: str
    """That of `raycache.cluster_status.Event`."""
    text: str
    at_s: float
    """Unix time."""


class Happenings:
    """The last events, numbered in the order in which they became known."""

    def __init__(self) -> None:
        self._known: deque[Happening] = deque(maxlen=KEPT)
        self._next_id = 1

    def take(self, events: Sequence[tuple[str, str, float]], now_s: float) -> None:
        """Take note of the router's list of (kind, text, unix time), whatever of it is known already.

        Args:
            now_s: unix time; nothing is later than that.
        """
        for kind, text, at_s in sorted(events, key=lambda event: event[2]):
            if not any(one.kind == kind and one.text == text and abs(one.at_s - at_s) <= SAME_S for one in self._known):
                self.add(kind, text, min(at_s, now_s))

    def add(self, kind: str, text: str, at_s: float) -> None:
        """Take note of something new."""
        self._known.append(Happening(self._next_id, kind, text, at_s))
        self._next_id += 1

    def newest_first(self) -> list[dict[str, Any]]:
        """Return all that are kept as JSON types, the latest first."""
        return [{"id": one.id, "kind": one.kind, "text": one.text, "at": one.at_s}
                for one in sorted(self._known, key=lambda one: (one.at_s, one.id), reverse=True)]


def refusals(stats: Mapping[str, Mapping[str, Any]], before: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each shard and each kind of thing that it has refused since `before`."""
    for shard_id, figures in stats.items():
        past = before.get(shard_id)
        if past is None:
            continue
        for name, what in _REFUSALS:
            count = figures.get(name, 0) - past.get(name, 0)
            if count > 0:
                yield f"{shard_id} refused {count:,} {what}"
