"""What the page shows: a topology and the shards' statistics turned into JSON.

What lives here: the two documents that the page draws, `ring_of` (once an epoch) and `tick_of` (each second), and what
one tick must remember for the next (`Memory`). What does not: asking anybody (`poller`), drawing (`static/`). Pure: no
clock, no sockets; time is handed in. Keys leave here as printable text, and beside it as base64 for asking again.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from raycache.client.top import ClusterUse, HotKey, shown_key
from raycache.cluster_status import ClusterStatus, ShardStatus
from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import Topology
from raycache.usage.looks import MAX_KEY_BYTES
from serve_app.page.happenings import Happenings, refusals

Stats = Mapping[str, Mapping[str, Any]]
Document = dict[str, Any]

MAX_FUNCTIONS: Final = 20
_FRESH_S: Final = 5.0
"""Figures of a tick longer ago are not taken for those of "now"."""


@dataclass(slots=True)
class Memory:
    """What the next tick compares itself with."""

    at_s: float = 0.0
    stats: Stats = field(default_factory=dict)
    happenings: Happenings = field(default_factory=Happenings)


def ring_of(topology: Topology) -> Document:
    """Return the ring: who the shards are, and runs of slots with the same primary as [how many, index of the shard].

    About 10 KB for 16 shards.
    """
    primaries = topology.owners[:, 0]
    starts = np.concatenate(([0], np.flatnonzero(np.diff(primaries)) + 1))
    lengths = np.diff(np.concatenate((starts, [SLOT_COUNT])))
    shares = topology.shares()
    return {
        "epoch": topology.epoch, "slots": SLOT_COUNT, "copies": topology.copies,
        "shards": [{"id": shard.id, "machine": shard.machine, "zone": shard.zone, "slots": shares[shard.id]}
                   for shard in topology.shards],
        "runs": [[length, index] for length, index in zip(lengths.tolist(), primaries[starts].tolist(), strict=True)],
    }  # fmt: skip


def tick_of(status: ClusterStatus, topology: Topology, stats: Stats, use: ClusterUse, change: Mapping[str, Any],
            memory: Memory, now_s: float) -> Document:
    """Return what is so now, and note it in `memory`.

    Args:
        status: of the cluster, with the shards' figures in it.
        stats: those figures as the shards gave them; a shard that did not answer is missing.
        use: hot keys and functions.
        change: what the router says of changes under way (`raycache.router.status.progress`).
        now_s: unix time.
    """
    before = memory.stats if now_s - memory.at_s <= _FRESH_S else {}
    zones = {shard.id: shard.zone for shard in topology.shards}
    shards = [_shard(shard, zones.get(shard.id, ""), stats.get(shard.id), before.get(shard.id, {}))
              for shard in status.shards]
    happened = memory.happenings
    happened.take([(event.kind, event.text, now_s - event.age_s) for event in status.events], now_s)
    for text in refusals(stats, before):
        happened.add("refused", text, now_s)
    # A shard that has missed one look is compared with what it said last.
    memory.stats, memory.at_s = {**before, **stats}, now_s
    return {
        "cluster": status.name, "at": now_s, "epoch": status.epoch, "serving": status.serving,
        "policy": status.policy, "copies": status.copies, "replication": status.replication,
        "gateways": list(status.gateways), "warnings": list(status.warnings),
        "totals": _totals(status, shards, stats, before), "shards": shards,
        "hot": [_hot(key) for key in use.keys],
        "functions": [_function(name, one) for name, one in list(use.functions.items())[:MAX_FUNCTIONS]],
        "transfers": [dataclasses.asdict(one) for one in status.transfers],
        "change": _change(change), "events": happened.newest_first(),
    }  # fmt: skip


def _shard(shard: ShardStatus, zone: str, stats: Mapping[str, Any] | None, before: Mapping[str, Any]) -> Document:
    """Return one shard's row."""
    p50_us, p99_us = latency(stats or {})
    return {
        "id": shard.id, "state": shard.state, "answers": stats is not None, "machine": shard.machine, "zone": zone,
        "address": shard.address, "slots": shard.slots, "replica_slots": shard.replica_slots,
        "entries": shard.entries, "used_bytes": shard.used_bytes, "capacity_bytes": shard.capacity_bytes,
        "ops": shard.commands_per_s, "hit_ratio": _ratio(shard.hits, shard.misses),
        "hit_ratio_now": _ratio_since(stats or {}, before), "p50_us": p50_us, "p99_us": p99_us,
        "lag": dataclasses.asdict(shard.lag), "loss": dataclasses.asdict(shard.loss), "has_lease": shard.has_lease,
        "is_draining": shard.is_draining, "connections": shard.connections, "evicted": shard.evicted,
        "expired": shard.expired, "restarts": shard.restarts, "uptime_s": shard.uptime_s,
    }


