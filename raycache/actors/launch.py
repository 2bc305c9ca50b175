"""Starting, finding, describing and stopping clusters: what `raycache.start` and its kin do.

What lives here: the user's side, on the driver or in a task. It blocks, so coroutines call it in a
thread (`raycache.connecting.connect_async` does). What does not: the cluster's own side (`router`, `shard`, `gateway`).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import ray

from raycache.access.user import user_of
from raycache.actors import calls
from raycache.actors.described import status_of
from raycache.actors.environment import answers, ensure_initialized, ray_token
from raycache.actors.names import cluster_of, router_name, standby_name, store_of
from raycache.actors.shard import Door
from raycache.actors.stores import attach, drain, reopen
from raycache.client.info import ConnectionInfo
from raycache.cluster_status import ClusterStatus
from raycache.config import MIB, ClusterConfig, Limits, object_share, parse_bytes
from raycache.errors import ClusterNotFoundError, RayCacheError, ShardUnavailableError, StoreNotDrainedError
from raycache.ring.topology import Topology
from raycache.shard.commands import CATALOGUE
from raycache.store import make_policy
from raycache.stores.config import Attachment
from raycache.stores.writer import WriterSettings
from raycache.tls import TlsSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOPBACK: Final = "127.0.0.1"
DEFAULT_MEMORY: Final = "768MiB"
_POLL_S: Final = 0.05
_CALL_TIMEOUT_S: Final = 10.0


def start(name: str, *, shards: int = 3, memory: int | str = DEFAULT_MEMORY, policy: str | type[Any] = "lru",
          max_entries: int | None = None, port: int = 0, gateway_port: int = 0, bind: str = "auto",
          cpus_per_shard: float = 0.0, copies: int = 1, replication: str = "primary-replica", read_quorum: int = 0,
          write_quorum: int = 0, allow_stale: bool = False, tombstone_ttl_s: float = 600.0,
          backlog_bytes: int = 16 * MIB, snapshot_dir: str | None = None, snapshot_interval_s: float = 60.0,
          metrics_port: int = 0, measure_every: int = 256, log_format: str = "text", tracing: str | None = None,
          split_transactions: bool = True, queue_memory: int | str | None = None,
          object_memory: int | str | None = None, object_copies: str = "each", stores: Sequence[Attachment] = (),
          limits: Limits | None = None, users: Sequence[str] = (), tls: TlsSettings | None = None,
          allow_pickle: bool = False, timeout_s: float = 60.0) -> ClusterStatus:
    """Start a cluster and return once everything serves; attach to it if it runs already.

    Connects this process to Ray first: to a Ray that runs, else to a new local one, which ends with
    this process (`raycache up` starts one that stays).

    Args:
        name: of the cluster: letters, digits, "_", "-" and ".".
        shards: how many, 1 to 1,000.
        memory: for all shards together, in bytes or as text such as "2GiB"; at least 1 MiB a shard. Each
            keeps its share when the cluster is scaled. Keys, values and all tables count, and an eighth (80 MiB at
            most) is set aside for the shard's process, which without any entry has some 110 MiB resident.
        policy: what a full shard evicts: "lru", "w-tinylfu", "arc", "s3-fifo", "sieve", "lfu" (ages), "plain-lfu",
            "fifo", "ttl" (soonest to expire first), "random", "auto" (tries five of them), "noeviction" (refuses
            writes instead), or a `cachetools.Cache` class; see docs/policies.md.
        max_entries: for all shards together; None: only memory counts.
        port: shard `i` listens on `port + i`; 0: free ports.
        gateway_port: where each machine's gateway listens; 0: a free port.
        bind: "auto": loopback if Ray has a single node now, else "node": each node's own address; or an address
            to listen on. Beyond loopback, every door demands AUTH. Where nodes will join later, say "node".
        cpus_per_shard: of Ray's CPUs to reserve; a shard starts without where that does not fit, and `status` says so.
        copies: how many shards hold each slot, 1 to 5; the copies share `memory`.
        replication: how copies follow each other: "primary-replica", "multi-primary" or "quorum"; docs/promises.md
            says what each keeps.
        read_quorum, write_quorum: in quorum mode, how many copies a read asks and a write waits for; 0: a majority.
        allow_stale: take quorums that need not overlap, so that a read may miss the newest write.
        tombstone_ttl_s: how long a deletion is remembered, in seconds; a copy away for longer is compared first.
        backlog_bytes: what a shard keeps for one copy that does not follow; beyond it that copy is compared instead.
        snapshot_dir: a folder on each machine where its shards keep snapshots for a warm restart; None: none.
        snapshot_interval_s: between two snapshots of a shard, in seconds.
        metrics_port: where each machine's gateway serves its figures, and those of the machine's shards, to
            Prometheus; 0: nowhere. It demands no secret, and shows no key.
        measure_every: of so many turns of a connection one is timed, on average; 1: all.
        log_format: "text", or "json" for one JSON object a line.
        tracing: a function as "package.module:function" that sets OpenTelemetry up in every shard; None: no traces.
        split_transactions: whether the gateway runs a MULTI over several shards as one transaction per
            shard, or refuses it.
        queue_memory: what writes that wait for a database may take of each shard, bytes or text; None: a quarter.
        object_memory: what large values may take of Ray's object store, for all shards together, bytes or text; 0: they
            are kept as others are; None: as much as `memory`. docs/large.md says more.
        object_copies: with `copies` above 1: "each" copy of a large value has an object of its own, or only "one".
        stores: databases to attach, as `attach_store` would.
        limits: on keys, values and connections.
        users: who may come in beside those with the cluster's secret, each a line as `ACL LIST` writes it, such as
            "user web on >password ~session:* +@read +@write +@connection". docs/security.md says more.
        tls: certificates for all doors and for what goes on between them; the files are on every machine.
        allow_pickle: whether handles that allow it, too, may store values of any type, as pickle signed with the
            cluster's secret (docs/security.md).
        timeout_s: how long to wait, in seconds.

    Raises:
        ValueError: a setting makes no sense; the text says which and why.
        RayCacheError: it did not start; what was started has been stopped again.
    """
    if not 1 <= shards <= 1000:
        raise ValueError(f"shards must be 1 to 1,000, not {shards}")
    config = ClusterConfig(
        name=name, shards=shards, memory_per_shard_bytes=parse_bytes(memory) // shards, policy=policy,
        max_entries_per_shard=None if max_entries is None else _per_shard(max_entries, shards), port=port,
        gateway_port=gateway_port, bind=bind, cpus_per_shard=cpus_per_shard, copies=copies, replication=replication,
        read_quorum=read_quorum, write_quorum=write_quorum, allow_stale=allow_stale, tombstone_ttl_s=tombstone_ttl_s,
        backlog_bytes=backlog_bytes, snapshot_dir=snapshot_dir, snapshot_interval_s=snapshot_interval_s,
        metrics_port=metrics_port, measure_every=measure_every, log_format=log_format, tracing=tracing,
        split_transactions=split_transactions, limits=limits or Limits(),
        queue_bytes=0 if queue_memory is None else parse_bytes(queue_memory), users=tuple(users), tls=tls,
        allow_pickle=allow_pickle,
        object_bytes=object_share(object_memory, shards), object_copies=object_copies,
    )
    return start_config(config, stores=stores, timeout_s=timeout_s)


def start_config(config: ClusterConfig, *, stores: Sequence[Attachment] = (),
                 timeout_s: float = 60.0) -> ClusterStatus:
    """Start a cluster with these settings; else as `start`."""
    name = config.name
    for line in config.users:
        CATALOGUE.check(user_of(line))
    make_policy(config.policy)  # refuses here, in one sentence, what every shard would refuse
    config = replace(config, life=config.life or secrets.token_hex(8))
    ensure_initialized()
    existed = router_name(name) in calls.actor_names()
    calls.create_router(config, _door(config))
    try:
        status = _wait_until_serving(name, timeout_s, config, existed=existed)
        for each in stores:
            attach(name, each, WriterSettings())
    except RayCacheError:
        if not existed:
            stop(name, drain_timeout_s=0.1, force=True)
        raise
    has = _main_settings(status.memory_per_shard_bytes, len(status.shards), status.copies, status.replication)
    wanted = _main_settings(config.memory_per_shard_bytes, config.shards, config.copies, config.replication)
    if existed and has != wanted:
        log.warning("cluster %s runs already, with other settings: %s, not %s", name, has, wanted)
    return status


def _main_settings(memory_per_shard_bytes: int, shards: int, copies: int, replication: str) -> str:
    mode = f" ({replication})" if copies > 1 else ""
    return f"{shards} shards of {memory_per_shard_bytes} bytes, copies={copies}{mode}"


def stop(name: str, *, drain_timeout_s: float = 30.0, force: bool = False) -> None:
    """Stop a cluster and forget all it holds, once what waits for attached databases is written. Ray goes on.

    Args:
        drain_timeout_s: how long writing may take, in seconds.
        force: stop it all the same after that time; acknowledged writes are lost.
    Raises:
        ClusterNotFoundError: no such cluster runs.
        StoreNotDrainedError: acknowledged writes still wait for a database, or it has refused some; the cluster runs
            on.
    """
    ensure_initialized(start=False)
    mine = sorted(actor for actor in calls.actor_names() if cluster_of(actor) == name)
    if not mine:
        raise _not_found(name)
    if attached := [store for actor in mine if (store := store_of(actor, name)) is not None]:
        drain(name, attached, drain_timeout_s, force=force)
        if not force and (count := _dead_letters(name)):
            reopen(name, attached)
            raise StoreNotDrainedError(
                f"databases have refused {count:,} acknowledged writes, which would be lost: look at these dead "
                f"letters with `raycache letters {name} STORE` (it has {', '.join(attached)}), and retry or discard "
                "them, or say force=True (--force)")
    doors = _doors(name)
    # The router first: it would start the shards again.
    routers = [router_name(name), standby_name(name)]
    for actor in [*routers, *(actor for actor in mine if actor not in routers)]:
        calls.kill_by_name(actor)
    deadline_s = time.monotonic() + _CALL_TIMEOUT_S
    # A router that was at work may have created one more while it was being ended.
    while left := [actor for actor in calls.actor_names() if cluster_of(actor) == name]:
        for actor in left:
            calls.kill_by_name(actor)
        _pause_before(deadline_s, f"cluster {name} does not stop: {', '.join(left)} still there")
    # Ray forgets a name before its process has ended; stopped means that nobody is answered any more.
    while open_doors := [door for door in doors if answers(door)]:
        _pause_before(deadline_s, f"cluster {name} does not stop: {', '.join(open_doors)} still answers")


def _dead_letters(name: str) -> int:
    """Return how many dead letters a cluster has, as far as it still tells."""
    try:
        return status(name).dead_letters
    except (RayCacheError, ray.exceptions.RayError):
        return 0


def _pause_before(deadline_s: float, complaint: str) -> None:
    if time.monotonic() > deadline_s:
        raise RayCacheError(complaint)
    time.sleep(_POLL_S)


def _doors(name: str) -> list[str]:
    """Return where a cluster listens, as far as its router still tells."""
    try:
        table = Topology.from_bytes(calls.describe(_router(name), _POLL_S * 20, with_stats=False)["topology"])
    except (RayCacheError, ray.exceptions.RayError):
        return []
    shards = [f"{shard.host}:{shard.port}" for shard in table.shards]
    return shards + [f"{gateway.host}:{gateway.port}" for gateway in table.gateways]


def clusters() -> list[str]:
    """Return the names of the clusters that run in this Ray, sorted."""
    ensure_initialized(start=False)
    return sorted({cluster for actor in calls.actor_names() if (cluster := cluster_of(actor)) is not None})


def status(name: str) -> ClusterStatus:
    """Return a cluster's state and each shard's counters.

    Raises:
        ClusterNotFoundError: no such cluster runs.
        ShardUnavailableError: its router does not answer.
    """
    return status_of(name, describe(name, with_stats=True))


def scale(name: str, shards: int, *, timeout_s: float = 60.0) -> ClusterStatus:
    """Set how many shards a cluster has and return once they serve.

    Entries move with their slots, in the background and without misses: `raycache.status` shows how far that is.

    Raises:
        ValueError: `shards` is out of range, or too few for a quorum.
        ClusterNotFoundError: no such cluster runs.
        ChangeUnderWayError: another change is not complete; the text says which, and nothing was changed.
        RayCacheError: it did not get there in `timeout_s` seconds.
    """
    if not 1 <= shards <= 1000:
        raise ValueError(f"shards must be 1 to 1,000, not {shards}")
    ensure_initialized(start=False)
    _ask_router(name, lambda router: calls.scale(router, shards, _CALL_TIMEOUT_S))
    return _wait_until_serving(name, timeout_s, None, existed=True, shards=shards)


def topology(name: str) -> Topology:
    """Return who serves which slot.

    Raises:
        ClusterNotFoundError: no such cluster runs.
    """
    return Topology.from_bytes(describe(name)["topology"])


def look_up(name: str) -> ConnectionInfo:
    """Ask Ray for the cluster: where its shards are, its secret and its topology. Costs a few milliseconds.

    Raises:
        ClusterNotFoundError: no such cluster runs; the text lists those that do.
    """
    described = describe(name)
    data = described["topology"]
    seeds = tuple((shard.host, shard.port) for shard in Topology.from_bytes(data).shards)
    return ConnectionInfo(cluster=name, seeds=seeds, secret=described["secret"], topology=data, tls=described["tls"],
                          object_bytes=described.get("object_capacity_bytes", 0))


def _router(name: str) -> calls.RouterHandle:
    try:
        return calls.find_router(name)
    except ValueError:
        raise _not_found(name) from None


def _not_found(name: str) -> ClusterNotFoundError:
    running = clusters()
    known = f"these run: {', '.join(running)}" if running else "none runs"
    return ClusterNotFoundError(
        f"no cluster {name!r} in this Ray ({known}); start it with raycache.start({name!r}) or `raycache up {name}`"
    )


def describe(name: str, *, with_stats: bool = False) -> dict[str, Any]:
    """Return the router's account of its cluster; ClusterNotFoundError where none runs."""
    ensure_initialized(start=False)
    return _ask_router(name, lambda router: calls.describe(router, _CALL_TIMEOUT_S, with_stats=with_stats))


