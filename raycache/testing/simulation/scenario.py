"""What one seed means: mode, sizes, clocks, and which troubles there will be.

What lives here: drawing a scenario. What does not: carrying it out (`world`, `faults`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final

from raycache.testing.simulation.workload import Mix

MODES: Final = ("primary-replica", "multi-primary", "quorum", "primary-replica", "single")
FAULTS: Final = ("crash", "power", "pause", "cut", "cut-one-way", "reset", "slow", "jump", "router", "two-routers",
                 "scale", "drain", "clients-cut")


@dataclass(slots=True)
class Scenario:
    """Everything that is drawn before anything happens."""

    seed: int
    mode: str
    shards: int
    copies: int
    faults: tuple[str, ...]
    clients: int = 3
    chaos_s: float = 2.0
    """How long there is trouble."""
    between_s: float = 0.4
    """The mean time from one trouble to the next."""
    quiet_s: float = 0.5
    """How long nothing happens before the last look, at least."""
    patience_s: float = 20.0
    """How long everything may take to settle after the trouble: less than between two comparisons of copies that
    nothing calls for (30 s), which would repair in time what was lost in silence."""
    step_s: float = 0.04
    clock_offsets_ms: tuple[int, ...] = ()
    clock_rate_spread: float = 0.0
    repeats: float = 0.0
    """How many of the messages between shards come twice."""
    memory_bytes: int = 4 * 1024 * 1024
    settings: dict[str, Any] = field(default_factory=dict)
    """Further ones of `ClusterConfig`."""
    mix: Mix = field(default_factory=Mix)

    @property
    def evicts(self) -> bool:
        """Whether shards are too small for all the keys."""
        return "max_entries_per_shard" in self.settings

    @property
    def is_gentle(self) -> bool:
        """Whether nothing breaks: shards come and go, and the router."""
        return not set(self.faults) - {"router", "scale", "drain", "jump"}


def draw(seed: int, mode: str | None = None) -> Scenario:
    """Return the scenario of `seed`; the mode follows from it unless given."""
    rng = random.Random(seed)
    mode = mode or MODES[seed % len(MODES)]
    shards = rng.choice((3, 3, 4, 5))
    copies = 1 if mode == "single" else 3 if mode == "quorum" else rng.choice((2, 2, 3))
    kinds = [kind for kind in FAULTS if rng.random() < 0.25]
    scenario = Scenario(seed, "primary-replica" if mode == "single" else mode, shards, copies, tuple(kinds))
    if rng.random() < 0.6:
        scenario.clock_offsets_ms = tuple(rng.randrange(-600_000, 600_000) for _ in range(8))
    if rng.random() < 0.3:
        scenario.clock_rate_spread = 0.02
    if rng.random() < 0.3:
        scenario.repeats = 0.1
    if rng.random() < 0.1:
        scenario.settings["backlog_bytes"] = rng.choice((1500, 4000))
    if rng.random() < 0.15:
        scenario.mix.expiring = 0.2
    if rng.random() < 0.3:
        scenario.mix.keys = 4
    elif rng.random() < 0.15:
        scenario.settings["max_entries_per_shard"] = rng.choice((5, 8))
    return scenario
