"""Trouble: what happens to a simulated cluster while its clients go on.

What lives here: drawing and doing one trouble after the other, and undoing all. What does not: what must hold
nevertheless (`checks`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from raycache.testing.simulation.shard import ShardNode
    from raycache.testing.simulation.world import World

RESTART_S: Final = (0.3, 1.2)
"""Ray needs half a second to start a process again."""
DARK_S: Final = (0.8, 3.0)
"""How long a machine is off."""
PAUSES_S: Final = (0.05, 0.3, 0.7, 1.1, 2.5)
CUTS_S: Final = (0.1, 0.5, 1.2, 2.5)


class Faults:
    """Causes trouble in one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ends_s = 0.0
        self._undo: dict[int, Callable[[], None]] = {}
        self._count = 0
        self.causes: dict[str, Callable[[], None]] = {
            "crash": self._crash, "power": self._power, "pause": self._pause, "cut": self._cut,
            "cut-one-way": self._cut_one_way, "reset": self._reset, "slow": self._slow, "jump": self._jump,
            "router": self._router, "two-routers": self._two_routers, "scale": self._scale, "drain": self._drain,
            "clients-cut": self._cut_clients,
        }

    def start(self, until_s: float) -> None:
        """Cause trouble from now on."""
        self._ends_s = until_s
        if self._world.scenario.faults:
            self._next()

    def _next(self) -> None:
        world = self._world
        wait_s = world.rng.expovariate(1 / world.scenario.between_s)
        if world.scheduler.now_s + wait_s < self._ends_s:
            world.scheduler.after(wait_s, self._cause)

    def _cause(self) -> None:
        kind = self._world.rng.choice(self._world.scenario.faults)
        self._world.note("fault", kind)
        self.causes[kind]()
        self._next()

    def heal(self) -> None:
        """Undo whatever is not undone yet."""
        for number in list(self._undo):
            self._done(number)

    def _for(self, seconds: float, undo: Callable[[], None]) -> None:
        self._count += 1
        self._undo[self._count] = undo
        self._world.scheduler.after(seconds, self._done, self._count)

    def _done(self, number: int) -> None:
        undo = self._undo.pop(number, None)
        if undo is not None:
            self._world.note("fault", "is over")
            undo()

    def _between(self, bounds: tuple[float, float]) -> float:
        return self._world.rng.uniform(*bounds)

    def _victim(self) -> ShardNode | None:
        alive = [node for name, node in sorted(self._world.shards.items())
                 if node.is_up and name in self._world.actors.places]
        return self._world.rng.choice(alive) if alive else None

    # Shards

    def _crash(self) -> None:
        """kill -9: the memory is gone, the kernel says so to everybody, Ray starts it again."""
        if (node := self._victim()) is not None:
            self.kill(node)
            self._world.actors.restart(node.name, self._between(RESTART_S))

    def kill(self, node: ShardNode, *, silently: bool = False) -> None:
        """End a shard's process, or switch its machine off."""
        self._world.observer.dies(node)
        node.die()
        self._world.network.ended(node.name, silently=silently)

    def _power(self) -> None:
        """A machine is switched off, and on again later; nobody is told."""
        if (node := self._victim()) is not None:
            self._world.network.dark.add(node.name)
            self.kill(node, silently=True)
            self._world.actors.restart(node.name, self._between(DARK_S))

    def _pause(self) -> None:
        """SIGSTOP, and SIGCONT later."""
        if (node := self._victim()) is not None and not node.is_paused:
            node.pause()
            life = node.life
            self._world.note(node.name, "is paused")
            self._for(self._world.rng.choice(PAUSES_S), lambda: node.resume() if node.life == life else None)

    def _jump(self) -> None:
        """A wall clock is set forwards or back."""
        if (node := self._victim()) is not None:
            node.clock.jump(self._world.rng.choice((-600_000, -5_000, -50, 50, 5_000, 600_000)))

    # The network

    def _everybody(self) -> list[str]:
        clients = [client.name for client in self._world.workload.clients]
        return [*sorted(self._world.actors.places), "router", "standby", *clients]

    def _block(self, paths: list[tuple[str, str]]) -> None:
        network = self._world.network
        fresh = [path for path in paths if path not in network.blocked]
        network.block(*fresh)
        self._world.note("fault", f"cut: {fresh}")
        self._for(self._world.rng.choice(CUTS_S), lambda: network.heal(*fresh))

    def _sides(self) -> tuple[list[str], list[str]]:
        """Split shards and router in two; clients stay with both, or fall on one side."""
        rng = self._world.rng
        names = [*sorted(self._world.actors.places), "router", "standby"]
        if rng.random() < 0.4:  # one shard alone
            one = [rng.choice(names)]
        else:
            one = [name for name in names if rng.random() < 0.5]
        return one, [name for name in names if name not in one]

    def _cut(self) -> None:
        one, other = self._sides()
        self._block([path for a in one for b in other for path in ((a, b), (b, a))])

    def _cut_one_way(self) -> None:
        one, other = self._sides()
        self._block([(a, b) for a in one for b in other])

    def _cut_clients(self) -> None:
        """Clients lose half of the shards."""
        rng = self._world.rng
        shards = [name for name in sorted(self._world.actors.places) if rng.random() < 0.5]
        clients = [client.name for client in self._world.workload.clients if rng.random() < 0.7]
        self._block([path for a in clients for b in shards for path in ((a, b), (b, a))])

    def _reset(self) -> None:
        """Connections break, and take with them what was under way."""
        rng = self._world.rng
        one = rng.choice(sorted(self._world.actors.places))
        for other in self._everybody():
            if other != one and rng.random() < 0.5:
                self._world.network.reset(one, other)

    def _slow(self) -> None:
        """Messages of one process take long."""
        rng, network = self._world.rng, self._world.network
        one = rng.choice(self._everybody())
        paths = [path for other in self._everybody() for path in ((one, other), (other, one)) if rng.random() < 0.7]
        slow_s = rng.choice((0.02, 0.1, 0.4))
        network.slow_s.update(dict.fromkeys(paths, slow_s))

        def undo() -> None:
            for path in paths:
                network.slow_s.pop(path, None)

        self._for(rng.choice(CUTS_S), undo)

    # Router and size

    def _router(self) -> None:
        """The router dies, and Ray starts it again."""
        self._world.restart_router(self._between(RESTART_S))

    def _two_routers(self) -> None:
        """A router is cut off, and Ray starts another while the first still lives."""
        world = self._world
        old = world.router
        if not old.is_up or old.is_paused:
            return
        shards = sorted(world.actors.places)
        cut = [name for name in shards if world.rng.random() < 0.5]
        paths = [path for name in cut for path in ((old.name, name), (name, old.name))]
        world.network.block(*paths)

        end = world.second_router()

        def undo() -> None:
            end()
            world.network.heal(*paths)

        self._for(world.rng.choice(CUTS_S), undo)

    def _scale(self) -> None:
        """Somebody wants another number of shards."""
        router, rng = self._world.router, self._world.rng
        if router.is_up and not router.is_paused:
            shards = max(self._world.copies, min(6, router.core.wanted_shards + rng.choice((-1, 1))))
            self._world.note("fault", f"scale to {shards}")
            router.wish(lambda: router.core.scale(shards))

    def _drain(self) -> None:
        """Somebody wants a shard empty; or nothing of what is under way any more."""
        node, router, rng = self._victim(), self._world.router, self._world.rng
        if node is not None and router.is_up and not router.is_paused:
            name = node.name
            router.wish(lambda: router.core.drain(name) if rng.random() < 0.7 else router.core.cancel())
