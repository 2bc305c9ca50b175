"""Running one seed, or many.

What lives here: from a seed to its outcome. What does not: the command line (`__main__`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b

from raycache.ring.topology import Topology
from raycache.testing.simulation.scenario import Scenario, draw
from raycache.testing.simulation.world import World


@dataclass(slots=True)
class Outcome:
    """What became of one seed."""

    scenario: Scenario
    breaches: list[str]
    """Broken promises; none: it passed."""
    operations: int = 0
    events: int = 0
    simulated_s: float = 0.0
    trace: list[str] = field(default_factory=list)

    def fingerprint(self) -> str:
        """Return a short text that is the same for the same trace."""
        return blake2b("\n".join(self.trace).encode(), digest_size=8).hexdigest()


def run_seed(seed: int, *, mode: str | None = None, is_traced: bool = False,
             scenario: Scenario | None = None) -> Outcome:
    """Run one simulation from its start to its last look.

    Args:
        mode: instead of the one that the seed means.
        scenario: instead of the one that the seed means.
    """
    with shared_topologies():
        world = World(scenario or draw(seed, mode), is_traced=is_traced)
        breaches = world.run()
    return Outcome(world.scenario, breaches, len(world.history.operations), world.scheduler.events,
                   world.scheduler.now_s, world.trace or [])


@contextmanager
def shared_topologies() -> Iterator[None]:
    """Let all shards of a simulation share what they decode and encode: topologies are immutable, and that costs more
    than everything else that a shard does with one."""
    decode, encode = Topology.from_bytes, Topology.to_bytes
    encoded: dict[int, tuple[Topology, bytes]] = {}

    def to_bytes(self: Topology) -> bytes:
        found = encoded.get(id(self))
        if found is None:
            found = encoded[id(self)] = (self, encode(self))  # as long as it stands here, nobody else has its id
        return found[1]

    Topology.from_bytes = staticmethod(lru_cache(256)(decode))  # type: ignore[method-assign]
    Topology.to_bytes = to_bytes  # type: ignore[method-assign]
    try:
        yield
    finally:
        Topology.from_bytes, Topology.to_bytes = decode, encode  # type: ignore[method-assign]
