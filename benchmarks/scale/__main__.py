"""`python -m benchmarks.scale`: what each added node costs at 10, 100 and 1,000 nodes, as a table for docs/scale.md.

What lives here: the command line, the table and the file. What does not: measuring (`pieces`, `failover`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import click
from rich.console import Console

from benchmarks.harness.run import OUT, begin, describe
from benchmarks.scale import pieces
from benchmarks.scale.failover import TooSlowError, fail_over

NODES: Final = (10, 100, 1000)
SEED: Final = 20260

ROWS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "topology, bytes (2 copies, a gateway on each node)": lambda one: f"{one['topology_bytes']:,}",
    "of which for each node": lambda one: f"{one['bytes_per_node']:,.0f}",
    "one copy: bytes": lambda one: f"{one['topology_bytes_one_copy']:,}",
    "router: dealing all slots anew, ms": lambda one: f"{one['table_ms']:,.1f}",
    "router: writing the topology down, ms": lambda one: f"{one['encode_ms']:,.2f}",
    "router: handing it to the kernel for all, ms": lambda one: f"{one['push_ms']:,.1f}",
    "router: bytes sent for one change": lambda one: f"{one['push_bytes']:,}",
    "shard: reading it and settling its slots, ms": lambda one: f"{one['shard_ms']:,.1f}",
    "handle: reading it and making its table, ms": lambda one: f"{one['client_ms']:,.1f}",
    "connections of a handle, asyncio (threads)": lambda one: f"{one['nodes']:,} ({4 * one['nodes']:,} at most)",
    "connections of a shard to others, 2 copies (1 copy)": lambda one: f"{one['peers']:,} (0)",
    "heartbeats: CPU a peer and beat, us": lambda one: f"{one['heartbeat_us']:,.1f}",
    "heartbeats: share of a core a shard, sockets not counted": lambda one: f"{one['heartbeat_share']:.2%}",
    "failover after a reset, simulated s": lambda one: _seconds(one, "after_reset_s"),
    "failover after silence, simulated s": lambda one: _seconds(one, "after_silence_s"),
    "router's longest step meanwhile, real ms": lambda one: (
        f"{one['failover']['deciding_s'] * 1000:,.1f}" if one["failover"] else "not simulated"),
}


def _seconds(one: dict[str, Any], name: str) -> str:
    return f"{one['failover'][name]:.2f}" if one["failover"] else "not simulated"


@click.command()
@click.option("--budget", default=120.0, show_default=True, type=click.FloatRange(min=1.0),
              help="Seconds that one size may be simulated for.")
@click.option("--quick", is_flag=True, help="10 and 100 nodes: to try the parts, not for figures.")
def main(budget: float, quick: bool) -> None:
    """Measure the parts of large clusters on this machine, and lose nodes of simulated ones.

    A whole run writes benchmarks/out/bench-scale.json, with --quick bench-scale-partial.json; the table is Markdown.
    """
    console = begin()
    facts = describe(console)
    found = [_measure(nodes, budget, console) for nodes in (NODES[:-1] if quick else NODES)]
    console.print(_table(found), soft_wrap=True, highlight=False, markup=False)
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / ("bench-scale-partial.json" if quick else "bench-scale.json")
    path.write_text(json.dumps({"machine": facts, "sizes": found}, indent=2) + "\n")
    console.print(f"written: {path}", soft_wrap=True, highlight=False)


def _measure(nodes: int, budget_s: float, console: Console) -> dict[str, Any]:
    console.print(f"{nodes:,} nodes", highlight=False)
    topology, one_copy = pieces.topology_of(nodes), pieces.topology_of(nodes, copies=1)
    data, less = topology.to_bytes(), pieces.topology_of(nodes - 1).to_bytes()
    heartbeat_us, peers = pieces.heartbeat_us(nodes)
    found: dict[str, Any] = {
        "nodes": nodes, "topology_bytes": len(data), "bytes_per_node": len(data) - len(less),
        "topology_bytes_one_copy": len(one_copy.to_bytes()), "table_ms": pieces.table_ms(nodes),
        "encode_ms": pieces.encode_ms(topology), "push_ms": pieces.push_ms(data, nodes),
        "push_bytes": 2 * nodes * len(data),  # shards and gateways
        "shard_ms": pieces.shard_ms(nodes), "client_ms": pieces.client_ms(topology), "peers": peers,
        "heartbeat_us": heartbeat_us, "heartbeat_share": heartbeat_us * 1e-6 * peers / pieces.HEARTBEAT_S,
    }
    try:
        lost = fail_over(nodes, SEED, budget_s=budget_s)
        found["failover"] = {name: getattr(lost, name) for name in lost.__slots__}
    except TooSlowError as error:
        console.print(f"{nodes:,} nodes: not simulated: {error}", highlight=False)
        found["failover"] = None
    return found


def _table(found: list[dict[str, Any]]) -> str:
    lines = ["| | " + " | ".join(f"{one['nodes']:,} nodes" for one in found) + " |", "|---|" + "---:|" * len(found)]
    lines += [f"| {name} | " + " | ".join(text(one) for one in found) + " |" for name, text in ROWS.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
