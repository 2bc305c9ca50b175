"""Traces across processes: a handle's spans here, a shard's in another, by OpenTelemetry's own SDK."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from raycache.client import AsyncCache, Cache, ConnectionInfo
from raycache.client.channel import Channel
from raycache.client.connection import Connection
from raycache.tracing import handles

REPOSITORY = Path(__file__).parents[2]
Shard = tuple[ConnectionInfo, Callable[[], list[dict[str, Any]]]]


@pytest.fixture
def shard() -> Iterator[Shard]:
    """A traced shard in another process: how to connect, and what ends it and returns its spans."""
    process = subprocess.Popen([sys.executable, "-m", "tests.clients.traced_shard"], cwd=REPOSITORY, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert process.stdin is not None
    assert process.stdout is not None
    port = int(process.stdout.readline())

    def spans() -> list[dict[str, Any]]:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        found: list[dict[str, Any]] = json.loads(process.stdout.readline())
        return found

    yield ConnectionInfo(cluster="traced", seeds=(("127.0.0.1", port),)), spans
    process.stdin.close()
    process.wait(10)
    process.stdout.close()


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    handles.instrument(provider)
    yield exporter
    handles.uninstrument()


def one(spans: Any, name: str) -> Any:
    (span,) = [span for span in spans if span.name == name]
    return span


def test_a_load_is_one_trace_from_the_handle_through_the_shard_to_the_loader(
        shard: Shard, exporter: InMemorySpanExporter) -> None:
    info, shard_spans = shard
    with Cache(info) as cache:
        assert cache.get_or_load("user:secret-key", lambda: {"name": "Ada"}, ttl=60) == {"name": "Ada"}
    here = exporter.get_finished_spans()
    call, load = one(here, "raycache get_or_load"), one(here, "raycache load")
    assert load.parent.span_id == call.context.span_id
    there = [span for span in shard_spans() if span["parent"] == call.context.span_id]
    assert {span["trace"] for span in there} == {call.context.trace_id}
    names = [span["name"] for span in there]
    assert "raycache shard rc.lease" in names
    assert "raycache shard rc.fill" in names
    assert all(span["attributes"]["raycache.shard"] == "s0" and span["ns"] > 0 for span in there)
    assert "secret-key" not in repr(there) + repr([(span.name, dict(span.attributes or {})) for span in here])


def test_each_call_has_its_own_span_and_an_error_shows(shard: Shard, exporter: InMemorySpanExporter) -> None:
    info, shard_spans = shard
    with Cache(info) as cache:
        cache.set("a", "text")
        cache.get("a")
        with pytest.raises(Exception, match="integer"):
            cache.incr("a")
    by_id = {span.context.span_id: span.name for span in exporter.get_finished_spans()}
    there = shard_spans()
    pairs = {(by_id[span["parent"]], span["name"]) for span in there if span["parent"] in by_id}
    assert {("raycache set", "raycache shard rc.set"), ("raycache get", "raycache shard rc.get"),
            ("raycache incr", "raycache shard rc.incrby")} <= pairs
    assert {span["name"]: span["status"] for span in there}["raycache shard rc.incrby"] == "ERROR"


def test_concurrent_async_reads_keep_their_traces_apart(shard: Shard, exporter: InMemorySpanExporter) -> None:
    info, shard_spans = shard

    async def read() -> list[Any]:
        async with AsyncCache(info) as cache:
            await cache.set("a", 1)
            return list(await asyncio.gather(*(cache.get("a") for _ in range(20))))

    assert asyncio.run(read()) == [1] * 20
    gets = {span.context.span_id: span.context.trace_id for span in exporter.get_finished_spans()
            if span.name == "raycache get"}
    there = [span for span in shard_spans() if span["name"] == "raycache shard rc.get"]
    assert len(gets) == len(there) == 20
    assert {span["parent"]: span["trace"] for span in there} == gets


def test_without_tracing_nothing_is_sent_and_no_method_is_replaced(shard: Shard) -> None:
    info, shard_spans = shard
    before = Cache.get, AsyncCache.get, Connection.send, Connection.ask, Channel.submit, Channel.read
    inherited = Cache.get_or_load
    assert "get_or_load" not in vars(Cache)
    handles.instrument(TracerProvider())
    assert Cache.get is not before[0]
    handles.uninstrument()
    assert (Cache.get, AsyncCache.get, Connection.send, Connection.ask, Channel.submit, Channel.read) == before
    assert Cache.get_or_load is inherited
    assert "get_or_load" not in vars(Cache)
    with Cache(info) as cache:
        cache.set("a", 1)
    assert shard_spans() == []