def _ask_router(name: str, call: Callable[[calls.RouterHandle], T]) -> T:
    """Call the router; wait while Ray restarts it (half a second). Only for calls that may run twice."""
    router = _router(name)
    deadline_s = time.monotonic() + _CALL_TIMEOUT_S
    while True:
        try:
            return call(router)
        except ray.exceptions.RayTaskError as error:  # what the router says itself, without where in it that was
            raise error.cause from None
        except ray.exceptions.ActorDiedError:
            raise _not_found(name) from None
        except (ray.exceptions.ActorUnavailableError, ray.exceptions.GetTimeoutError) as error:
            if time.monotonic() > deadline_s:
                raise ShardUnavailableError(f"the router of cluster {name} does not answer: {error}") from error
            time.sleep(_POLL_S)


def _wait_until_serving(name: str, timeout_s: float, config: ClusterConfig | None, *, existed: bool,
                        shards: int | None = None) -> ClusterStatus:
    deadline_s = time.monotonic() + timeout_s
    while True:
        described = describe(name)
        if failures := described["failures"]:
            if not existed:
                raise RayCacheError("; ".join(failures))
        elif described["settled"] and (shards is None or described["desired"] == shards):
            status = status_of(name, described)
            if status.serving and (shards is None or len(status.shards) == shards):
                if config is not None and not existed:
                    _check_gateway_port(config, status)
                return status_of(name, describe(name, with_stats=True))
        if time.monotonic() > deadline_s:
            reasons = [*failures, *described["warnings"]] or ["no reason is known; see the logs of Ray's workers"]
            detail = "; ".join(reasons)
            raise RayCacheError(f"cluster {name} does not serve after {timeout_s:.0f} s: {detail}")
        time.sleep(_POLL_S)


