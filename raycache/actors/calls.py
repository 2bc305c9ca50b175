"""Every `.remote()` of raycache, typed by hand: Ray's handles accept anything.

What lives here: creating, finding and calling our actors. `find_*` block for a look-up in Ray's GCS
(about a millisecond, for ever while the GCS is gone), so a loop calls them in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NewType

import ray

from raycache.actors.names import NAMESPACE, gateway_name, router_name, shard_name, standby_name, store_name

if TYPE_CHECKING:
    from raycache.actors.shard import Door
    from raycache.config import ClusterConfig
    from raycache.stores.config import Attachment
    from raycache.stores.writer import WriterSettings

RouterHandle = NewType("RouterHandle", object)
ShardHandle = NewType("ShardHandle", object)
GatewayHandle = NewType("GatewayHandle", object)
StoreHandle = NewType("StoreHandle", object)

ROOM_LABEL: Final = "raycache-shards"
"""The label of a Ray node that says how many shards it takes: 0 = none, whatever happens."""
_ANYWHERE: Final = {ROOM_LABEL: "!0"}
# Ray's default of 1,000 concurrent calls to an async actor means that 1,000 waiting ones hang all others.
MAX_CONCURRENCY: Final = 10_000
# A store's actor has a thread for each call, and one that drains may take a minute.
_STORE_THREADS: Final = 8


def _options(name: str, cpus: float, **more: Any) -> dict[str, Any]:
    return {"name": name, "namespace": NAMESPACE, "lifetime": "detached", "max_restarts": -1, "num_cpus": cpus,
            "max_concurrency": MAX_CONCURRENCY, "get_if_exists": True, **more}


def create_router(config: ClusterConfig, door: Door) -> RouterHandle:
    """Create the router actor, or return the one that is there."""
    from raycache.actors.router import RouterActor

    actor: Any = ray.remote(RouterActor).options(**_options(router_name(config.name), 0))
    return RouterHandle(actor.remote(config, door))


def create_standby(config: ClusterConfig, door: Door, *, not_on: list[str]) -> RouterHandle:
    """Create a router that waits for the other one's end, away from the nodes `not_on`; or return the one that is
    there."""
    from raycache.actors.router import RouterActor

    actor: Any = ray.remote(RouterActor).options(
        **_options(standby_name(config.name), 0), label_selector={"ray.io/node-id": f"!in({','.join(not_on)})"},
        fallback_strategy=[{"label_selector": {}}],
    )
    return RouterHandle(actor.remote(config, door, is_standby=True))


def create_shard(config: ClusterConfig, shard_id: str, index: int, door: Door, *, node_id: str,
                 peer_node_ids: tuple[str, ...], cpus: float) -> ShardHandle:
    """Create a shard actor on `node_id`; if that node is lost, away from its peers; else anywhere.

    Node labels, not node affinity: an actor with hard affinity to a node that died never runs again,
    and soft affinity is ignored for actors that reserve no CPU.
    """
    from raycache.actors.shard import ShardActor

    elsewhere = {"ray.io/node-id": f"!in({','.join(peer_node_ids)})"}
    away = [{"label_selector": {**elsewhere, **_ANYWHERE}}] if peer_node_ids else []
    actor: Any = ray.remote(ShardActor).options(
        **_options(shard_name(config.name, shard_id), cpus), label_selector={"ray.io/node-id": node_id},
        fallback_strategy=[*away, {"label_selector": _ANYWHERE}],
    )
    return ShardHandle(actor.remote(config, shard_id, index, door))


def create_gateway(config: ClusterConfig, node_id: str, door: Door) -> GatewayHandle:
    """Create the gateway actor of a node. It belongs to that node and waits for it."""
    from raycache.actors.gateway import GatewayActor

    actor: Any = ray.remote(GatewayActor).options(
        **_options(gateway_name(config.name, node_id), 0), label_selector={"ray.io/node-id": node_id},
    )
    return GatewayHandle(actor.remote(config, door))


def create_store(cluster: str, attachment: Attachment, settings: WriterSettings) -> StoreHandle:
    """Create the actor of an attached store, or return the one that is there."""
    from raycache.actors.store import StoreActor

    options = _options(store_name(cluster, attachment.name), 0) | {"max_concurrency": _STORE_THREADS}
    actor: Any = ray.remote(StoreActor).options(**options)
    return StoreHandle(actor.remote(cluster, attachment, settings))


def find_store(cluster: str, store: str) -> StoreHandle:
    """Return the actor of an attached store. Raises ValueError if there is none."""
    return StoreHandle(ray.get_actor(store_name(cluster, store), namespace=NAMESPACE))


def describe_store(store: StoreHandle, timeout_s: float) -> tuple[Attachment, WriterSettings]:
    """Return how a store is attached. Blocks; raises Ray's errors."""
    answer: Any = ray.get(store.describe.remote(), timeout=timeout_s)  # type: ignore[attr-defined]
    return answer[0], answer[1]


