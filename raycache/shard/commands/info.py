"""INFO, TIME and other questions about the server.

What lives here: INFO's sections. Fields that Redis has carry Redis' names and mean the same; what is
ours starts with `raycache_`. What cannot be said is left out rather than invented.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from raycache import __version__
from raycache.config import format_bytes
from raycache.resp import encode
from raycache.shard.commands.command import Command
from raycache.shard.commands.connection import REDIS_VERSION
from raycache.shard.commands.info_commands import commandstats, errorstats, latencystats

if TYPE_CHECKING:
    from raycache.shard.core import ShardCore
    from raycache.shard.session import Session

Fields = Mapping[str, Any]

POLICY_NAMES: Final = {"lru": "allkeys-lru", "lfu": "allkeys-lfu", "random": "allkeys-random", "ttl": "volatile-ttl"}
"""Redis' names for policies that do what Redis' do; the others keep ours."""


def policy_named(name: str) -> str:
    """Return our name of the policy that Redis, or we, call `name`; `name` itself if nobody does."""
    return next((ours for ours, theirs in POLICY_NAMES.items() if theirs == name), name)


def _server(core: ShardCore) -> Fields:
    uptime_s = max(0, core.now_ms - core.started_ms) // 1000
    return {
        "redis_version": REDIS_VERSION, "redis_mode": "cluster" if core.topology is not None else "standalone",
        "arch_bits": 64, "multiplexing_api": "asyncio", **_of_shell(core, process_id="process_id"),
        "tcp_port": core.slots.port(),
        "server_time_usec": core.now_ms * 1000,
        "uptime_in_seconds": uptime_s, "uptime_in_days": uptime_s // 86400, "hz": 10,
    }


def _of_shell(core: ShardCore, **names: str) -> Fields:
    """Return what only the shell knows, under Redis' names; nothing where it says nothing of it."""
    known = core.info()
    return {name: round(known[ours]) for name, ours in names.items() if ours in known}


def _clients(core: ShardCore) -> Fields:
    return {"connected_clients": len(core.sessions), "cluster_connections": 0,
            "maxclients": core.limits.max_connections,
            "blocked_clients": 0, "tracking_clients": len(core.tracking.sessions),
            "watching_clients": core.watch.count()}


def _memory(core: ShardCore) -> Fields:
    used, capacity = core.store.used_bytes, core.store.capacity_bytes
    return {"used_memory": used, "used_memory_human": _human(used),
            **_of_shell(core, used_memory_rss="resident_bytes"), "used_memory_dataset": used,
            "maxmemory": capacity, "maxmemory_human": _human(capacity),
            "maxmemory_policy": POLICY_NAMES.get(core.policy, core.policy)}


def _human(size: int) -> str:
    return format_bytes(size).replace(" ", "").replace("iB", "")


def _persistence(core: ShardCore) -> Fields:
    return {"loading": 0, "async_loading": 0, "rdb_bgsave_in_progress": 0, "rdb_last_bgsave_status": "ok",
            "aof_enabled": 0, "aof_rewrite_in_progress": 0}


def _stats(core: ShardCore) -> Fields:
    counted = core.store.stats
    return {
        "total_connections_received": core.sessions_opened, "total_commands_processed": core.commands,
        **_of_shell(core, instantaneous_ops_per_sec="commands_per_s"),
        "rejected_connections": core.info().get("connections_refused", 0),
        "expired_keys": counted.expired, "evicted_keys": counted.evicted,
        "keyspace_hits": counted.hits, "keyspace_misses": counted.misses, "total_error_replies": core.errors,
        "unexpected_error_replies": core.failures, "slowlog_commands_count": core.meter.slowlog.total,
        "tracking_total_keys": core.tracking.key_count, "tracking_total_prefixes": core.tracking.prefix_count,
    }