def _totals(status: ClusterStatus, shards: list[Document], stats: Stats, before: Stats) -> Document:
    hits, misses = sum(one.hits for one in status.shards), sum(one.misses for one in status.shards)
    now = {name: sum(max(0, figures[name] - before[shard_id][name]) for shard_id, figures in stats.items()
                     if name in figures and name in before.get(shard_id, {})) for name in ("hits", "misses")}
    return {
        "entries": status.entries, "used_bytes": sum(one.used_bytes for one in status.shards),
        "capacity_bytes": sum(one.capacity_bytes for one in status.shards),
        "ops": sum(one.commands_per_s for one in status.shards), "hit_ratio": _ratio(hits, misses),
        "hit_ratio_now": _ratio(now["hits"], now["misses"]),
        # Of quantiles there is no sum: the slowest shard's is what somebody sees.
        "p50_us": max((one["p50_us"] for one in shards if one["p50_us"] is not None), default=None),
        "p99_us": max((one["p99_us"] for one in shards if one["p99_us"] is not None), default=None),
        "lag_s": max((one.lag.age_s for one in status.shards), default=0.0),
        "loss": dataclasses.asdict(status.loss), "queued": status.queued, "dead_letters": status.dead_letters,
    }  # fmt: skip


def latency(stats: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return p50 and p99, in microseconds, of single reads; of what there was most of, where nobody read.

    None where the shard tells of none.
    """
    classes: Mapping[str, Mapping[str, Any]] = stats.get("latency") or {}
    counted = {name: one for name, one in classes.items() if one.get("count")}
    if not counted:
        return None, None
    chosen = counted.get("read") or max(counted.values(), key=lambda one: one["count"])
    return chosen.get("p50_us"), chosen.get("p99_us")


def _ratio(hits: int, misses: int) -> float | None:
    return hits / (hits + misses) if hits + misses else None


def _ratio_since(stats: Mapping[str, Any], before: Mapping[str, Any]) -> float | None:
    """Return the hit ratio since the tick before; None where nobody read, or its counters began anew."""
    if not {"hits", "misses"} <= stats.keys() & before.keys():
        return None
    hits, misses = stats["hits"] - before["hits"], stats["misses"] - before["misses"]
    return _ratio(hits, misses) if hits >= 0 and misses >= 0 else None


def _hot(key: HotKey) -> Document:
    # Of a long key shards keep the beginning only: it cannot be asked for again.
    return {"key": shown_key(key.key), "key64": base64.urlsafe_b64encode(key.key).decode(), "shard": key.shard_id,
            "is_cut": len(key.key) >= MAX_KEY_BYTES, "share": key.share, "error": key.error, "per_s": key.per_s}


def _function(name: str, use: Any) -> Document:
    return {"name": shown_key(name.encode("utf-8", "surrogatepass")), "calls": use.calls, "hit_ratio": use.hit_ratio,
            "saved_s": use.saved_s, "mean_load_s": use.mean_load_s, "failures": use.failures}


def _change(change: Mapping[str, Any]) -> Document | None:
    """Return what is under way and how far it is."""
    under_way = change.get("change")
    if under_way is None:
        return None
    return {"text": under_way["text"], "slots_done": change["slots_done"], "slots_total": change["slots_total"]}
