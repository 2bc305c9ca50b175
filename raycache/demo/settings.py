"""What the demo was asked for, and what it has to show at any moment: plain, frozen records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from raycache.cluster_status import ShardStatus
from raycache.demo.tally import Tally


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """What to run."""

    seconds: float | None = 20.0
    """How long the readers read; None: until the trace ends."""
    shards: int = 3
    memory: str = "9MiB"
    """So little that the default run fills it, and the policy has something to decide."""
    policy: str = "lru"
    readers: int = 3
    trace: Path | None = None
    """A recorded trace to replay; None: Zipf popularity."""
    skew: float = 1.1
    seed: int = 1

    def __post_init__(self) -> None:
        if self.trace is None and self.seconds is None:
            raise ValueError("without a trace the readers never come to an end: say for how many seconds")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the run stands."""

    elapsed_s: float
    fraction: float
    """How much is done, 0 to 1."""
    tally: Tally
    """All readers, from the start."""
    shards: tuple[ShardStatus, ...]
    keys: int
    """In the cache, in all shards."""

    @property
    def reads_per_s(self) -> float:
        """Reads per second from the start."""
        return self.tally.lookups / self.elapsed_s if self.elapsed_s else 0.0
