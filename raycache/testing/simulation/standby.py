"""A simulated standby of the router: the real rules of when it takes over, around the simulated router.

What lives here: what its actor does before each step. What does not: any decision (`raycache.router.standing_by`).
"""

from __future__ import annotations

from raycache.ring.topology import Topology
from raycache.router.messages import PushTopology
from raycache.router.standing_by import Move, begin, new_basis, next_move
from raycache.testing.simulation.router import RouterNode


class StandbyNode(RouterNode):
    """A router that waits for the other one's end, in all its lives."""

    basis: Topology | None = None
    """What it has begun with."""

    def boot(self) -> None:
        """Start, knowing nothing and wanting nothing."""
        self.start()
        self.basis = None
        self.know_nothing(0)
        self.core.recover(self.world.shard_names(), [], self._now_s())
        self.begin_loops()

    def _run_step(self) -> None:
        now_s = self._now_s()
        match next_move(self.core, self.basis, now_s):
            case Move.STAND:
                self.world.note(self.name, "stands for election")
                now_ms = self.clock.unix_ms()
                term = max(now_ms, self.core.needs_term + 1 + int(1000 * self.world.rng.random()))
                self.core.take_term(term, epoch_floor=now_ms // 1000)
                self.links.ping_all()
            case Move.BEGIN_ANEW:
                self.world.note(self.name, "stands by")
                self.basis = new_basis(self.core)
                self.links.close()
                self.know_nothing(0)
                begin(self.core, self.basis, now_s)
        if self.core.term:
            for action in self.core.step(now_s):
                if isinstance(action, PushTopology):  # the rest takes Ray, and is the router's
                    self._carry_out(action)
