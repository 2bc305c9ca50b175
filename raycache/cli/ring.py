"""`ring`: who owns how many slots, and what adding or removing a shard would move.

What lives here: asking the pure planner (`raycache.ring.plan`) and printing what it says. Nothing is changed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from raycache.cli import output
from raycache.cli.backend import Backend
from raycache.config import ClusterConfig
from raycache.ring.plan import MoveReport, adding, removing
from raycache.ring.slots import SLOT_COUNT
from raycache.ring.topology import ShardInfo, Topology


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_obj
def ring(backend: Backend, name: str, as_json: bool) -> None:
    """Show each shard's share of the 16,384 slots of the cluster NAME, and what a change would move.

    A key belongs to a slot, a slot to a shard. When a shard is added or removed, only the slots listed here change
    hands, with their entries; every other key stays where it is. With copies this counts each slot's primary.

    \b
    Examples:
      raycache ring features
      raycache ring features --json
    """
    backend.attach(start=False)
    report = ring_record(backend.topology(name))
    if as_json:
        output.print_json(report)
    else:
        _print(report)


def ring_record(topology: Topology) -> dict[str, Any]:
    """Return the ring as JSON types: what each shard has, and what each possible change would move."""
    shares = topology.shares()
    return {
        "name": topology.cluster,
        "epoch": topology.epoch,
        "slots": SLOT_COUNT,
        "shards": [
            {
                "id": shard.id,
                "address": f"{shard.host}:{shard.port}",
                "machine": shard.machine,
                "slots": shares[shard.id],
                "share": shares[shard.id] / SLOT_COUNT,
                "ranges": len(topology.ranges(shard.id)),
                "removing_it": _removal(topology, shard.id),
            }
            for shard in topology.shards
        ],
        "adding_one": _moves(adding(topology, _newcomer(topology), **_ring_settings())) if topology.shards else None,
    }


def _ring_settings() -> dict[str, Any]:
    """Return what every cluster's ring is dealt with."""
    defaults = ClusterConfig(name="defaults")
    return {"vnodes_per_shard": defaults.vnodes_per_shard, "max_load": defaults.max_load}


def _newcomer(topology: Topology) -> ShardInfo:
    """Return one more shard like the first one, under the id that the cluster would give it."""
    taken = {shard.id for shard in topology.shards}
    number = next(number for number in range(len(taken) + 1) if f"s{number}" not in taken)
    return replace(topology.shards[0], id=f"s{number}", machine="", node_id="", incarnation=0)


def _removal(topology: Topology, shard_id: str) -> dict[str, Any] | None:
    """Return what removing a shard would move; None for the last one, which cannot go."""
    if len(topology.shards) < 2:
        return None
    return _moves(removing(topology, shard_id, **_ring_settings()))


def _moves(report: MoveReport) -> dict[str, Any]:
    moves = [{"from": origin, "to": target, "slots": slots} for (origin, target), slots in report.moves.items()]
    after = report.shares_after
    return {"moved": report.moved, "moved_share": report.moved_share, "moves": moves, "shares_after": after}


def _print(report: dict[str, Any]) -> None:
    click.echo(f"{report['name']}: epoch {report['epoch']}, {SLOT_COUNT:,} slots on {len(report['shards'])} shards")
    rows = [
        (
            shard["id"], shard["address"], f"{shard['slots']:,}", f"{shard['share']:.1%}", f"{shard['ranges']:,}",
            output.share_text(shard["removing_it"]["moved"]) if shard["removing_it"] else "everything",
        )
        for shard in report["shards"]
    ]  # fmt: skip
    output.print_table(("shard", "address", "slots", "share", "ranges", "removing it moves"), rows, left=2)
    if (change := report["adding_one"]) is not None:
        origins = ", ".join(f"{move['slots']:,} from {move['from'] or 'nobody'}" for move in change["moves"])
        click.echo(f"adding one shard moves {output.share_text(change['moved'])} slots: {origins}")


COMMANDS = (ring,)
