"""How long a lost node stays unreplaced, in the simulation: the real router and shards, with the network's delays.

What lives here: a simulated cluster of so many nodes that loses one, and the time until others serve in its place. What
does not: the simulation (`raycache.testing.simulation`). Its clock does not run while code runs: what deciding and
taking in a topology take on a real machine is measured apart (`pieces`), and added by whoever reports it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from raycache.ring.topology import Topology
from raycache.testing.simulation.actors import Actors
from raycache.testing.simulation.run import shared_topologies
from raycache.testing.simulation.scenario import Scenario
from raycache.testing.simulation.world import World

STEP_S: Final = 0.002
START_S: Final = 60.0
LIMIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Failover:
    """One lost node."""

    after_reset_s: float
    """From its process' end, which resets its connections, until all of its slots are served by others."""
    after_silence_s: float
    """From the loss of its power, which tells nobody, until then."""
    deciding_s: float
    """The longest time that the router's own code ran at a stretch meanwhile, on this machine's clock."""


class TooSlowError(Exception):
    """So large a cluster does not get ready in the time that there is."""


def fail_over(nodes: int, seed: int, *, budget_s: float) -> Failover:
    """Lose a node of `nodes` twice, with and without resets.

    Args:
        budget_s: how long this may take on a real clock.
    Raises:
        TooSlowError: it takes longer.
    """
    with shared_topologies():
        reset_s, reset_ran_s = _lose(nodes, seed, silently=False, budget_s=budget_s / 2)
        silent_s, silent_ran_s = _lose(nodes, seed, silently=True, budget_s=budget_s / 2)
    return Failover(reset_s, silent_s, max(reset_ran_s, silent_ran_s))


def _lose(nodes: int, seed: int, *, silently: bool, budget_s: float) -> tuple[float, float]:
    end_s = time.monotonic() + budget_s
    world = World(Scenario(seed, "primary-replica", nodes, 2, ()))
    world.actors = Actors(world, nodes)
    longest_s = _watch_router(world)
    world.router.boot()
    while world.unsettled():
        _go_on(world, 0.25, end_s)
        if world.scheduler.now_s > START_S:
            raise TooSlowError(f"{nodes} simulated nodes: {world.unsettled()}")
    _go_on(world, 2.0, end_s)
    victim = world.shards[f"s{nodes // 2}"]
    longest_s[0] = 0.0
    lost_at_s = world.scheduler.now_s
    victim.die()
    world.network.ended(victim.name, silently=silently)
    while not _is_replaced(world, victim.name):
        _go_on(world, STEP_S, end_s)
        if world.scheduler.now_s > lost_at_s + LIMIT_S:
            raise TooSlowError(f"{victim.name} was not replaced within {LIMIT_S:g} simulated seconds")
    return world.scheduler.now_s - lost_at_s, longest_s[0]


def _go_on(world: World, for_s: float, end_s: float) -> None:
    """Let simulated time pass; look at the real clock often, for with many nodes much happens in little of it."""
    until_s = world.scheduler.now_s + for_s
    while world.scheduler.now_s < until_s:
        world.scheduler.run(min(world.scheduler.now_s + STEP_S, until_s))
        if time.monotonic() > end_s:
            raise TooSlowError("out of time")


def _is_replaced(world: World, lost: str) -> bool:
    """Whether the router has given the slots of `lost` to others, and each of those knows, and may serve."""
    table: Topology = world.router.core.topology
    if len(table.slots_of(lost)):
        return False
    return all((held := node.topology) is not None and held.epoch >= table.epoch and node.core.may_serve()
               for name in world.actors.places if (node := world.shards[name]).is_up)


def _watch_router(world: World) -> list[float]:
    """Note, in a list of one, for how long the router's steps run at most."""
    longest_s, step = [0.0], world.router._run_step

    def watched() -> None:
        began_s = time.perf_counter()
        step()
        longest_s[0] = max(longest_s[0], time.perf_counter() - began_s)

    world.router._run_step = watched  # type: ignore[method-assign]
    return longest_s