def store_status(store: StoreHandle, timeout_s: float) -> dict[str, Any]:
    """Return what a store's writer has done. Blocks; raises Ray's errors."""
    answer: Any = ray.get(store.status.remote(), timeout=timeout_s)  # type: ignore[attr-defined]
    return dict(answer)


def drain_store(store: StoreHandle, drain_s: float, timeout_s: float) -> bool:
    """Drain a store; return whether that was done in `drain_s`. Blocks; raises Ray's errors."""
    answer: Any = ray.get(store.drain.remote(drain_s), timeout=timeout_s)  # type: ignore[attr-defined]
    return bool(answer)


def reopen_store(store: StoreHandle, timeout_s: float) -> None:
    """Let a drained store take writes again. Blocks; raises Ray's errors."""
    ray.get(store.reopen.remote(), timeout=timeout_s)  # type: ignore[attr-defined]


def find_router(cluster: str) -> RouterHandle:
    """Return the cluster's router.

    Raises:
        ValueError: there is none.
    """
    return RouterHandle(ray.get_actor(router_name(cluster), namespace=NAMESPACE))


def find_standby(cluster: str) -> RouterHandle:
    """Return the router's standby. Raises ValueError if there is none."""
    return RouterHandle(ray.get_actor(standby_name(cluster), namespace=NAMESPACE))


def find_shard(cluster: str, shard_id: str) -> ShardHandle:
    """Return a shard's actor. Raises ValueError if there is none."""
    return ShardHandle(ray.get_actor(shard_name(cluster, shard_id), namespace=NAMESPACE))


def find_gateway(cluster: str, node_id: str) -> GatewayHandle:
    """Return the gateway actor of a node. Raises ValueError if there is none."""
    return GatewayHandle(ray.get_actor(gateway_name(cluster, node_id), namespace=NAMESPACE))


def nodes() -> list[dict[str, Any]]:
    """Return all nodes of the Ray cluster, as Ray describes them. Blocks."""
    answer: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return answer


def node_address() -> str:
    """Return the address of the Ray node that this process runs on."""
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]


def actor_names() -> list[str]:
    """Return the names of all actors in our namespace that are not dead."""
    actors = ray.util.list_named_actors(all_namespaces=True)
    return [actor["name"] for actor in actors if actor["namespace"] == NAMESPACE]


def kill(handle: object) -> None:
    """End an actor for good, by handle."""
    ray.kill(handle, no_restart=True)  # type: ignore[arg-type]


def kill_by_name(name: str) -> bool:
    """End an actor for good, by name; return whether it was there."""
    try:
        ray.kill(ray.get_actor(name, namespace=NAMESPACE), no_restart=True)
    except ValueError:
        return False
    return True


async def router_node(router: RouterHandle) -> str:
    """Return the id of the Ray node that a router, or its standby, runs on."""
    answer: str = await router.node_id.remote()  # type: ignore[attr-defined]
    return answer


async def register_shard(router: RouterHandle, report: dict[str, Any]) -> bytes | None:
    """Tell the router of a shard; return the topology it has, if any."""
    answer: bytes | None = await router.register_shard.remote(report)  # type: ignore[attr-defined]
    return answer


async def register_gateway(router: RouterHandle, report: dict[str, Any]) -> bytes | None:
    """Tell the router of a gateway; return the topology it has, if any."""
    answer: bytes | None = await router.register_gateway.remote(report)  # type: ignore[attr-defined]
    return answer


async def router_topology(router: RouterHandle, known_epoch: int) -> bytes | None:
    """Return the router's topology if it is newer than `known_epoch`."""
    answer: bytes | None = await router.topology.remote(known_epoch)  # type: ignore[attr-defined]
    return answer


async def router_users(router: RouterHandle) -> bytes:
    """Return the router's list of users."""
    answer: bytes = await router.users.remote()  # type: ignore[attr-defined]
    return answer


async def report(handle: ShardHandle | GatewayHandle) -> dict[str, Any]:
    """Return a shard's or gateway's report."""
    answer: dict[str, Any] = await handle.report.remote()  # type: ignore[union-attr]
    return answer


