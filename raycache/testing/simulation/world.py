"""One simulated cluster: who is in it, and the phases that it goes through.

What lives here: putting the parts together, from start to the last look. What does not: the parts.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from raycache.config import ClusterConfig
from raycache.ring.topology import Topology
from raycache.shard.core import ShardCore
from raycache.testing.simulation.actors import Actors
from raycache.testing.simulation.checks import AFTER_QUIET, Evidence, breaches
from raycache.testing.simulation.client import ClientNode, Lost
from raycache.testing.simulation.clocks import MachineClock
from raycache.testing.simulation.faults import Faults
from raycache.testing.simulation.history import History
from raycache.testing.simulation.links import SimulatedPeers
from raycache.testing.simulation.network import Network
from raycache.testing.simulation.observer import Observer
from raycache.testing.simulation.router import RouterNode
from raycache.testing.simulation.scenario import Scenario
from raycache.testing.simulation.scheduler import Scheduler
from raycache.testing.simulation.shard import ShardNode, make_store
from raycache.testing.simulation.standby import StandbyNode
from raycache.testing.simulation.wire import ErrorReply
from raycache.testing.simulation.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MACHINES: Final = 6
START_S: Final = 10.0
MAY_COME: Final = {check.__name__ for check in AFTER_QUIET}
TICK_S: Final = 0.25
PROBE_S: Final = 1.0
"""How long the last question may take."""


class World:
    """Everything of one simulation.

    Args:
        is_traced: whether to keep a line for whatever happens (`trace`).
    """

    secret: Final = "simulated"

    def __init__(self, scenario: Scenario, *, is_traced: bool = False) -> None:
        self.scenario = scenario
        self.mode, self.copies, self.repeats = scenario.mode, scenario.copies, scenario.repeats
        self.rng = random.Random(scenario.seed)
        self.scheduler = Scheduler()
        self.network = Network(self.scheduler, self.rng)
        self.history = History()
        self.trace: list[str] | None = [] if is_traced else None
        self.config = ClusterConfig(name="sim", shards=scenario.shards, copies=scenario.copies,
                                    replication=scenario.mode, memory_per_shard_bytes=scenario.memory_bytes,
                                    vnodes_per_shard=16,
                                    **scenario.settings)
        self.observer = Observer(self)
        self.actors = Actors(self, MACHINES)
        self.shards: dict[str, ShardNode] = {}
        self.router = RouterNode(self, "router", self._clock(7))
        self.standby = StandbyNode(self, "standby", self._clock(6))
        self.workload = Workload(self, scenario.mix)
        self._routers = 1
        self.faults = Faults(self)

    def note(self, who: str, text: str) -> None:
        """Keep a line of what happens, if anybody wants it."""
        if self.trace is not None:
            self.trace.append(f"{self.scheduler.now_s:.6f} {who}: {text}")

    # Parts

    def _clock(self, number: int) -> MachineClock:
        scenario = self.scenario
        offsets = scenario.clock_offsets_ms
        spread = scenario.clock_rate_spread
        return MachineClock(self.scheduler, offsets[number % len(offsets)] if offsets else 0,
                            start_s=1000.0 * (number + 1), rate=1.0 + spread * (2 * self.rng.random() - 1))

    def shard(self, name: str) -> ShardNode:
        """Return the process called `name`, up or not."""
        node = self.shards.get(name)
        if node is None:
            node = self.shards[name] = ShardNode(self, name, self._clock(int(name[1:])))
        return node

    def shard_names(self) -> list[str]:
        """Return the shards that exist, as somebody who asks Ray would learn."""
        return sorted(self.actors.places) or ["s0"]

    def make_core(self, node: ShardNode) -> ShardCore:
        """Return a new core for a shard's new life, as `raycache.shard.build` does."""
        now_ms = node.clock.unix_ms()
        store = make_store(self.config.memory_per_shard_bytes, "lru", self.rng, now_ms,
                           max_entries=self.config.max_entries_per_shard)
        core = ShardCore(store=store, shard_id=node.name, secret=self.secret, started_ms=now_ms,
                         rng=random.Random(self.rng.getrandbits(32)))
        core.replicate(self.config, node.clock.monotonic_s())
        core.set_topology(Topology.empty(self.config.name))
        return core

    def make_peers(self, node: ShardNode) -> SimulatedPeers:
        """Return a shard's connections to others."""
        peers = SimulatedPeers(node, node.replicator, secret=self.secret, rng=self.rng)  # type: ignore[arg-type]
        peers.node = node
        return peers

    # The router's lives

    def restart_router(self, delay_s: float) -> None:
        """Let the router die, and come back after a while, knowing nothing."""
        router = self.router
        if router.is_up:
            router.die()
            self.network.ended(router.name, silently=False)
            self.note(router.name, "dies")
            self.scheduler.after(delay_s, self._boot_router, router)

    def _boot_router(self, router: RouterNode) -> None:
        if not router.is_up and router is self.router:
            self.note(router.name, "boots")
            router.boot()

    def second_router(self) -> Callable[[], None]:
        """Start another router while the first one lives; return what ends the first."""
        old = self.router
        self._routers += 1
        self.router = RouterNode(self, f"router{self._routers}", self._clock(7 + self._routers))
        self.note(self.router.name, "boots")
        self.router.boot()

        def end() -> None:
            if old.is_up:
                old.die()
                self.network.ended(old.name, silently=False)
                self.note(old.name, "dies")

        return end

    def stands_down(self, router: RouterNode) -> None:
        """A router has learnt that another one was granted a newer term: it ends, and Ray starts it anew if it was
        the right one."""
        router.die()
        self.network.ended(router.name, silently=False)
        self.note(router.name, "stands down")
        self.scheduler.after(0.3, self._boot_router, router)

    # Phases

    def run(self) -> list[str]:
        """Go through all phases and return what promises were broken."""
        scenario, scheduler = self.scenario, self.scheduler
        self.router.boot()
        if self.copies > 1:
            self.standby.boot()
        if not self._settle(START_S):
            return [f"start: {self.unsettled()}"]
        self.workload.start(scenario.clients)
        scheduler.run(scheduler.now_s + 0.2)
        self.faults.start(scheduler.now_s + scenario.chaos_s)
        scheduler.run(scheduler.now_s + scenario.chaos_s)
        self.faults.heal()
        self.note("world", "healed")
        scheduler.run(scheduler.now_s + 0.3)
        self.workload.stops_at_s = scheduler.now_s
        return self._judge_after_quiet()

    def _judge_after_quiet(self) -> list[str]:
        """Judge when everything has settled; what does not hold then may still come to hold, as long as patience
        lasts."""
        scenario, scheduler = self.scenario, self.scheduler
        end_s = scheduler.now_s + scenario.mix.deadline_s + scenario.patience_s
        scheduler.run(scheduler.now_s + scenario.quiet_s)
        while True:
            self._settle(end_s - scheduler.now_s)
            found = breaches(self.evidence())
            if not found or scheduler.now_s >= end_s or not {one.split(":")[0] for one in found} & MAY_COME:
                return found
            scheduler.run(scheduler.now_s + scenario.quiet_s)

    def _settle(self, patience_s: float) -> bool:
        end_s = self.scheduler.now_s + patience_s
        while self.unsettled():
            if self.scheduler.now_s > end_s:
                return False
            self.scheduler.run(self.scheduler.now_s + TICK_S)
        return True

    def unsettled(self) -> str:
        """Return what the cluster still has to do, "" if nothing."""
        if not self.router.is_up or not self.router.core.is_settled:
            return "the router is not settled"
        if self.router.core.topology.transfers:
            return f"transfers go on: {[one.id for one in self.router.core.topology.transfers]}"
        behind = [name for name in self.actors.places
                  if (held := self.shards[name].topology) is None or held.epoch != self.router.core.topology.epoch]
        if behind:
            return f"{behind} do not hold the newest topology"
        busy = [node.name for node in self._alive() if self.copies > 1 and node.replicator.is_busy]
        return f"{busy} are still busy" if busy else ""

    def _alive(self) -> Iterable[ShardNode]:
        return [self.shards[name] for name in sorted(self.actors.places) if self.shards[name].is_up]

    # The last look

    def evidence(self) -> Evidence:
        """Return what is to be judged."""
        evidence = Evidence(self.mode, self.copies, self.history, self.scenario.is_gentle and not self.history.deaths,
                            evicts=self.scenario.evicts, unsettled=self.unsettled())
        evidence.probes = self._probe()
        table = self.router.core.topology
        slots = sorted({operation.slot for operation in self.history.operations})
        evidence.owners = {slot: [shard.id for shard in table.owners_of(slot)] for slot in slots}
        everybody: dict[str, Topology | None] = {node.name: node.topology for node in self._alive()}
        for name, held in {**everybody, "router": table}.items():
            evidence.tables[name] = (held.epoch, held.owners.tobytes()) if held is not None else (0, b"")
        # What has expired by one copy's clock is still there at another's for as long as the clocks differ.
        ahead_ms = max((node.clock.unix_ms() for node in self._alive()), default=0)
        for node in self._alive():
            evidence.final[node.name] = self.observer.copy_of(node, ahead_ms)
            try:
                node.core.store.check_invariants()
            except AssertionError as error:
                evidence.invariants.append(f"{node.name}: {error}")
            if node.core.failures:
                evidence.invariants.append(f"{node.name}: {node.core.failures} handlers raised what nobody expects")
        if self.copies > 1:
            for slot, owners in evidence.owners.items():
                evidence.digests[slot] = {name: self.shards[name].replicator.copies.digests.of[slot]
                                          for name in owners if self.shards[name].is_up}
        return evidence

    def _probe(self) -> dict[int, str]:
        """Ask the first owner of each slot that was used for one of its keys."""
        client = ClientNode(self, "c99")
        answers: dict[int, str] = {}
        asked: set[int] = set()
        table = self.router.core.topology
        for operation in {one.slot: one for one in self.history.operations}.values():
            owner = table.primary_of(operation.slot)
            answers[operation.slot] = "nobody owns it"
            if owner is not None:

                def answered(reply: Any, slot: int = operation.slot) -> None:
                    asked.discard(slot)
                    answers[slot] = reply.text if isinstance(reply, (ErrorReply, Lost)) else ""

                asked.add(operation.slot)
                client.ask(owner.id, [b"GET", operation.key], PROBE_S, answered)
        end_s = self.scheduler.now_s + 1.2 * PROBE_S
        while asked and self.scheduler.now_s < end_s:
            self.scheduler.run(self.scheduler.now_s + PROBE_S / 20)
        return answers
