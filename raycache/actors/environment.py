"""Starting Ray right: the one place that reads and writes the environment.

What lives here: the settings that Ray's processes must inherit for a cache to keep its promises,
starting Ray with them, attaching to a Ray that somebody else started, and saying what such a Ray
lacks. What does not: our actors (`launch`).

Why each setting (measured with Ray 2.60, see docs/ray.md):

* `RAY_worker_niceness=0`: Ray runs workers at nice 15. With two busy processes beside it a shard at
  nice 15 fell from 17,700 to 1,400 round trips a second; at nice 0 it did not fall at all.
* `RAY_gcs_rpc_server_reconnect_timeout_s=600`: without it, every raylet and driver ends itself 60 s
  after Ray's GCS goes away, and takes the shards with it.
* `RAY_start_python_gc_manager_thread=0`: Ray's thread may run `gc.collect()` in a worker at any time;
  on a shard with a million entries that is a pause.
* `RAY_AUTH_MODE`: `ray.init()` turns token authentication on by itself, `ray.init(address=...)` does
  not and then fails after 20 s, so the mode is said explicitly in every process: "token" where there
  is a token, as `ray start --head` decides.
"""

from __future__ import annotations

import logging
import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

import ray

from raycache.actors.knocking import why_refused
from raycache.errors import RayCacheError

log = logging.getLogger(__name__)

SETTINGS: Final = {
    "RAY_worker_niceness": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "600",
    "RAY_start_python_gc_manager_thread": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
RAYS_PORT: Final = 6379
"""Where `ray start --head` listens unless it is told otherwise."""
_ANSWER_TIMEOUT_S: Final = 2.0
_CONSEQUENCES: Final = {
    "RAY_worker_niceness": "busy neighbours will slow the shards down many times",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "the shards end 60 s after Ray's GCS is lost",
    "RAY_start_python_gc_manager_thread": "Ray may run a full garbage collection in a shard",
}


def has_token() -> bool:
    """Whether this process can find a Ray authentication token."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return True
    path = os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token"
    return pathlib.Path(path).expanduser().is_file()


def ray_token() -> str | None:
    """Return Ray's token if token authentication is on in this process, else None.

    It gives whoever has it the right to run code, so it never leaves this process: only values
    derived from it do. Reads Ray's own loader (private API) and falls back to the documented places.
    """
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return None
    try:
        from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

        loader: Any = AuthenticationTokenLoader.instance()
        return str(loader.get_raw_token()) if loader.has_token() else None
    except (ImportError, AttributeError):
        if token := os.environ.get("RAY_AUTH_TOKEN"):
            return token
        path = pathlib.Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
        return path.read_text().strip() if path.is_file() else None


def prepare() -> None:
    """Set what Ray's processes must inherit; what the user has set stays."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    _reload_settings()


def _reload_settings() -> None:
    """Make Ray read the environment again: it read it when it was imported, perhaps long ago.

    Private API; without it the settings hold only where this module was imported before `ray`.
    """
    try:
        from ray._raylet import Config  # type: ignore[attr-defined]

        Config.initialize("")
    except (ImportError, AttributeError):
        log.warning("this Ray cannot re-read its settings; import raycache before ray")


def missing_settings(environment: dict[str, str], niceness: int, loop_module: str) -> list[str]:
    """Return a sentence for each setting that a shard's process lacks.

    Args:
        environment: the shard's own environment, as it reported it.
        niceness: its scheduling priority; 0 is normal, 15 what Ray gives by default.
        loop_module: where its event loop comes from; "uvloop" unless that is not installed there.
    """
    lacking = [name for name in _CONSEQUENCES if name in SETTINGS and environment.get(name) is None]
    if niceness <= 0 and "RAY_worker_niceness" in lacking:
        lacking.remove("RAY_worker_niceness")
    found = [f"Ray was started without {name}={SETTINGS[name]}: {_CONSEQUENCES[name]}" for name in lacking]
    if environment.get("RAY_AUTH_MODE", "disabled") == "disabled":
        found.append("Ray runs without token authentication (RAY_AUTH_MODE): whoever reaches its ports runs code here")
    if not loop_module.startswith("uvloop"):
        found.append("uvloop is not installed where the shards run: expect a third of the throughput")
    return found


def running_address() -> str | None:
    """Return the address of the Ray that runs on this machine (or that RAY_ADDRESS names), or None.

    Ray leaves a note of its address behind when it is killed, and then waits 100 s for what is not there.
    So the address is tried first.

    Raises:
        RayCacheError: RAY_ADDRESS names a Ray that does not answer.
    """
    named = os.environ.get("RAY_ADDRESS")
    if named == "local":
        return None
    if named and "://" in named:
        return named
    found = _noted_address(named)
    if found and answers(found):
        return found
    if named and named != "auto":
        raise RayCacheError(f"no Ray answers at RAY_ADDRESS={named}; start one there, or unset RAY_ADDRESS")
    return None


def _noted_address(named: str | None) -> str | None:
    """Return the address that Ray itself would connect to. Private API; without it only RAY_ADDRESS is known."""
    try:
        from ray._private.services import canonicalize_bootstrap_address
    except ImportError:
        return named
    try:
        found = canonicalize_bootstrap_address(named or "auto")
    except (ConnectionError, ValueError):
        return None
    return str(found) if found else None


def answers(address: str) -> bool:
    """Return whether something accepts connections at `address`, "host:port"."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_TIMEOUT_S).close()
    except (OSError, ValueError):
        return False
    return True


def ensure_initialized(*, start: bool = True) -> None:
    """Connect this process to Ray: to the one it is connected to, to one that runs, or to a new local one.

    Raises:
        RayCacheError: `start` is false and no Ray runs.
    """
    if ray.is_initialized():
        return
    prepare()
    address = running_address()
    if address is not None:
        attach(address)
    elif start:
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    else:
        raise RayCacheError("no Ray runs here; start a cluster first with `raycache up NAME`, or set RAY_ADDRESS")


def attach(address: str, variables: Mapping[str, str] | None = None) -> None:
    """Connect this process to the Ray at `address`, with the authentication mode said explicitly.

    Raises:
        RayCacheError: it refuses this process, at once if it has another token.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token" if has_token() else "disabled")
    _reload_settings()
    if "://" not in address and (refusal := why_refused(address, ray_token())):
        raise RayCacheError(f"cannot use the Ray at {address}: {refusal}. Give its token, or name another Ray with "
                            "RAY_ADDRESS, or have one of your own with its files elsewhere (RAY_TMPDIR)")
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR,
                 runtime_env={"env_vars": dict(variables)} if variables else None)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RayCacheError(
            f"cannot reach the Ray at {address}: {reason} (is it yours, with the same token and RAY_AUTH_MODE? is it "
            "still running? RAY_ADDRESS names another)"
        ) from error


