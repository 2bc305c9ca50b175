"""The router actor: a thin shell that shows `RouterCore` the world and carries out what it decides.

What lives here: creating and ending actors, what others call. What does not: any decision (`raycache.router.core`),
the connections to shards (`shard_links`), Ray's nodes (`ray_nodes`). Everything runs on the actor's loop; what asks
Ray's GCS runs in a thread, because it hangs while that is gone. Noticing a loss, promoting and telling the shards need
no GCS. The data path never comes here: shards and clients go on without a router.

The standby is the same actor under another name: it pings and hears, but stands for election only when the shards miss
the router, and goes back to waiting when a newer router is in office. It promotes, and makes and ends no actors. Others
call the one named "router" alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from ray import get_runtime_context

from raycache.actors import calls
from raycache.actors.background import die, spawn
from raycache.actors.link import Link
from raycache.actors.metrics import push_forever
from raycache.actors.names import gateway_name, router_name, shard_name
from raycache.actors.ray_nodes import node_reports
from raycache.actors.shard import Door
from raycache.actors.shard_links import ShardLinks
from raycache.actors.standby import StandbyKeeper, machine_of
from raycache.clock import SystemClock
from raycache.config import ClusterConfig
from raycache.logs import event, set_up
from raycache.metrics.families import Samples
from raycache.ring.topology import Topology
from raycache.router.access import SharedUsers
from raycache.router.core import RouterCore
from raycache.router.messages import (
    Action,
    CreateGateway,
    CreateShard,
    GatewayReport,
    NodeReport,
    PushTopology,
    RemoveGateway,
    RemoveShard,
    ShardReport,
)
from raycache.router.standing_by import Move, begin, new_basis, next_move

log = logging.getLogger(__name__)

T = TypeVar("T")

STEP_S: Final = 0.25
"""How often the core gets a step without news."""
HURRY_S: Final = 0.05
"""The same while it waits for something that is about to be due."""
NODES_S: Final = 1.0
"""How often Ray is asked for its nodes: one request to its GCS."""
PING_TICK_S: Final = 0.05
"""How finely heartbeats are timed."""
RAY_WORD_S: Final = 1.0
"""A shard that Ray calls dead is taken for it if it has had no connection for so long: the news may be old."""
GCS_THREADS: Final = 16
"""So many questions may hang in Ray's GCS; each is asked once at a time."""
ASK_S: Final = 1.0
"""How often a shard that is not up is asked for a sign of life: it may have been paused, or its news lost."""
CALL_TIMEOUT_S: Final = 2.0
_RESTARTING: Final = 3
_DEAD: Final = 4


