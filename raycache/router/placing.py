"""On which node a new shard goes.

What lives here: one pure function. What does not: when shards are created (`raycache.router.core`), and slots
(`raycache.ring`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from raycache.router.messages import NodeReport


@dataclass(frozen=True, slots=True)
class Choice:
    """Where one new shard goes, and what it reserves there."""

    node: NodeReport
    cpus: float


def choose_nodes(
    nodes: Iterable[NodeReport], occupied: Iterable[str], wishes: Sequence[float], pending: Mapping[str, float]
) -> list[Choice]:
    """Return a node for each new shard; none where no node is alive.

    Where there is room (`NodeReport.room`) and the reservation fits comes first, then the zone with the fewest shards,
    the machine, the node; ties go to the lower node id. A node that is about to go is taken only where there is no
    other. Where the reservation fits nowhere, the shard goes where it would go without one, and reserves nothing.

    Args:
        occupied: the node id of every shard that is there or planned.
        wishes: the CPUs that each new shard should reserve.
        pending: CPUs per node that are promised but not yet missing from `cpus_free`.
    """
    alive = sorted((node for node in nodes if node.takes_shards), key=lambda node: node.node_id)
    alive = [node for node in alive if not node.is_draining] or alive
    by_id = {node.node_id: node for node in alive}
    placed = [by_id[node_id] for node_id in occupied if node_id in by_id]
    free = {node.node_id: node.cpus_free - pending.get(node.node_id, 0.0) for node in alive}
    choices: list[Choice] = []
    for cpus in wishes if alive else ():
        zones = Counter(node.zone for node in placed)
        machines = Counter(node.machine for node in placed)
        shards = Counter(node.node_id for node in placed)
        roomy = [node for node in alive if node.room is None or shards[node.node_id] < node.room] or alive
        fitting = [node for node in roomy if not cpus or free[node.node_id] >= cpus]
        best = min(fitting or roomy, key=lambda n: (zones[n.zone], machines[n.machine], shards[n.node_id], n.node_id))
        choices.append(Choice(best, cpus if fitting else 0.0))
        free[best.node_id] -= choices[-1].cpus
        placed.append(best)
    return choices
