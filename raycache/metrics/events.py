"""What took long and when, second by second: the figures of Redis' LATENCY command.

What lives here: the events and their history. What does not: measuring, and the command
(`raycache.shard.commands.latency`). Pure.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

THRESHOLD_MS: Final = 10
"""Shorter ones are not kept (Redis' `latency-monitor-threshold`, which is off there unless set)."""
HISTORY: Final = 160
"""Seconds with an event that are kept of each, as in Redis."""

COMMAND: Final = "command"
"""A command held up its shard."""
PAUSE: Final = "event-loop"
"""The loop came late for its own timer, whatever the reason: a command, collected garbage, the machine."""
EXPLAINED: Final = {
    COMMAND: "commands that ran for long; SLOWLOG GET names them",
    PAUSE: "the event loop came late: a long command, the process' own work, or a machine that gave it no time",
}


@dataclass(slots=True)
class Spikes:
    """The history of one event: the longest of each second in which it happened."""

    points: deque[list[int]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    """[unix seconds, milliseconds], the oldest first."""
    max_ms: int = 0
    """The longest since the last reset."""

    def add(self, unix_s: int, duration_ms: int) -> None:
        """Note one; of a second the longest stays."""
        if self.points and self.points[-1][0] == unix_s:
            self.points[-1][1] = max(self.points[-1][1], duration_ms)
        else:
            self.points.append([unix_s, duration_ms])
        self.max_ms = max(self.max_ms, duration_ms)


class LatencyEvents:
    """All events of one process."""

    def __init__(self) -> None:
        self.threshold_ms = THRESHOLD_MS
        """Shorter ones are not kept; 0: none are."""
        self.by_name: dict[str, Spikes] = {}

    def add(self, name: str, duration_s: float, unix_ms: int) -> None:
        """Note an event if it took long enough."""
        duration_ms = round(duration_s * 1000)
        if self.threshold_ms and duration_ms >= self.threshold_ms:
            self.by_name.setdefault(name, Spikes()).add(unix_ms // 1000, duration_ms)

    def reset(self, names: list[str] | None = None) -> int:
        """Forget some events, or all; return how many there were."""
        gone = [self.by_name.pop(name, None) for name in (list(self.by_name) if names is None else names)]
        return sum(spikes is not None for spikes in gone)

    def report(self, unix_ms: int) -> str:
        """Return what LATENCY DOCTOR says: each event with its figures and its meaning."""
        if not self.threshold_ms:
            return "Nothing is watched: CONFIG SET latency-monitor-threshold to some milliseconds."
        if not self.by_name:
            return f"Nothing has taken {self.threshold_ms} ms or longer since the last LATENCY RESET."
        lines = [f"What took {self.threshold_ms} ms or longer since the last LATENCY RESET:", ""]
        for number, (name, spikes) in enumerate(self.by_name.items(), 1):
            values = [value for _, value in spikes.points]
            age_s = max(0, unix_ms // 1000 - spikes.points[-1][0])
            lines.append(f"{number}. {name}: {len(values)} seconds with it, on average {sum(values) / len(values):.0f} "
                         f"ms, at most {spikes.max_ms} ms, the last {age_s} s ago. That is: "
                         f"{EXPLAINED.get(name, 'nothing that this version knows')}.")
        return "\n".join(lines)
