"""The gateway's figures over HTTP, for Prometheus: `GET /metrics` and nothing else.

What lives here: collecting the gateway's own samples and those of the shards of its machine, and answering a request.
What does not: which figures there are (`raycache.metrics.families`), their text (`raycache.metrics.text`). It belongs
to the gateway's loop.

Each gateway tells of the shards on its own Ray node, which are its share: so every shard is in the figures once,
however many gateways are scraped. A shard that does not answer within `SHARD_TIMEOUT_S` is left out, and
`raycache_gateway_shard_answered` says so. Figures name shards and classes of commands, never keys or values.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgpack

from raycache.errors import ShardUnavailableError
from raycache.gateway.request import encoded
from raycache.gateway.upstream import FutureCall
from raycache.metrics.families import Samples
from raycache.metrics.text import CONTENT_TYPE, written
from raycache.resp.reply import bulk_of, is_error
from raycache.ring.topology import ShardInfo
from raycache.shard.figures import GATEWAY_DOOR, door_samples

if TYPE_CHECKING:
    from raycache.gateway.server import GatewayServer

log = logging.getLogger(__name__)

SHARD_TIMEOUT_S: Final = 1.0
"""How long shards are waited for: they answer in a few milliseconds, and Prometheus waits for 10 s."""
REQUEST_TIMEOUT_S: Final = 5.0
MAX_HEAD_BYTES: Final = 8 * 1024
MAX_SCRAPERS: Final = 16
"""Requests at a time; a Prometheus has one."""
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
                   503: "Service Unavailable"}


async def collected(server: GatewayServer, is_here: Callable[[ShardInfo], bool]) -> Samples:
    """Return the figures of a gateway and of the shards for which `is_here` holds."""
    samples = gateway_samples(server)
    topology = server.topology()
    shards = [shard for shard in topology.shards if is_here(shard)] if topology is not None else []
    for shard, rows in zip(shards, await asyncio.gather(*(_ask(server, shard) for shard in shards)), strict=True):
        samples.add("raycache_gateway_shard_answered", int(rows is not None), shard.id)
        samples.all += Samples.of_rows(rows or []).all
    return samples


def gateway_samples(server: GatewayServer) -> Samples:
    """Return a gateway's own figures."""
    samples, core, report = Samples(), server.core, server.report()
    door_samples(samples, GATEWAY_DOOR, "", core.meter, core.calls_of(), report)
    for name in ("retries", "given_up", "detours", "refreshes"):
        samples.add(f"raycache_gateway_{name}_total", report[name])
    samples.add("raycache_gateway_upstream_connections", report["upstream_connections"])
    return samples


async def _ask(server: GatewayServer, shard: ShardInfo) -> Any:
    """Return the rows of a shard's samples, None if it does not tell in time."""
    call = FutureCall(encoded([b"RC.METRICS"]))
    server.pool.lane(shard.id, 2, is_long=False).send(call, shard)
    try:
        async with asyncio.timeout(SHARD_TIMEOUT_S):
            (frame,) = await call.replies
        return None if is_error(frame) else msgpack.unpackb(bulk_of(frame))
    except (ShardUnavailableError, TimeoutError):
        return None
    except Exception as error:  # whatever a shard of another version sends
        log.info("the figures of shard %s cannot be read: %s", shard.id, error)
        return None


class ScrapeDoor:
    """Listens for Prometheus on a socket of its own."""

    def __init__(self, server: GatewayServer, cluster: str, is_here: Callable[[ShardInfo], bool]) -> None:
        self._server = server
        self._cluster = cluster
        self._is_here = is_here
        self._listener: asyncio.Server | None = None
        self._scrapers = 0
        self.port = 0

    async def start(self, sock: socket.socket) -> None:
        """Serve on `sock`, a bound stream socket; it belongs to the door from here on."""
        self.port = sock.getsockname()[1]
        self._listener = await asyncio.start_server(self._serve, sock=sock, limit=MAX_HEAD_BYTES)

    def stop(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._scrapers += 1
        try:
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                status, body = await self._answer(reader)
                kind = CONTENT_TYPE if status == 200 else "text/plain; charset=utf-8"
                writer.write(f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: "
                             f"{len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
                await writer.drain()
        except (TimeoutError, OSError):
            pass
        except Exception:  # one scrape's failure must be seen, and be no more than that
            log.exception("the figures could not be served")
        finally:
            self._scrapers -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n", 1)[0].split(b" ")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            return 400, b"not an HTTP request\n"
        if target.partition(b"?")[0] != b"/metrics":
            return 404, b"the figures are at /metrics\n"
        if method != b"GET":
            return 405, b"only GET\n"
        if self._scrapers > MAX_SCRAPERS:
            return 503, b"too many requests at once\n"
        samples = await collected(self._server, self._is_here)
        return 200, written(samples.all, {"cluster": self._cluster}).encode()