class RouterActor:
    """One cluster's router, or its standby."""

    def __init__(self, config: ClusterConfig, door: Door, *, is_standby: bool = False) -> None:
        set_up(config.log_format, [door.secret], cluster=config.name, role="standby" if is_standby else "router")
        self._config = config
        self._door = door
        self._is_standby = is_standby
        self._clock = SystemClock()
        self._wake = asyncio.Event()
        self._users = SharedUsers(config.users)
        self._core, self._shards = self._new_core()
        self._gcs = ThreadPoolExecutor(GCS_THREADS, thread_name_prefix="gcs")
        self._node_id: str = get_runtime_context().get_node_id()
        self._standby = StandbyKeeper(config, door, self._node_id, self._gcs)
        self._nodes: list[NodeReport] = []
        self._basis: Topology | None = None
        """What a standby has begun with."""
        self._gateways: dict[str, Link] = {}
        self._handles: dict[str, Any] = {}
        """Actors' handles by name; once there, they need no GCS."""
        self._failures: dict[str, str] = {}
        self._notes: dict[str, list[str]] = {}
        self._starts: dict[str, set[int]] = {}
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._run_task = spawn(self._run(), "router")
        if not is_standby:
            self._push_task = spawn(push_forever(config.name, self._samples), "metrics")

    def _new_core(self) -> tuple[RouterCore, ShardLinks]:
        core = RouterCore(self._config, self._now_s(), term=0 if self._is_standby else self._clock.unix_ms())
        core.on_event = lambda kind, text: log.info("%s", text, extra=event(kind))
        return core, ShardLinks(core, self._door.secret, self._clock, self._wake.set, self._users, self._config.tls)

    def _samples(self) -> Samples:
        samples = self._core.samples()
        samples.add("raycache_cluster_standbys", float(bool(self._standby.node_id)))
        return samples

    def _now_s(self) -> float:
        return self._clock.monotonic_s()

    # The loop

    async def _run(self) -> None:
        await self._recover()
        self._ping_task = spawn(self._ping_forever(), "pings")
        spawn_ask = spawn(self._ask_forever(), "ask")
        spawn_nodes = spawn(self._watch_nodes(), "nodes")
        self._background = (spawn_ask, spawn_nodes)
        while True:
            self._wake.clear()
            if self._is_standby:
                self._stand_by()
            if self._core.term:  # else it only stands by
                for action in self._core.step(self._now_s()):
                    self._carry_out(action)
            if not self._is_standby:
                self._mind_terms()
            try:
                await asyncio.wait_for(self._wake.wait(), HURRY_S if self._core.is_hurrying else STEP_S)
            except TimeoutError:
                continue

    def _mind_terms(self) -> None:
        """Stand down for a newer router; or, not in office yet, outbid a term that is ahead of this clock."""
        core = self._core
        if core.must_stand_down:
            die(RuntimeError("another router has been granted a newer term"))
        if core.needs_term > core.term:
            core.take_term(max(self._clock.unix_ms(), core.needs_term + random.randint(1, 1000)))

    def _stand_by(self) -> None:
        """Do what a standby does next; the step of its core comes after."""
        match next_move(self._core, self._basis, self._now_s()):
            case Move.STAND:
                log.warning("the shards miss the router: standing for election")
                now_ms, core = self._clock.unix_ms(), self._core
                core.take_term(max(now_ms, core.needs_term + random.randint(1, 1000)), epoch_floor=now_ms // 1000)
                self._shards.ping_all()
                for gateway in self._basis.gateways if self._basis is not None else ():
                    self._start(f"ask gateway {gateway.node_id}", self._ask_gateway(gateway.node_id))
            case Move.BEGIN_ANEW:
                log.info("standing by")
                self._basis = new_basis(self._core)
                self._shards.close()
                self._core, self._shards = self._new_core()
                self._core.nodes_reported(self._nodes)
                begin(self._core, self._basis, self._now_s())

    async def _in_gcs(self, question: Callable[[], T]) -> T:
        """Ask what may hang in Ray's GCS."""
        return await asyncio.get_running_loop().run_in_executor(self._gcs, question)

    async def _recover(self) -> None:
        """Show the core which actors there are, and Ray's nodes, before its first step."""
        mine = router_name(self._config.name).removesuffix("router")
        while True:
            names = await self._in_gcs(calls.actor_names)
            parts = [name.removeprefix(mine).split(":") for name in names if name.startswith(mine)]
            shards = [part[1] for part in parts if part[0] == "shard"]
            gateways = [part[1] for part in parts if part[0] == "gateway"]
            if shards or not self._is_standby:
                break
            await asyncio.sleep(NODES_S)
        self._take_nodes(await self._in_gcs(node_reports))
        # Epochs start from the time in seconds, so that they never repeat: what a lost shard, or a handle on an
        # older cluster of this name, still holds must count as older.
        self._core.recover(shards, gateways, self._now_s(), epoch_floor=self._clock.unix_ms() // 1000)
        for shard_id in shards:
            self._start(f"ask {shard_id}", self._ask_shard(shard_id))
        if not self._is_standby:
            for node_id in gateways:
                self._start(f"ask gateway {node_id}", self._ask_gateway(node_id))

    async def _watch_nodes(self) -> None:
        while True:
            await asyncio.sleep(NODES_S)
            try:
                self._take_nodes(await self._in_gcs(node_reports))
            except Exception as error:
                log.warning("Ray does not say which nodes there are: %s", error)
            if not self._is_standby and self._config.copies > 1 and self._core.topology.epoch:
                self._start("standby", self._standby.step(self._nodes))

    async def _ask_forever(self) -> None:
        while True:
            await asyncio.sleep(ASK_S)
            for view in self._core.shards:
                if view.state != "up" or view.is_suspected:
                    self._start(f"ask {view.id}", self._ask_shard(view.id))
            self._hear_ray()

    async def _ping_forever(self) -> None:
        while True:
            self._shards.tick()
            await asyncio.sleep(PING_TICK_S)

    def _hear_ray(self) -> None:
        """Take Ray's word for the death of shards that have no connection: a machine without power refuses nothing."""
        for shard_id, incarnation in self._shards.unreached(RAY_WORD_S):
            handle = self._handles.get(shard_name(self._config.name, shard_id))
            # Private API: what this process has heard from the GCS; without it silence must do.
            state = getattr(handle, "_get_local_state", lambda: None)()
            if state == _RESTARTING:
                self._core.refused(shard_id, incarnation, self._now_s())
            elif state == _DEAD:
                del self._handles[shard_name(self._config.name, shard_id)]
                self._core.shard_removed(shard_id, self._now_s())

    # Carrying out

    def _carry_out(self, action: Action) -> None:
        if self._is_standby and not isinstance(action, PushTopology):
            return  # it promotes, and leaves to the router what takes Ray: two would undo each other's work
        log.info("%s", action if not isinstance(action, PushTopology) else f"push epoch {action.topology.epoch}")
        match action:
            case CreateShard():
                self._start(f"create {action.shard_id}", self._create_shard(action))
            case RemoveShard(shard_id):
                self._start(f"remove {shard_id}", self._remove_shard(shard_id))
            case CreateGateway(node_id):
                self._start(f"create gateway {node_id}", self._create_gateway(node_id))
            case RemoveGateway(node_id):
                name = gateway_name(self._config.name, node_id)
                self._handles.pop(name, None)
                self._start(f"remove gateway {node_id}", self._end(name))
            case PushTopology(topology, shard_ids, gateway_node_ids):
                data = topology.to_bytes()
                for shard_id in shard_ids:
                    if not self._shards.push(shard_id, data):
                        self._start(f"push {shard_id}", self._push_to_shard(shard_id, data))
                for node_id in gateway_node_ids:
                    self._start(f"push gateway {node_id}", self._push_to_gateway(node_id, data))

    def _start(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` unless the same is under way; a failure is logged, and the core asks again."""
        if key in self._jobs:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work, name=key)
        self._jobs[key] = task
        task.add_done_callback(partial(self._finished, key))

    def _finished(self, key: str, task: asyncio.Task[None]) -> None:
        del self._jobs[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.info("%s: %s", key, error)
        self._wake.set()

    async def _end(self, name: str) -> None:
        await self._in_gcs(partial(calls.kill_by_name, name))

    async def _handle(self, name: str, find: Callable[[], object]) -> Any:
        """Return an actor's handle; only the first time asks the GCS."""
        if name not in self._handles:
            self._handles[name] = await self._in_gcs(find)
        return self._handles[name]

    async def _shard(self, shard_id: str) -> Any:
        cluster = self._config.name
        return await self._handle(shard_name(cluster, shard_id), partial(calls.find_shard, cluster, shard_id))

    async def _gateway(self, node_id: str) -> Any:
        cluster = self._config.name
        return await self._handle(gateway_name(cluster, node_id), partial(calls.find_gateway, cluster, node_id))

    async def _create_shard(self, action: CreateShard) -> None:
        create = partial(calls.create_shard, self._config, action.shard_id, action.index, self._door,
                         node_id=action.node_id, peer_node_ids=action.peer_node_ids, cpus=action.cpus)
        try:
            await self._in_gcs(create)
        except Exception:
            self._core.shard_removed(action.shard_id, self._now_s())  # to be wanted again at once
            raise

    async def _remove_shard(self, shard_id: str) -> None:
        name = shard_name(self._config.name, shard_id)
        self._handles.pop(name, None)
        # Ray ends actors in the background; a new one of this name must not find the dying one.
        while await self._in_gcs(partial(calls.kill_by_name, name)):
            await asyncio.sleep(PING_TICK_S)
        self._failures.pop(shard_id, None)
        self._notes.pop(shard_id, None)
        self._core.shard_removed(shard_id, self._now_s())

    async def _create_gateway(self, node_id: str) -> None:
        await self._in_gcs(partial(calls.create_gateway, self._config, node_id, self._door))
        await self._ask_gateway(node_id)  # it may have been there, and its registration lost

    async def _push_to_shard(self, shard_id: str, data: bytes) -> None:
        handle = await self._shard(shard_id)
        self._core.shard_holds(shard_id, await asyncio.wait_for(calls.set_topology(handle, data), CALL_TIMEOUT_S))

    async def _push_to_gateway(self, node_id: str, data: bytes) -> None:
        handle = await self._gateway(node_id)
        self._core.gateway_holds(node_id, await asyncio.wait_for(calls.set_topology(handle, data), CALL_TIMEOUT_S))

    async def _ask_shard(self, shard_id: str) -> None:
        try:
            handle = await self._shard(shard_id)
        except ValueError:
            return  # there is none
        self._take_shard(await asyncio.wait_for(calls.report(handle), CALL_TIMEOUT_S))

    async def _ask_gateway(self, node_id: str) -> None:
        handle = await self._gateway(node_id)
        self._take_gateway(await asyncio.wait_for(calls.report(handle), CALL_TIMEOUT_S))

    # News

    def _take_nodes(self, nodes: list[NodeReport]) -> None:
        self._nodes = nodes
        self._core.nodes_reported(nodes)

    def _take_shard(self, report: dict[str, Any]) -> None:
        shard_id, incarnation, failure = report["shard_id"], report["incarnation"], report["failure"]
        if not failure and not report["serving"]:
            return
        accepted = self._core.shard_reported(
            ShardReport(shard_id=shard_id, host=report["host"], port=report["port"], node_id=report["node_id"],
                        incarnation=incarnation, topology=report["topology"], failure=failure,
                        granted_term=report.get("granted_term", 0)), self._now_s(),
        )
        if not accepted:
            return
        self._notes[shard_id] = report["warnings"]
        self._starts.setdefault(shard_id, set()).add(incarnation)
        if failure:
            self._failures[shard_id] = failure
        else:
            self._failures.pop(shard_id, None)
            # While the GCS is there: its handle will be needed when it is not.
            self._start(f"find {shard_id}", self._find(shard_id))
        self._wake.set()

    async def _find(self, shard_id: str) -> None:
        await self._shard(shard_id)

    def _take_gateway(self, report: dict[str, Any]) -> None:
        if not report["serving"]:
            return  # its port is not certain yet; it registers when it is
        node_id = report["node_id"]
        self._core.gateway_reported(GatewayReport(report["host"], report["port"], node_id, report["topology"]))
        self._notes[f"gateway {node_id}"] = report["warnings"]
        if (link := self._gateways.pop(node_id, None)) is not None:
            link.close()
        self._gateways[node_id] = Link.open(report["host"], report["port"], self._door.secret,
                                            lost=lambda: self._gateway_lost(node_id), tls=self._config.tls)
        self._wake.set()

    def _gateway_lost(self, node_id: str) -> None:
        self._gateways.pop(node_id, None)
        self._core.gateway_lost(node_id, self._now_s())
        self._wake.set()

    # What others call

    async def register_shard(self, report: dict[str, Any]) -> bytes | None:
        """Take in a shard that has started, or why it cannot; return the topology, if there is one yet."""
        self._take_shard(report)
        return self._newer_than(0)

    async def register_gateway(self, report: dict[str, Any]) -> bytes | None:
        """Take in a gateway that has started; return the topology, if there is one yet."""
        self._take_gateway(report)
        return self._newer_than(0)

    async def topology(self, known_epoch: int) -> bytes | None:
        """Return the topology if it is newer than `known_epoch`."""
        return self._newer_than(known_epoch)

    async def node_id(self) -> str:
        """Return the Ray node that it runs on."""
        return self._node_id

    async def users(self) -> bytes:
        """Return the list of users, for a shard or gateway that starts."""
        return self._users.to_bytes()

    def _newer_than(self, epoch: int) -> bytes | None:
        return self._core.topology.to_bytes() if self._core.topology.epoch > epoch else None

    async def scale(self, shards: int) -> None:
        """Want this many shards. Raises ChangeUnderWayError while another change is under way."""
        self._core.scale(shards)
        self._wake.set()

    async def drain(self, target: str) -> None:
        """Want a shard, or every shard of a node, to own nothing."""
        self._core.drain(target)
        self._wake.set()

    async def undrain(self, target: str) -> None:
        """Let a drained shard or node own slots again."""
        self._core.undrain(target)
        self._wake.set()

    async def upgrade(self) -> None:
        """Want every shard's process replaced by a new one, one after the other."""
        self._core.upgrade()
        self._wake.set()

    async def cancel(self) -> str:
        """Go back to how it was before the change under way; return what that was. Raises ValueError where none is."""
        cancelled = self._core.cancel()
        self._wake.set()
        return cancelled

    async def progress(self) -> dict[str, Any]:
        """Return what is under way, and what the change before has cost (`raycache.router.status.progress`)."""
        return {**self._core.progress(self._now_s()), "settled": self._core.is_settled}

    async def describe(self, with_stats: bool) -> dict[str, Any]:
        """Return what `raycache.status` and handles need: topology, settings, warnings, each shard's counters."""
        up = [view.id for view in self._core.shards if view.state == "up"] if with_stats else []
        stats = await asyncio.gather(*(self._stats_of(shard_id) for shard_id in up))
        policy = self._config.policy
        notes = list(dict.fromkeys(note for notes in self._notes.values() for note in notes))
        notes += [f"shard {shard_id}: {failure}" for shard_id, one in zip(up, stats, strict=True)
                  if (failure := one.get("snapshot_failure"))]
        if not self._door.require_auth and sum(node.is_alive for node in self._nodes) > 1:
            notes.append('the doors listen on loopback, and Ray has several nodes: start the cluster with bind="node"')
        return {
            "topology": self._core.topology.to_bytes(), "settled": self._core.is_settled,
            "desired": self._core.wanted_shards,
            "tls": self._config.tls.for_clients() if self._config.tls is not None else None,
            "secret": self._door.secret, "requires_auth": self._door.require_auth,
            "policy": policy if isinstance(policy, str) else policy.__name__,
            "memory_per_shard_bytes": self._config.memory_per_shard_bytes,
            "object_capacity_bytes": self._config.object_capacity_bytes,
            "failures": list(self._failures.values()), "warnings": [*self._core.warnings, *notes],
            "restarts": {shard_id: len(starts) - 1 for shard_id, starts in self._starts.items()},
            "stats": dict(zip(up, stats, strict=True)), **self._describe_copies(),
        }

    def _describe_copies(self) -> dict[str, Any]:
        now_s, topology, progress = self._now_s(), self._core.topology, self._core.progress(self._now_s())
        return {
            "pid": os.getpid(), "copies": topology.copies, "replication": self._config.replication,
            "term": self._core.term, "router_machine": machine_of(self._nodes, self._node_id),
            "standby_machine": machine_of(self._nodes, self._standby.node_id),
            "transfers": progress.pop("transfers"), "progress": progress, "draining": list(topology.draining),
            "suspected": [view.id for view in self._core.shards if view.is_suspected],
            "loss": {shard_id: pong.loss for shard_id, pong in self._core.pongs.items()},
            "leases": {shard_id: pong.lease_left_s for shard_id, pong in self._core.pongs.items()},
            "events": [{"age_s": now_s - event.at_s, "kind": event.kind, "text": event.text}
                       for event in reversed(self._core.events)],
        }

    async def _stats_of(self, shard_id: str) -> dict[str, Any]:
        try:
            handle = await asyncio.wait_for(self._shard(shard_id), CALL_TIMEOUT_S)
            return await asyncio.wait_for(calls.stats(handle), CALL_TIMEOUT_S)
        except Exception as error:
            log.info("no statistics of %s: %s", shard_id, error)
            return {}
