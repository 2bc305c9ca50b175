"""What is compared: our door and a bare endpoint on one Ray Serve behind HAProxy, and webdis on a Redis.

What lives here: starting and stopping them. What does not: load (`wrk.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.harness.product import running_cluster, running_ray
from benchmarks.harness.servers import HOST, ServerFailedError, free_port, redis_server, stop, wait_until
from serve_app.starting import haproxy_variables, new_folder

VALUE: Final = b"v" * 1024
KEY: Final = "bench:1"


class Doors(NamedTuple):
    """What runs: the cluster's name, and where they answer."""

    cluster: str
    door: str
    bare: str
    """A bare endpoint whose replica logs as little as the door's."""
    default: str
    """The same endpoint with all of Serve's defaults, a line in the log for each request among them."""


@contextmanager
def running_doors(shards: int) -> Iterator[Doors]:
    """Run a cluster, our door, and the bare endpoint twice.

    One Serve replica each, in one Serve behind one HAProxy: what differs is what the replica does.
    """
    os.environ.update(haproxy_variables(new_folder()))
    with running_ray(cpus=4), running_cluster(shards, 256 << 20) as product:
        from ray import serve
        from ray.serve.config import HTTPOptions
        from ray.serve.schema import LoggingConfig

        from serve_app.app import application_of

        port = free_port()
        serve.start(http_options=HTTPOptions(host=HOST, port=port),
                    logging_config=LoggingConfig(enable_access_log=False))
        try:
            serve.run(application_of({"cluster": product.name}, num_replicas=1), name="door", route_prefix="/")
            serve.run(bare_endpoint(is_quiet=True), name="bare", route_prefix="/bare")
            serve.run(bare_endpoint(is_quiet=False), name="default", route_prefix="/default")
            yield Doors(product.name, *(f"http://{HOST}:{port}{path}" for path in ("", "/bare", "/default")))
        finally:
            serve.shutdown()


def bare_endpoint(*, is_quiet: bool) -> Any:
    """Return an endpoint that answers every request with the same kilobyte, without FastAPI.

    Args:
        is_quiet: whether its replica is told to log as little as our door's is.
    """
    from ray import serve
    from starlette.requests import Request
    from starlette.responses import Response

    from serve_app.app import QUIET

    class Constant:
        async def __call__(self, request: Request) -> Response:
            return Response(VALUE, media_type="application/octet-stream")

    deployment: Any = serve.deployment(name="constant", num_replicas=1, max_ongoing_requests=1_000,
                                       ray_actor_options={"num_cpus": 0.5},
                                       logging_config=QUIET if is_quiet else None)(Constant)
    return deployment.bind()


@contextmanager
def webdis() -> Iterator[str | None]:
    """Run webdis on a Redis that holds the key; yield its URL for that key, or None where it is not installed."""
    if shutil.which("webdis") is None:
        yield None
        return
    with redis_server() as redis_port, tempfile.TemporaryDirectory(prefix="bench-webdis-") as folder:
        port = free_port()
        config = Path(folder) / "webdis.json"
        config.write_text(json.dumps({
            "redis_host": HOST, "redis_port": redis_port, "http_host": HOST, "http_port": port, "threads": 2,
            "daemonize": False, "database": 0, "verbosity": 0, "logfile": str(Path(folder) / "log")}))
        server = subprocess.Popen(["webdis", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  text=True)
        try:
            url = f"http://{HOST}:{port}"
            wait_until("webdis", lambda: _stored(f"{url}/SET/{KEY}/{VALUE.decode()}"))
            # As a document of its own: the other side sends no JSON around the value either.
            yield f"{url}/GET/{KEY}.bin"
        finally:
            stop(server)


def _stored(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return b"true" in answer.read()
    except OSError:
        return False


def put(url: str, value: bytes) -> None:
    """Store a value over HTTP.

    Raises:
        ServerFailedError: it was not stored.
    """
    request = urllib.request.Request(url, value, {"Content-Type": "application/octet-stream"}, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=10):
            pass
    except OSError as error:
        raise ServerFailedError(f"PUT {url}: {error}") from error


def get(url: str) -> bytes:
    """Return what a GET brings."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body