def _replication(core: ShardCore) -> Fields:
    replicator = core.replicator
    if replicator is None or not replicator.is_versioned:
        return {"role": "master", "connected_slaves": 0}
    stats, loss = replicator.stats(), replicator.loss_window()
    peers = [(name, peer) for name, peer in stats["peers"].items() if peer["connected"]]
    fields: dict[str, Any] = {"role": "master", "connected_slaves": len(peers)}
    for number, (name, peer) in enumerate(peers):
        fields[f"slave{number}"] = (f"id={name},state=online,offset={peer['acked']},lag={peer['lag_s']:.3f},"
                                    f"lag_mutations={peer['lag_mutations']},lag_bytes={peer['lag_bytes']}")
    return fields | {
        "master_repl_offset": sum(peer["offset"] for peer in stats["peers"].values()),
        "raycache_replication": stats["mode"], "raycache_copies": stats["copies"],
        "raycache_has_lease": int(stats["has_lease"]), "raycache_loss_window_mutations": loss["mutations"],
        "raycache_loss_window_bytes": loss["bytes"], "raycache_loss_window_age_ms": round(loss["age_s"] * 1000),
        "raycache_loss_window_slots": loss["slots"],
    }


def _cpu(core: ShardCore) -> Fields:
    known = core.info()
    return {ours: f"{known[name]:.6f}" for ours, name in (("used_cpu_sys", "cpu_system_s"),
                                                          ("used_cpu_user", "cpu_user_s")) if name in known}


def _cluster(core: ShardCore) -> Fields:
    return {"cluster_enabled": int(core.topology is not None)}


def _keyspace(core: ShardCore) -> Fields:
    count = len(core.store)
    return {"db0": f"keys={count},expires={core.store.entries_with_ttl},avg_ttl=0"} if count else {}


def _raycache(core: ShardCore) -> Fields:
    cluster = core.topology.cluster if core.topology is not None else ""
    return {"raycache_version": __version__, "raycache_cluster": cluster, "raycache_policy": core.policy,
            **{f"raycache_{name}": value for name, value in core.stats().items()
               if name not in ("policy", "process_id") and not isinstance(value, dict)}}


_SECTIONS: Final[dict[str, Callable[[ShardCore], Fields]]] = {
    "server": _server, "clients": _clients, "memory": _memory, "persistence": _persistence, "stats": _stats,
    "replication": _replication, "cpu": _cpu, "errorstats": lambda core: errorstats(core.meter),
    "cluster": _cluster, "keyspace": _keyspace, "raycache": _raycache,
    "commandstats": lambda core: commandstats(core.meter, core.calls_of()),
    "latencystats": lambda core: latencystats(core.meter),
}
_ON_REQUEST: Final = frozenset({"commandstats", "latencystats"})
"""Sections that come with "all" or "everything", or by their names, as in Redis."""


def info(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """INFO [section [section ...]]."""
    wanted = {word.decode("latin-1").lower() for word in argv[1:]}
    if wanted & {"all", "everything"}:
        wanted |= set(_SECTIONS)
    elif not wanted or "default" in wanted:
        wanted |= set(_SECTIONS) - _ON_REQUEST
    blocks = []
    for name, fields in _SECTIONS.items():
        if name in wanted:
            lines = "".join(f"{field}:{value}\r\n" for field, value in fields(core).items())
            blocks.append(f"# {name.capitalize()}\r\n{lines}")
    return encode.verbatim("\r\n".join(blocks).encode(), session.protocol)


def time(core: ShardCore, session: Session, argv: list[bytes]) -> bytes:
    """TIME: seconds, and microseconds in steps of a thousand, since the shard's clock has milliseconds."""
    seconds, milliseconds = divmod(core.now_ms, 1000)
    return encode.bulks([b"%d" % seconds, b"%d" % (milliseconds * 1000)])


COMMANDS = [
    Command(name="info", arity=-1, flags="loading stale", handler=info, group="server", categories="dangerous",
            tips=("nondeterministic_output", "request_policy:all_shards", "response_policy:special"),
            summary="Returns facts and counters of the server."),
    Command(name="time", arity=1, flags="loading stale fast", handler=time, group="server", since="2.6.0",
            tips=("nondeterministic_output",), summary="Returns the server's time."),
]