def ensure_ray_running(*, start: bool, variables: Mapping[str, str] | None = None) -> str:
    """Attach to a Ray that outlives this process, starting one with `ray start --head` if need be.

    Args:
        variables: what the processes of this process' actors get into their environment beside Ray's own.
    Returns:
        The address of the Ray.
    Raises:
        RayCacheError: none runs and `start` is false, or it did not start.
    """
    prepare()
    address = running_address()
    if address is None:
        if not start:
            raise RayCacheError("no Ray runs here; start a cluster first with `raycache up NAME`, or set RAY_ADDRESS")
        _start_head()
        address = running_address()
        if address is None:
            raise RayCacheError("Ray was started but cannot be found; try `ray status`")
    if not ray.is_initialized():
        attach(address, variables)
    return address


def _start_head() -> None:
    """Run `ray start --head` with the right environment; with token authentication, as `ray.init()` does."""
    if os.environ.get("RAY_ADDRESS") == "local":
        raise RayCacheError("RAY_ADDRESS=local asks for a Ray that ends with its program, and this one has to stay: "
                            "unset it, or set it to the address of the Ray to use")
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    binary = pathlib.Path(sys.executable).with_name("ray")
    if os.environ["RAY_AUTH_MODE"] == "token" and not has_token():
        _run([str(binary), "get-auth-token", "--generate"])
    _run([str(binary), "start", "--head", f"--port={_head_port()}", "--include-dashboard=false",
          "--disable-usage-stats"])


def _head_port(usual: int = RAYS_PORT) -> int:
    """Return Ray's usual port, which is Redis', too; 0, for any that is free, where a Redis or another Ray has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", usual))
        except OSError:
            return 0
    return usual


def _run(command: list[str]) -> None:
    # A session of its own: Ctrl-C here must not hit a Ray that is half started.
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, start_new_session=True)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no output"]
        raise RayCacheError(f"`{' '.join(command[1:3])}` failed: {lines[-1]}")
