"""A program's spans: one for each call of a handle, one for each load, and the context on its way to the shards.

What lives here: `instrument` and `uninstrument`, for all handles of this process, sync and async. What does not:
setting OpenTelemetry up, which is the program's own affair.

As instrumentation does it, methods of the handles are replaced while traces are on, and put back afterwards. In a
recorded span each request to a shard is led by `RC.TRACE` with W3C's traceparent, which has no reply; neighbouring
reads of an async handle then travel one by one, each with its own. Spans carry names of commands, never keys or values.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from copy import copy
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Tracer, TracerProvider

from raycache import __version__
from raycache.client import AsyncCache, Cache
from raycache.client.channel import Channel
from raycache.client.connection import Connection
from raycache.client.frames import command
from raycache.client.requests import get

OPERATIONS: Final = (
    "add", "clear", "compare_and_set", "decr", "delete", "delete_many", "delete_prefix", "exists", "get", "get_many",
    "get_or_load", "get_or_load_many", "get_result", "get_results", "get_with_version", "incr", "invalidate_tags",
    "replace", "set", "set_many", "touch", "ttl", "update",
)
"""Methods that get a span; the others call these, or are no single operation."""
_LOADS: Final = frozenset({"get_or_load", "get_or_load_many"})
_originals: dict[tuple[type, str], Any] = {}


def instrument(tracer_provider: TracerProvider | None = None) -> None:
    """Trace every handle of this process from now on. Twice is once.

    Args:
        tracer_provider: whose spans; None: the process' own, as OpenTelemetry knows it.
    """
    if _originals:
        return
    tracer = trace.get_tracer("raycache", __version__, tracer_provider=tracer_provider)
    for handle in (Cache, AsyncCache):
        for name in OPERATIONS:
            _replace(handle, name, functools.partial(_traced, tracer, name))
    _replace(Connection, "send", _sending)
    _replace(Connection, "ask", _sending)
    _replace(Channel, "submit", _submitting)
    _replace(Channel, "read", _reading)


def uninstrument() -> None:
    """Trace no handle any more."""
    for (owner, name), method in _originals.items():
        if method is None:
            delattr(owner, name)
        else:
            setattr(owner, name, method)
    _originals.clear()


def _replace(owner: type, name: str, make: Callable[[Any], Any]) -> None:
    _originals[owner, name] = vars(owner).get(name)  # None: it is inherited
    setattr(owner, name, make(getattr(owner, name)))


def _traced(tracer: Tracer, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a handle's method in a span of its own."""

    def span_of(handle: Any) -> Any:
        attributes = {"db.system.name": "raycache", "db.operation.name": name, "raycache.cluster": handle.cluster}
        return tracer.start_as_current_span(f"raycache {name}", kind=SpanKind.CLIENT, attributes=attributes)

    def with_loader(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        if name in _LOADS and len(arguments) > 1 and callable(arguments[1]):
            return (arguments[0], _traced_loader(tracer, arguments[1]), *arguments[2:])
        return arguments

    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def traced_call(self: Any, *args: Any, **kwargs: Any) -> Any:
            with span_of(self):
                return await method(self, *with_loader(args), **kwargs)

        return traced_call

    @functools.wraps(method)
    def traced(self: Any, *args: Any, **kwargs: Any) -> Any:
        with span_of(self):
            return method(self, *with_loader(args), **kwargs)

    return traced


def _traced_loader(tracer: Tracer, loader: Callable[..., Any]) -> Callable[..., Any]:
    """Return a loader whose call is a span below the one that is current now, in whichever thread or task it runs."""
    around = contexts.get_current()
    if inspect.iscoroutinefunction(loader):

        @functools.wraps(loader)
        async def load_in_task(*args: Any, **kwargs: Any) -> Any:
            with tracer.start_as_current_span("raycache load", around):
                return await loader(*args, **kwargs)

        return load_in_task

    @functools.wraps(loader)
    def load(*args: Any, **kwargs: Any) -> Any:
        with tracer.start_as_current_span("raycache load", around):
            return loader(*args, **kwargs)

    return load


def _leader() -> bytes:
    """Return what leads a request: RC.TRACE with the current context, nothing outside of a recorded span."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid or not context.trace_flags.sampled:
        return b""
    return command(b"RC.TRACE", b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, context.trace_flags))


def _sending(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def send(self: Connection, frame: bytes, deadline_s: float) -> Any:
        leader = _leader()
        return method(self, leader + frame if leader else frame, deadline_s)

    return send


def _submitting(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def submit(self: Channel, request: Any, deadline_s: float) -> Any:
        leader = _leader()
        if leader:
            request = copy(request)
            request.frame, request.read_key = leader + request.frame, None
        return method(self, request, deadline_s)

    return submit


def _reading(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def read(self: Channel, key: bytes, deadline_s: float | None = None) -> Any:
        if _leader():
            return self.submit(get(key), self.now_s() + self.timeout_s if deadline_s is None else deadline_s)
        return method(self, key, deadline_s)

    return read
