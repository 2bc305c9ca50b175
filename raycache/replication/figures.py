"""What a shard says of its part in replication: to the router, to INFO, to statistics.

What lives here: names and sums. What does not: anything that changes something.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from raycache.replication.lease import ROUTER

if TYPE_CHECKING:
    from raycache.replication.replicator import Replicator


def loss_window(replicator: Replicator) -> dict[str, Any]:
    """Return what this shard has acknowledged and some other owner does not have yet: what its death could lose.

    With more than two copies a mutation counts once for each owner that lacks it, so this is an upper bound. Of "slots"
    this shard is the only owner: there everything could be lost, as with one copy.
    """
    boxes = list(replicator.outboxes.values())
    return {"mutations": sum(len(box) + box.adrift for box in boxes),
            "bytes": sum(box.bytes + box.adrift_bytes for box in boxes),
            "age_s": max((box.age_s(replicator.now_s) for box in boxes), default=0.0),
            "slots": replicator.neighbours.alone}


def report(replicator: Replicator) -> dict[str, Any]:
    """Return what the router needs to know, and the shard's own time, for the next ping to echo."""
    now_s, now_ms, topology = replicator.now_s, replicator.host.now_ms, replicator.topology
    arrivals = replicator.transfers.arrivals.values()
    return {
        "now_s": now_s, "epoch": topology.epoch if topology is not None else 0, "incarnation": replicator.incarnation,
        "silent": {peer: now_s - one.heard_s for peer, one in replicator.contacts.items() if peer != ROUTER},
        "applied": {peer: stream.clock for peer, stream in replicator.streams.items()},
        "arrivals": {one.id: one.describe(now_s) for one in arrivals if not one.is_repair},
        "complaints": {shard: (now_ms - at_ms) / 1000 for shard, at_ms in replicator.complaints.items()},
        "access": replicator.access_digest(), "router_silence_s": min(now_s - replicator.router_pinged_s, 1e9),
        "lease_left_s": min(replicator.lease_until_s - now_s, 1e9), "loss": loss_window(replicator),
        "entries": len(replicator.host.whole),
    }


def statistics(replicator: Replicator) -> dict[str, Any]:
    """Return the figures of replication, of types that msgpack knows."""
    copies, transfers, now_s = replicator.copies, replicator.transfers, replicator.now_s
    return {
        "mode": replicator.mode, "copies": replicator.config.copies, "has_lease": replicator.has_lease(now_s),
        "peers": dict(_peers(replicator)), "loss_window": loss_window(replicator),
        "arrivals": {one.id: one.describe(now_s) for one in transfers.arrivals.values()},
        "tombstones": len(copies.tombstones), "merged": copies.merged, "ignored": copies.ignored,
        "repaired": transfers.repaired, "transfer_misses": transfers.misses,
    }


def _peers(replicator: Replicator) -> Iterator[tuple[str, dict[str, Any]]]:
    for peer, contact in replicator.contacts.items():
        box = replicator.outboxes.get(peer)
        if box is not None:
            yield peer, {
                "offset": box.offset, "acked": box.acked, "lag_mutations": len(box), "lag_bytes": box.bytes,
                "lag_s": box.age_s(replicator.now_s), "connected": contact.is_connected, "hints_dropped": box.dropped,
            }