async def set_topology(handle: ShardHandle | GatewayHandle, data: bytes) -> int:
    """Give a shard or gateway a topology; return the epoch it holds afterwards."""
    answer: int = await handle.set_topology.remote(data)  # type: ignore[union-attr]
    return answer


async def stats(handle: ShardHandle) -> dict[str, Any]:
    """Return a shard's counters."""
    answer: dict[str, Any] = await handle.stats.remote()  # type: ignore[attr-defined]
    return answer


def describe(router: RouterHandle, timeout_s: float, *, with_stats: bool) -> dict[str, Any]:
    """Return the router's description of the cluster. Blocks; raises Ray's errors."""
    answer: Any = ray.get(router.describe.remote(with_stats), timeout=timeout_s)  # type: ignore[attr-defined]
    return dict(answer)


def scale(router: RouterHandle, shards: int, timeout_s: float) -> None:
    """Set how many shards there should be. Blocks; raises Ray's errors."""
    ray.get(router.scale.remote(shards), timeout=timeout_s)  # type: ignore[attr-defined]


def drain(router: RouterHandle, target: str, timeout_s: float, *, undo: bool) -> None:
    """Want a shard or node to be empty, or not any more. Blocks; raises Ray's errors."""
    wish: Any = router.undrain if undo else router.drain  # type: ignore[attr-defined]
    ray.get(wish.remote(target), timeout=timeout_s)


def cancel(router: RouterHandle, timeout_s: float) -> None:
    """Want back what was before the change under way. Not to be repeated. Blocks; raises Ray's errors."""
    ray.get(router.cancel.remote(), timeout=timeout_s)  # type: ignore[attr-defined]


def upgrade(router: RouterHandle, timeout_s: float) -> None:
    """Want every shard's process replaced in turn. Blocks; raises Ray's errors."""
    ray.get(router.upgrade.remote(), timeout=timeout_s)  # type: ignore[attr-defined]


def restart(handle: RouterHandle | GatewayHandle) -> None:
    """End an actor's process; Ray starts the actor again, in a new one."""
    ray.kill(handle, no_restart=False)  # type: ignore[arg-type]


def ask_report(gateway: GatewayHandle, timeout_s: float) -> dict[str, Any]:
    """Return a gateway's report. Blocks; raises Ray's errors."""
    answer: Any = ray.get(gateway.report.remote(), timeout=timeout_s)  # type: ignore[attr-defined]
    return dict(answer)


def run_on_nodes(node_ids: list[str], function: Callable[[], None], timeout_s: float) -> None:
    """Run a function once on each of these nodes. Blocks; raises Ray's errors."""
    task: Any = ray.remote(function)
    places = [{"label_selector": {"ray.io/node-id": node_id}} for node_id in node_ids]
    ray.get([task.options(num_cpus=0, max_retries=0, **place).remote() for place in places], timeout=timeout_s)


def execute(shard: ShardHandle, commands: list[list[bytes]], timeout_s: float) -> list[bytes]:
    """Run commands on a shard through Ray. Blocks; raises Ray's errors."""
    answer: list[bytes] = ray.get(shard.execute.remote(commands), timeout=timeout_s)  # type: ignore[attr-defined]
    return answer


def stage_object(shard: ShardHandle, name: bytes, kind: int, size_bytes: int, ref: object, timeout_s: float) -> bool:
    """Let a shard copy an object into one of its own; return whether it has. Blocks; raises Ray's errors."""
    call: Any = shard.stage_object.remote(name, kind, size_bytes, [ref])  # type: ignore[attr-defined]
    return bool(ray.get(call, timeout=timeout_s))


def borrow_object(shard: ShardHandle, name: bytes, timeout_s: float) -> Any:
    """Return a counted reference to an object of a shard, None if it has none. Blocks; raises Ray's errors."""
    lent: Any = ray.get(shard.lend_object.remote(name), timeout=timeout_s)  # type: ignore[attr-defined]
    return lent[0] if lent else None


async def lend_object(shard: ShardHandle, name: bytes) -> Any:
    """Return a counted reference to an object of a shard, None if it has none."""
    lent: Any = await shard.lend_object.remote(name)  # type: ignore[attr-defined]
    return lent[0] if lent else None


def is_remote_client() -> bool:
    """Return whether this process reaches Ray as a client (`ray://`), so that it has no object store of its own."""
    return bool(ray.util.client.ray.is_connected())  # type: ignore[no-untyped-call]
