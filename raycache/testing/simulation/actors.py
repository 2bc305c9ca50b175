"""What Ray does in a simulation: it creates, restarts and ends processes, and carries control calls.

What lives here: actors by name, `max_restarts=-1`, registrations, the list of machines. What does not: the processes.
Ray is taken as working (its own trouble is tried on the real one), but its calls pass the same partitions as all else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from raycache.router.messages import NodeReport
from raycache.testing.simulation.scheduler import Process

if TYPE_CHECKING:
    from raycache.testing.simulation.shard import ShardNode
    from raycache.testing.simulation.world import World

CALL_TIMEOUT_S: Final = 2.0
RETRY_S: Final = 0.2


class Actors:
    """The actors of one cluster."""

    def __init__(self, world: World, machines: int) -> None:
        self._world = world
        self.machines = {f"n{number}": NodeReport(f"n{number}", f"10.0.0.{number}", cpus_free=8.0)
                         for number in range(machines)}
        self.places: dict[str, str] = {}
        """Shard -> the machine that its actor runs on. What is not here does not exist."""

    def call(self, caller: Process, target: Process, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        """Let `target` do `work`; `done` gets what it returned, or None where no answer came in time."""
        world = self._world
        there, back = (caller.name, target.name), (target.name, caller.name)
        is_over = False

        def finish(result: Any) -> None:
            nonlocal is_over
            if not is_over:
                is_over = True
                done(result)

        def answer() -> None:
            result = work()
            if back not in world.network.blocked:
                world.scheduler.after(world.network.delay_s(back), caller.run, life, finish, result)

        life = caller.life
        if there not in world.network.blocked:
            world.scheduler.after(world.network.delay_s(there), target.run, target.life, answer)
        caller.after(CALL_TIMEOUT_S, finish, None)

    # Shards

    def create(self, shard: str, machine: str) -> None:
        """Create a shard's actor; one that exists stays as it is."""
        if shard not in self.places:
            self.places[shard] = machine
            self._world.scheduler.after(0.05 + 0.1 * self._world.rng.random(), self._boot, shard)

    def remove(self, shard: str) -> None:
        """End a shard's actor for good."""
        node = self._world.shards.get(shard)
        self.places.pop(shard, None)
        if node is not None and node.is_up:
            self._world.observer.dies(node)
            node.die()
            self._world.network.ended(shard, silently=False)

    def restart(self, shard: str, delay_s: float) -> None:
        """Start a dead shard's process again, as Ray does."""
        self._world.scheduler.after(delay_s, self._boot, shard)

    def _boot(self, shard: str) -> None:
        world = self._world
        if shard not in self.places:
            return
        node = world.shard(shard)
        if not node.is_up:
            world.network.lit(shard)
            node.boot()
            world.note(shard, f"boots, incarnation {node.incarnation}")
            self._register(node)

    def _register(self, node: ShardNode) -> None:
        """Tell the router that a shard is up, until it hears."""
        router = self._world.router

        def done(answer: Any) -> None:
            if answer is None:
                node.after(RETRY_S * 2 * self._world.rng.random(), self._register, node)
            elif answer:
                node.set_topology(answer)

        report = self.report(node)
        self.call(node, router, lambda: router.take_registration(report), done)

    def report(self, node: ShardNode) -> dict[str, Any]:
        """Return what a shard says of itself."""
        topology = node.core.topology
        return {
            "shard_id": node.name, "host": node.name, "port": 1, "node_id": self.places.get(node.name, ""),
            "incarnation": node.incarnation,
            "topology": topology.to_bytes() if topology is not None and topology.epoch else None,
            "granted_term": node.replicator.granted_term,
        }
