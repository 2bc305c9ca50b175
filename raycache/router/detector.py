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


class Detector:
    """Which shards are due for a ping, and which are silent."""

    __slots__ = ("_asked_at_s", "_ping_every_s", "_suspect_after_s", "_watched")

    def __init__(self, *, ping_every_s: float = 0.25, suspect_after_s: float = 1.0) -> None:
        """Make a detector that watches nobody.

        Args:
            ping_every_s: between two pings of one shard.
            suspect_after_s: silence after which a shard counts as lost. DESIGN wants a frozen one found within a
                second; less would take a busy machine's stutter for a death.
        Raises:
            ValueError: there would be no ping within the silence.
        """
        if not 0 < ping_every_s < suspect_after_s:
            raise ValueError(f"ping_every_s must be above 0 and below suspect_after_s, not {ping_every_s}")
        self._ping_every_s = ping_every_s
        self._suspect_after_s = suspect_after_s
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
        if watched is not None and watched.incarnation == incarnation:
            watched.heard_at_s = max(watched.heard_at_s, now_s)

    def due(self, now_s: float) -> list[str]:
        """Return the shards to ping now; each is then taken as pinged."""
        self._excuse_own_pause(now_s)
        due = [shard_id for shard_id, watched in self._watched.items()
               if now_s - watched.pinged_at_s >= self._ping_every_s]
        for shard_id in due:
            self._watched[shard_id].pinged_at_s = now_s
        return due

    def suspects(self, now_s: float) -> list[tuple[str, int]]:
        """Return (shard, incarnation) of those silent for too long; they are then no longer watched."""
        self._excuse_own_pause(now_s)
        silent = [(shard_id, watched.incarnation) for shard_id, watched in self._watched.items()
                  if now_s - watched.heard_at_s >= self._suspect_after_s]
        for shard_id, _ in silent:
            del self._watched[shard_id]
        return silent

    def _excuse_own_pause(self, now_s: float) -> None:
        """Where this router itself stood still (its loop blocked, the machine asleep), everybody looks silent and their
        answers wait unread: the silence begins anew."""
        if self._asked_at_s is not None and now_s - self._asked_at_s > self._suspect_after_s / 2:
            for watched in self._watched.values():
                watched.heard_at_s = now_s
        self._asked_at_s = now_s
