"""A whole cluster in one process, under one seed: the real cores, and a world that is against them.

What lives here: `run_seed`. A simulation has no sockets, no tasks, no threads and no real clock: every event has its
place in one queue, every die is thrown by one generator, so a seed tells the same story each time it is told.

    python -m raycache.testing.simulation --seed 17 --trace

The parts: `scheduler` (time), `network`, `clocks`, `shard`, `router`, `actors` (what Ray does), `client` and
`workload` (who asks), `faults` (trouble), `history` and `observer` (what happened), `checks` (what was promised),
`scenario` (what a seed means), `world` (all of it together).
"""

from raycache.testing.simulation.run import Outcome, run_seed

__all__ = ["Outcome", "run_seed"]
