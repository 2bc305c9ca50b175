"""A shard's spans: one for each command that came with a context, as a child of the handle's.

What lives here: making them, and setting OpenTelemetry up in a shard's process. What does not: when a command is traced
(`raycache.shard.core`), the wire (`RC.TRACE` in `raycache.shard.commands.tracing`).
"""

from __future__ import annotations

import importlib

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from raycache import __version__

_PROPAGATOR = TraceContextTextMapPropagator()


class ShardTracer:
    """Begins spans for one shard.

    Args:
        cluster, shard_id: what each span says of its place.
        provider: whose spans; None: the process' own.
    """

    def __init__(self, cluster: str, shard_id: str, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("raycache", __version__, tracer_provider=provider)
        self._attributes = {"db.system.name": "raycache", "raycache.cluster": cluster, "raycache.shard": shard_id}

    def begin(self, traceparent: bytes, command: str) -> ShardSpan:
        """Return the span of a command; `traceparent` is W3C's, and what is none begins a trace of its own."""
        context = _PROPAGATOR.extract({"traceparent": traceparent.decode("latin-1")})
        attributes = {**self._attributes, "db.operation.name": command}
        return ShardSpan(self._tracer.start_span(f"raycache shard {command}", context, SpanKind.SERVER, attributes))


class ShardSpan:
    """One command's span."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def end(self, reply: bytes) -> None:
        """The command has been answered."""
        if reply.startswith(b"-"):
            word = reply[1:].split(None, 1)[0].decode("latin-1")
            self._span.set_attribute("db.response.status_code", word)
            self._span.set_status(StatusCode.ERROR, word)
        self._span.end()


def shard_tracer(set_up: str, cluster: str, shard_id: str) -> ShardTracer:
    """Return a shard's tracer, after `set_up`, a function as "package.module:function", has set OpenTelemetry up.

    Raises:
        ImportError, AttributeError: there is no such function.
    """
    module, _, name = set_up.partition(":")
    getattr(importlib.import_module(module), name)()
    return ShardTracer(cluster, shard_id)
