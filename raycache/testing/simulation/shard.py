"""A simulated shard: the real core, store and replicator behind simulated connections.

What lives here: what `ShardServer`, `Peers` and the shard's actor do around the core, without sockets, tasks and Ray.
What does not: the core. Commands run as they do there: in turns, messages to other shards before replies, a session's
later commands after a long one.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from raycache.replication.replicator import Replicator
from raycache.resp.parse import giving
from raycache.ring.topology import Topology
from raycache.shard.commands.command import Steps
from raycache.shard.core import ShardCore
from raycache.shard.wait import Wait
from raycache.store import Store, make_policy
from raycache.testing.simulation.clocks import MachineClock
from raycache.testing.simulation.history import Execution
from raycache.testing.simulation.links import SimulatedPeers
from raycache.testing.simulation.network import End
from raycache.testing.simulation.scheduler import Process
from raycache.testing.simulation.wire import Answer, Request

if TYPE_CHECKING:
    from raycache.testing.simulation.world import World

TURN_S: Final = 0.0001
"""Between two steps of a long command."""
HANGS_S: Final = 5.0
"""No command's own timeout is so long."""


class ShardNode(Process):
    """One shard's process, in all its lives."""

    def __init__(self, world: World, name: str, clock: MachineClock) -> None:
        super().__init__(world.scheduler, name)
        self.world = world
        self.clock = clock
        self.step_s = world.scenario.step_s
        self.is_serving = False
        self.flush: Callable[[], None] | None = None
        """Set by the real `Peers`, as that of a `ShardServer` is."""
        self.loop = _Loop(clock)
        self.core: ShardCore
        self.peers: SimulatedPeers
        self.incarnation = 0
        world.network.listen(self, self._accept)

    @property
    def replicator(self) -> Replicator:
        """Its core's part in replication."""
        replicator = self.core.replicator
        assert replicator is not None
        return replicator

    # Its life

    def boot(self) -> None:
        """Start with an empty memory."""
        self.start()
        world = self.world
        self.incarnation = self.clock.unix_ms()
        self.core = world.make_core(self)
        self.peers = world.make_peers(self)
        self.flush = self.peers.flush
        self.is_serving = True
        self.after(self.step_s * world.rng.random(), self._tick)

    def die(self) -> None:
        """Lose everything."""
        super().die()
        self.flush = None

    def _tick(self) -> None:
        self.begin_turn()
        self.peers.step()
        self.core.step(self.core.now_ms)
        self.world.observer.look_at(self)
        self.after(self.step_s, self._tick)

    def begin_turn(self) -> None:
        """Tell the core the time."""
        core = self.core
        core.now_ms = self.clock.unix_ms()
        if core.at_turn is not None:
            core.at_turn(self.clock.monotonic_s())

    def hand_on(self) -> None:
        """Send what this turn has left for other shards."""
        if self.flush is not None:
            self.flush()

    # Its door

    def _accept(self, end: End) -> None:
        Conversation(self, end)

    # Ray's way in

    @property
    def topology(self) -> Topology | None:
        """The newest it holds."""
        return self.core.topology if self.is_up else None

    def set_topology(self, data: bytes) -> int:
        """Take in a topology; return the epoch held afterwards."""
        self.begin_turn()
        self.core.set_topology(Topology.from_bytes(data))
        self.hand_on()
        topology = self.core.topology
        return topology.epoch if topology is not None else 0


class Conversation:
    """What comes on one connection."""

    def __init__(self, node: ShardNode, end: End) -> None:
        self._node = node
        self._core = node.core
        self._end = end
        self._waiting: deque[Request] = deque()
        self._long: Steps | None = None
        self._request: Request | None = None
        self._since_s = 0.0
        self._session = node.core.open_session(f"{end.peer.owner.name}:1")
        self._waits_for: Wait | None = None
        self._clock_before = 0
        end.on_message, end.on_lost = self._took, self._lost

    def _took(self, request: Any) -> None:
        self._waiting.append(request)
        world = self._node.world
        if request.argv[0] == b"RC.PEER" and world.repeats and world.rng.random() < world.repeats:
            # What was sent on a connection that broke is sent again on the next one; the first may come later.
            self._node.after(world.rng.random() * 0.3, self._again, request)
        if self._long is None:
            self._run()

    def _again(self, request: Request) -> None:
        if self._end.is_open:
            self._node.begin_turn()
            self._core.execute(self._session, list(request.argv))
            self._node.hand_on()

    def _run(self) -> None:
        node, core, waiting = self._node, self._core, self._waiting
        while waiting and self._long is None and self._end.is_open:
            request = waiting.popleft()
            out: list[bytes] = []
            node.begin_turn()
            if request.operation is not None and node.world.copies > 1:
                self._clock_before = node.replicator.copies.clock.latest
            rest = core.execute_many(self._session, giving((request.argv,)), out)
            self._record(request)
            node.hand_on()
            if isinstance(rest, bool):
                self._end.send(Answer(request.tag, b"".join(out)))
            else:
                self._long, self._request, self._since_s = rest, request, node.clock.monotonic_s()
                node.after(TURN_S, self._step, rest)

    def _step(self, steps: Steps) -> None:
        """Run one step of the long command, if it is still the one under way."""
        if steps is not self._long or self._request is None:
            return
        node, request = self._node, self._request
        self._waits_for = None
        node.begin_turn()
        try:
            wait: Wait | None = next(steps)
        except StopIteration as stop:
            self._long = None
            self._record(request)
            node.hand_on()
            self._end.send(Answer(request.tag, stop.value))
            self._run()
            return
        self._record(request)
        node.hand_on()
        now_s = node.clock.monotonic_s()
        if now_s - self._since_s > HANGS_S:
            node.world.history.bounds.append(f"{node.name} has been at {request.argv[:2]} for {HANGS_S} s")
            self._since_s = float("inf")
        if wait is None or wait.is_done:
            node.after(TURN_S, self._step, steps)
        else:
            self._waits_for = wait
            left_s = max(0.0, wait.deadline_s - now_s) / node.clock.rate
            node.after(left_s + TURN_S, self._go_on, wait, steps)
            wait.on_done(lambda: self._go_on(wait, steps))

    def _go_on(self, wait: Wait, steps: Steps) -> None:
        if self._waits_for is wait:
            self._waits_for = None
            self._node.after(TURN_S, self._step, steps)

    def _record(self, request: Request) -> None:
        """Note what a client's write has done here, the first time that it shows."""
        operation = request.operation
        if operation is None or operation.kind == "get":
            return
        node = self._node
        history = node.world.history
        if history.execution_of(operation, request.attempt) is None:
            version = node.world.observer.version_of(node, operation, self._clock_before)
            if version:
                topology = self._core.topology
                epoch = topology.epoch if topology is not None else 0
                history.executed(Execution(operation, request.attempt, node.name, node.life, epoch,
                                           node.scheduler.now_s, version))

    def _lost(self) -> None:
        steps, self._long = self._long, None
        self._waits_for = None
        if steps is not None:
            steps.close()
        self._core.close_session(self._session)


class _Loop:
    """As much of an event loop as `Peers` asks for."""

    def __init__(self, clock: MachineClock) -> None:
        self.time = clock.monotonic_s


def make_store(capacity_bytes: int, policy: str, rng: random.Random, now_ms: int, **settings: Any) -> Store:
    """Return a small store whose own dice are seeded too."""
    return Store(capacity_bytes=capacity_bytes, policy=make_policy(policy, seed=rng.getrandbits(32)),
                 seed_version=now_ms << 20, segments=1, **settings)
