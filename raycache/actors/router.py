"""The router actor: a thin shell that shows `RouterCore` the world and carries out what it decides.

What lives here: Ray's node list, control connections, creating and ending actors. What does not: any
decision (`raycache.router.core`). Everything runs on the actor's loop; what blocks runs in a thread. The
data path never comes here: shards and clients go on without a router.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from raycache.actors import calls
from raycache.actors.background import spawn
from raycache.actors.link import Link
from raycache.actors.names import gateway_name, router_name, shard_name
from raycache.actors.shard import Door
from raycache.clock import SystemClock
from raycache.config import ClusterConfig
from raycache.router.core import RouterCore
from raycache.router.detector import Detector
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

log = logging.getLogger(__name__)

STEP_S: Final = 0.25
"""How often the core gets a step without news."""
NODES_S: Final = 1.0
"""How often Ray is asked for its nodes: one request to its GCS."""
PING_TICK_S: Final = 0.05
"""How finely heartbeats are timed."""
ASK_S: Final = 1.0
"""How often a shard that is not up is asked for a sign of life: it may have been paused, or its news lost."""
CALL_TIMEOUT_S: Final = 2.0
ZONE_LABELS: Final = ("zone", "topology.kubernetes.io/zone", "ray.io/availability-zone")


class RouterActor:
    """One cluster's router."""

    def __init__(self, config: ClusterConfig, door: Door) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
        self._config = config
        self._door = door
        self._clock = SystemClock()
        self._core = RouterCore(config, self._now_s())
        self._detector = Detector()
        self._alive_nodes = 0
        self._links: dict[str, Link] = {}
        self._failures: dict[str, str] = {}
        self._notes: dict[str, list[str]] = {}
        self._starts: dict[str, set[int]] = {}
        self._wake = asyncio.Event()
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._run_task = spawn(self._run(), "router")

    def _now_s(self) -> float:
        return self._clock.monotonic_s()

    # The loop

    async def _run(self) -> None:
        await self._recover()
        spawn_ask = spawn(self._ask_forever(), "ask")
        spawn_nodes = spawn(self._watch_nodes(), "nodes")
        spawn_pings = spawn(self._ping_forever(), "pings")
        self._background = (spawn_ask, spawn_nodes, spawn_pings)
        while True:
            for action in self._core.step(self._now_s()):
                self._carry_out(action)
            try:
                await asyncio.wait_for(self._wake.wait(), STEP_S)
            except TimeoutError:
                continue
            finally:
                self._wake.clear()

    async def _recover(self) -> None:
        """Show the core which actors there are, and Ray's nodes, before its first step."""
        names = await asyncio.to_thread(calls.actor_names)
        mine = router_name(self._config.name).removesuffix("router")
        parts = [name.removeprefix(mine).split(":") for name in names if name.startswith(mine)]
        self._take_nodes(await asyncio.to_thread(_nodes))
        shards = [part[1] for part in parts if part[0] == "shard"]
        gateways = [part[1] for part in parts if part[0] == "gateway"]
        # Epochs start from the time in seconds, so that they never repeat: what a lost shard, or a handle on an
        # older cluster of this name, still holds must count as older.
        self._core.recover(shards, gateways, self._now_s(), epoch_floor=self._clock.unix_ms() // 1000)
        for shard_id in shards:
            self._start(f"ask {shard_id}", self._ask_shard(shard_id))
        for node_id in gateways:
            self._start(f"ask gateway {node_id}", self._ask_gateway(node_id))

    async def _watch_nodes(self) -> None:
        while True:
            await asyncio.sleep(NODES_S)
            try:
                self._take_nodes(await asyncio.to_thread(_nodes))
            except Exception as error:
                log.warning("Ray does not say which nodes there are: %s", error)

    async def _ask_forever(self) -> None:
        while True:
            await asyncio.sleep(ASK_S)
            for view in self._core.shards:
                if view.state != "up":
                    self._start(f"ask {view.id}", self._ask_shard(view.id))

    async def _ping_forever(self) -> None:
        while True:
            await asyncio.sleep(PING_TICK_S)
            now_s = self._now_s()
            for shard_id in self._detector.due(now_s):
                if (link := self._links.get(shard_id)) is not None:
                    link.ping()
            for shard_id, incarnation in self._detector.suspects(now_s):
                log.warning("shard %s is silent", shard_id)
                self._lost(shard_id, incarnation)

    # Carrying out

    def _carry_out(self, action: Action) -> None:
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
                self._start(f"remove gateway {node_id}", self._in_thread(partial(calls.kill_by_name, name)))
            case PushTopology(topology, shard_ids, gateway_node_ids):
                data = topology.to_bytes()
                for shard_id in shard_ids:
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

    @staticmethod
    async def _in_thread(work: Callable[[], object]) -> None:
        await asyncio.to_thread(work)

    async def _create_shard(self, action: CreateShard) -> None:
        create = partial(calls.create_shard, self._config, action.shard_id, action.index, self._door,
                         node_id=action.node_id, peer_node_ids=action.peer_node_ids, cpus=action.cpus)
        try:
            await asyncio.to_thread(create)
        except Exception:
            self._core.shard_removed(action.shard_id, self._now_s())  # to be wanted again at once
            raise

    async def _remove_shard(self, shard_id: str) -> None:
        self._forget_link(shard_id)
        name = shard_name(self._config.name, shard_id)
        # Ray ends actors in the background; a new one of this name must not find the dying one.
        while await asyncio.to_thread(calls.kill_by_name, name):
            await asyncio.sleep(PING_TICK_S)
        self._failures.pop(shard_id, None)
        self._notes.pop(shard_id, None)
        self._core.shard_removed(shard_id, self._now_s())

    async def _create_gateway(self, node_id: str) -> None:
        await asyncio.to_thread(calls.create_gateway, self._config, node_id, self._door)
        await self._ask_gateway(node_id)  # it may have been there, and its registration lost

    async def _push_to_shard(self, shard_id: str, data: bytes) -> None:
        handle = await asyncio.to_thread(calls.find_shard, self._config.name, shard_id)
        self._core.shard_holds(shard_id, await asyncio.wait_for(calls.set_topology(handle, data), CALL_TIMEOUT_S))

    async def _push_to_gateway(self, node_id: str, data: bytes) -> None:
        handle = await asyncio.to_thread(calls.find_gateway, self._config.name, node_id)
        self._core.gateway_holds(node_id, await asyncio.wait_for(calls.set_topology(handle, data), CALL_TIMEOUT_S))

    async def _ask_shard(self, shard_id: str) -> None:
        try:
            handle = await asyncio.to_thread(calls.find_shard, self._config.name, shard_id)
        except ValueError:
            return
        self._take_shard(await asyncio.wait_for(calls.report(handle), CALL_TIMEOUT_S))

    async def _ask_gateway(self, node_id: str) -> None:
        handle = await asyncio.to_thread(calls.find_gateway, self._config.name, node_id)
        self._take_gateway(await asyncio.wait_for(calls.report(handle), CALL_TIMEOUT_S))

    # News

    def _take_nodes(self, nodes: list[NodeReport]) -> None:
        self._alive_nodes = sum(node.is_alive for node in nodes)
        self._core.nodes_reported(nodes)

    def _take_shard(self, report: dict[str, Any]) -> None:
        shard_id, incarnation, failure = report["shard_id"], report["incarnation"], report["failure"]
        if not failure and not report["serving"]:
            return
        accepted = self._core.shard_reported(
            ShardReport(shard_id=shard_id, host=report["host"], port=report["port"], node_id=report["node_id"],
                        incarnation=incarnation, topology=report["topology"], failure=failure), self._now_s(),
        )
        if not accepted:
            return
        self._notes[shard_id] = report["warnings"]
        self._starts.setdefault(shard_id, set()).add(incarnation)
        if failure:
            self._failures[shard_id] = failure
        else:
            self._failures.pop(shard_id, None)
            self._open_link(shard_id, incarnation, report["host"], report["port"])
        self._wake.set()

    def _open_link(self, shard_id: str, incarnation: int, host: str, port: int) -> None:
        self._forget_link(shard_id)
        self._detector.watch(shard_id, incarnation, self._now_s())
        self._links[shard_id] = Link.open(
            host, port, self._door.secret,
            heard=lambda: self._detector.heard(shard_id, incarnation, self._now_s()),
            lost=lambda: self._lost(shard_id, incarnation),
        )

    def _forget_link(self, shard_id: str) -> None:
        self._detector.forget(shard_id)
        if (link := self._links.pop(shard_id, None)) is not None:
            link.close()

    def _lost(self, shard_id: str, incarnation: int) -> None:
        log.warning("shard %s is lost", shard_id)
        self._forget_link(shard_id)
        self._core.refused(shard_id, incarnation, self._now_s())
        self._wake.set()

    def _take_gateway(self, report: dict[str, Any]) -> None:
        node_id = report["node_id"]
        self._core.gateway_reported(GatewayReport(report["host"], report["port"], node_id, report["topology"]))
        self._notes[f"gateway {node_id}"] = report["warnings"]
        key = f"gateway {node_id}"
        self._forget_link(key)
        self._links[key] = Link.open(report["host"], report["port"], self._door.secret, heard=lambda: None,
                                     lost=lambda: self._gateway_lost(node_id))
        self._wake.set()

    def _gateway_lost(self, node_id: str) -> None:
        self._links.pop(f"gateway {node_id}", None)
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

    def _newer_than(self, epoch: int) -> bytes | None:
        return self._core.topology.to_bytes() if self._core.topology.epoch > epoch else None

    async def scale(self, shards: int) -> None:
        """Want this many shards."""
        self._core.scale(shards)
        self._wake.set()

    async def describe(self, with_stats: bool) -> dict[str, Any]:
        """Return what `raycache.status` and handles need: topology, settings, warnings, each shard's counters."""
        up = [view.id for view in self._core.shards if view.state == "up"] if with_stats else []
        stats = await asyncio.gather(*(self._stats_of(shard_id) for shard_id in up))
        policy = self._config.policy
        notes = list(dict.fromkeys(note for notes in self._notes.values() for note in notes))
        if not self._door.require_auth and self._alive_nodes > 1:
            notes.append('the doors listen on loopback, and Ray has several nodes: start the cluster with bind="node"')
        return {
            "topology": self._core.topology.to_bytes(), "settled": self._core.is_settled,
            "desired": self._core.wanted_shards,
            "secret": self._door.secret, "requires_auth": self._door.require_auth,
            "policy": policy if isinstance(policy, str) else policy.__name__,
            "memory_per_shard_bytes": self._config.memory_per_shard_bytes,
            "failures": list(self._failures.values()), "warnings": [*self._core.warnings, *notes],
            "restarts": {shard_id: len(starts) - 1 for shard_id, starts in self._starts.items()},
            "stats": dict(zip(up, stats, strict=True)),
        }

    async def _stats_of(self, shard_id: str) -> dict[str, Any]:
        try:
            handle = await asyncio.to_thread(calls.find_shard, self._config.name, shard_id)
            return await asyncio.wait_for(calls.stats(handle), CALL_TIMEOUT_S)
        except Exception as error:
            log.info("no statistics of %s: %s", shard_id, error)
            return {}


def _nodes() -> list[NodeReport]:
    """Ask Ray for its nodes. Blocks."""
    free = _cpus_free()
    return [
        NodeReport(
            node_id=node["NodeID"], machine=node["NodeManagerAddress"], is_alive=node["Alive"],
            zone=next((node["Labels"][label] for label in ZONE_LABELS if label in node.get("Labels", {})), ""),
            cpus_free=free.get(node["NodeID"], float(node.get("Resources", {}).get("CPU", 0.0))),
        )
        for node in calls.nodes()
    ]


def _cpus_free() -> dict[str, float]:
    """Return the CPUs of each node that nobody has reserved. Private API; without it the totals must do."""
    try:
        from ray._private.state import available_resources_per_node

        resources: dict[str, Any] = available_resources_per_node()  # type: ignore[no-untyped-call]
        return {node_id: float(free.get("CPU", 0.0)) for node_id, free in resources.items()}
    except (ImportError, AttributeError):
        return {}
