"""Who sees everything: what shards hold, what goes with one that dies, and whether bounds hold.

What lives here: reading cores from outside, without their knowledge. What does not: judging (`checks`). It must change
nothing, so it never calls what counts, ranks or expires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from raycache.replication.version import version_shard
from raycache.ring.slots import slot_of
from raycache.ring.topology import Topology
from raycache.testing.simulation.checks import Copy
from raycache.testing.simulation.history import Death, Loss, Operation

if TYPE_CHECKING:
    from raycache.testing.simulation.shard import ShardNode
    from raycache.testing.simulation.world import World

LOOK_S: Final = 0.1


class Observer:
    """Looks at one world's shards."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._spread: dict[bytes, int] = {}
        """Key -> the newest version that two shards had at once."""
        self._looked_at_s = 0.0
        self._epochs: dict[str, tuple[int, int]] = {}
        self._running_number = 0

    # What shards hold

    def copy_of(self, node: ShardNode, ahead_ms: int = 0) -> Copy:
        """Return what a shard has, but for what has expired by its clock, or by one that shows `ahead_ms`."""
        copy: Copy = {}
        if self._world.copies > 1:
            copies = node.replicator.copies
            copy.update((key, (version, None)) for key, version in copies.tombstones.items())
        now_ms = max(node.clock.unix_ms(), ahead_ms)
        for segment in node.core.store.hot[0]:
            for key, entry in segment.items():
                if entry.timer is None or entry.timer > now_ms:
                    copy[key] = (entry.version, entry.value)
        return copy

    def version_of(self, node: ShardNode, operation: Operation, since: int) -> int:
        """Return under which version a shard has done a client's write, 0 if it has not.

        Args:
            since: what the shard's clock showed before the command came.
        """
        store = node.core.store
        entry = store.hot[0][hash(operation.key) & store.hot[1]].get(operation.key)
        if self._world.copies == 1:
            if (entry is None) if operation.value is None else (entry is not None and entry.value == operation.value):
                self._running_number += 1
                return self._running_number
            return 0
        if operation.value is None:
            version = node.replicator.copies.tombstones.get(operation.key, 0)
        else:
            version = entry.version if entry is not None and entry.value == operation.value else 0
        return version if version > since and version_shard(version) == int(node.name[1:]) else 0

    # Deaths

    def look_around(self) -> None:
        """Note which versions more than one shard has: a death after that takes no write that was only there."""
        seen: dict[bytes, list[int]] = {}
        for node in self._world.shards.values():
            if node.is_up:
                for key, (version, _) in self.copy_of(node).items():
                    seen.setdefault(key, []).append(version)
        for key, versions in seen.items():
            if len(versions) > 1:
                self._spread[key] = max(sorted(versions)[-2], self._spread.get(key, 0))

    def dies(self, node: ShardNode) -> None:
        """Note what goes with a shard that is about to lose its memory."""
        world = self._world
        history, now_s = world.history, world.scheduler.now_s
        if world.copies == 1:
            return
        self.look_around()
        alive = [other for other in world.shards.values() if other.is_up and other is not node]
        # A process that came back, and that the router does not know yet, is no copy either.
        others = {other.name: self.copy_of(other) for other in alive if not other.replicator.copies.is_stranger}
        mine, table = self.copy_of(node), self._newest_table()
        losses = []
        for key, (version, _) in mine.items():
            # What somebody still has who does not own the slot any more is luck, and no copy.
            owners = [others.get(shard.id, {}) for shard in table.owners_of(slot_of(key))] if table is not None else []
            left = max((owner[key][0] for owner in owners if key in owner), default=0)
            if left < version:
                losses.append(Loss(now_s, node.name, key, left, version))
        # What expires or is evicted goes from one copy before the other: nobody has lost that.
        mortal = mine.keys() if world.scenario.evicts else history.expiring
        alone = {loss.key: max(loss.left, self._spread.get(loss.key, 0)) for loss in losses if loss.key not in mortal}
        lost = tuple(write for write in history.operations
                     if write.is_acknowledged and alone.get(write.key, write.version) < write.version
                     and write.version <= mine[write.key][0] and self._is_own(node, write))
        said = node.replicator.loss_window()
        window, held = said["mutations"], node.topology
        only_here = frozenset(write.slot for write in lost if held is not None and len(held.owners_of(write.slot)) == 1)
        history.losses.extend(losses)
        history.deaths.append(Death(now_s, node.name, window, lost, only_here if said["slots"] else frozenset()))
        world.note(node.name, f"dies; window {window}, lost {len(lost)}")

    def _is_own(self, node: ShardNode, write: Operation) -> bool:
        """Say whether this very process has done `write`: others' it cannot know to be nowhere else."""
        ran = self._world.history.last_execution_of(write)
        return ran is not None and (ran.shard, ran.life) == (node.name, node.life)

    def _newest_table(self) -> Topology | None:
        held = [node.topology for node in self._world.shards.values() if node.is_up]
        return max((one for one in held if one is not None), default=None, key=lambda one: one.epoch)

    # Bounds

    def look_at(self, node: ShardNode) -> None:
        """Look whether a shard keeps its bounds; called at each of its steps."""
        topology = node.core.topology
        epoch = topology.epoch if topology is not None else 0
        if topology is not None and epoch and self._epochs.get(node.name) != (node.life, epoch):
            self._epochs[node.name] = (node.life, epoch)
            self._world.history.epochs.append((node.name, node.life, epoch, topology.term))
        if self._world.copies > 1:
            self._check_bounds(node)
            if self._world.scheduler.now_s - self._looked_at_s > LOOK_S:
                self._looked_at_s = self._world.scheduler.now_s
                self.look_around()

    def _check_bounds(self, node: ShardNode) -> None:
        config, broken = self._world.config, self._world.history.bounds
        for box in node.replicator.outboxes.values():
            if box.bytes > config.backlog_bytes or len(box) > config.backlog_bytes // 100:
                broken.append(f"{node.name} keeps {box.bytes} bytes for {box.peer}")

    def at_end(self, node: ShardNode) -> dict[str, Any]:
        """Return a shard's statistics, which must be of plain types."""
        return node.core.stats()