def _check_gateway_port(config: ClusterConfig, status: ClusterStatus) -> None:
    """Refuse a start whose only gateway had to go elsewhere because another program has its port."""
    port = config.gateway_port
    if port and not any(address.endswith(f":{port}") for address in status.gateways):
        raise RayCacheError(
            f"gateway port {port} is taken by another program; choose another with gateway_port= or --gateway-port"
        )


def _door(config: ClusterConfig) -> Door:
    bind = config.bind
    if bind == "auto":
        bind = LOOPBACK if sum(node["Alive"] for node in calls.nodes()) <= 1 else "node"
    loopback = bind == "localhost" or bind == "::1" or bind.startswith("127.")
    return Door(bind=LOOPBACK if bind == "localhost" else bind, secret=_secret(config.name), require_auth=not loopback)


def _secret(cluster: str) -> str:
    """Return a secret: derived from Ray's token where there is one, so that it never changes; else random.

    Whoever learns it can use the cache and nothing else: the token cannot be computed from it.
    """
    token = ray_token()
    if token is None:
        return secrets.token_urlsafe(32)
    return hmac.new(token.encode(), b"raycache/1:" + cluster.encode(), hashlib.sha256).hexdigest()


def _per_shard(total: int, shards: int) -> int:
    if total < shards:
        raise ValueError(f"max_entries must allow each of {shards} shards at least one, not {total} in all")
    return total // shards
