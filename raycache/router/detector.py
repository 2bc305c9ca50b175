"""Heartbeats: who has not answered for too long.

What lives here: bookkeeping of pings and answers, with time handed in. What does not: sending them (the router's
shell does, over its control connection to each shard) and what a loss means (`raycache.router.core`). A reset
connection needs no detector: the shell tells the core at once.

How the shell drives it, on the router's loop: `watch` when a shard registers; several times in `ping_every_s`, ping
whatever `due` returns and tell the core `shard_lost` for whatever `suspects` returns; call `heard` on every answer.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Watched:
    incarnation: int
    heard_at_s: float
    pinged_at_s: float
    usual_gap_s: float = 0.0
    """The longest silence lately; each answer makes it a tenth shorter."""
    is_suspected: bool = False

    def patience_s(self, suspect_after_s: float, at_most_s: float) -> float:
        """Return the silence that means something: twice the usual one, within limits."""
        return min(max(suspect_after_s, 2 * self.usual_gap_s), at_most_s)


class Detector:
    """Which shards are due for a ping, and which are silent."""

    __slots__ = ("_asked_at_s", "_ping_every_s", "_suspect_after_s", "_suspect_at_last_s", "_watched")

    def __init__(
        self, *, ping_every_s: float = 0.25, suspect_after_s: float = 1.0, suspect_at_last_s: float = 2.0
    ) -> None:
        """Make a detector that watches nobody.

        Args:
            ping_every_s: between two pings of one shard.
            suspect_after_s: silence after which a shard counts as lost. DESIGN wants a frozen one found within a
                second; less would take a busy machine's stutter for a death, and outlast no lease.
            suspect_at_last_s: where answers come unsteadily, patience grows to twice the longest gap of late, but not
                beyond this.
        Raises:
            ValueError: there would be no ping within the silence.
        """
        if not 0 < ping_every_s < suspect_after_s:
            raise ValueError(f"ping_every_s must be above 0 and below suspect_after_s, not {ping_every_s}")
        self._ping_every_s = ping_every_s
        self._suspect_after_s = suspect_after_s
        self._suspect_at_last_s = max(suspect_after_s, suspect_at_last_s)
        self._asked_at_s: float | None = None
        self._watched: dict[str, _Watched] = {}

    def watch(self, shard_id: str, incarnation: int, now_s: float) -> None:
        """Start watching a shard's process, from now on and instead of any older one."""
        self._watched[shard_id] = _Watched(incarnation, now_s, now_s)

    def forget(self, shard_id: str) -> None:
        """Stop watching a shard."""
        self._watched.pop(shard_id, None)

    def heard(self, shard_id: str, incarnation: int, now_s: float) -> None:
        """Note a sign of life; one from an older process counts for nothing."""
        watched = self._watched.get(shard_id)
        if watched is not None and watched.incarnation == incarnation and now_s > watched.heard_at_s:
            watched.usual_gap_s = max(0.9 * watched.usual_gap_s, now_s - watched.heard_at_s)
            watched.heard_at_s, watched.is_suspected = now_s, False

    def due(self, now_s: float) -> list[str]:
        """Return the shards to ping now; each is then taken as pinged."""
        self._excuse_own_pause(now_s)
        due = [shard_id for shard_id, watched in self._watched.items()
               if now_s - watched.pinged_at_s >= self._ping_every_s]
        for shard_id in due:
            self._watched[shard_id].pinged_at_s = now_s
        return due

    def suspects(self, now_s: float) -> list[tuple[str, int]]:
        """Return (shard, incarnation) of those silent for too long, each once until it answers; it is pinged on."""
        self._excuse_own_pause(now_s)
        silent = [(shard_id, watched.incarnation) for shard_id, watched in self._watched.items()
                  if not watched.is_suspected and now_s - watched.heard_at_s
                  >= watched.patience_s(self._suspect_after_s, self._suspect_at_last_s)]
        for shard_id, _ in silent:
            self._watched[shard_id].is_suspected = True
        return silent

    def _excuse_own_pause(self, now_s: float) -> None:
        """Where this router itself stood still (its loop blocked, the machine asleep), everybody looks silent and their
        answers wait unread: the silence begins anew."""
        if self._asked_at_s is not None and now_s - self._asked_at_s > self._suspect_after_s / 2:
            for watched in self._watched.values():
                watched.heard_at_s = now_s
        self._asked_at_s = now_s
