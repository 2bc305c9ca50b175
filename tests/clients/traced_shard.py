"""A shard in a process of its own, with OpenTelemetry's in-memory exporter: prints its port, then its spans as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace

import uvloop
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from raycache.config import ClusterConfig
from raycache.ring.placement import PlacedShard, build_table
from raycache.ring.topology import ShardInfo, Topology
from raycache.shard.build import build_server
from raycache.shard.server import listening_socket
from raycache.tracing.shards import shard_tracer

exporter = InMemorySpanExporter()


def set_up() -> None:
    """What `tracing=` names: sets OpenTelemetry up in this process."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


async def main() -> None:
    server = build_server(ClusterConfig(name="traced", shards=1), "s0", secret=None, require_auth=False)
    sys.modules.setdefault("tests.clients.traced_shard", sys.modules["__main__"])
    server.core.tracer = shard_tracer("tests.clients.traced_shard:set_up", "traced", "s0")
    sock = listening_socket("127.0.0.1", 0)
    port = int(sock.getsockname()[1])
    here = ShardInfo(id="s0", host="127.0.0.1", port=port, node_id="n", machine="m", zone="", state="up", weight=1,
                     incarnation=server.core.started_ms)
    owners = build_table([PlacedShard("s0", "m", "", 1)], copies=1, vnodes_per_shard=128, max_load=0.5, previous=None)
    server.set_topology(replace(Topology.empty("traced"), epoch=1, shards=(here,), owners=owners))
    print(port, flush=True)
    await server.start(sock)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    print(json.dumps([
        {"name": span.name, "trace": span.context.trace_id, "id": span.context.span_id,
         "parent": span.parent.span_id if span.parent is not None else None, "attributes": dict(span.attributes or {}),
         "status": span.status.status_code.name, "ns": (span.end_time or 0) - (span.start_time or 0)}
        for span in exporter.get_finished_spans()]), flush=True)
    await server.stop()


if __name__ == "__main__":
    uvloop.run(main())
