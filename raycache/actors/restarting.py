"""New processes for a cluster's router and gateways, which hold nothing: Ray starts each again where it was.

What lives here: ending them and waiting until they are back; it blocks. What does not: shards, which hold everything
and are replaced by the router (`raycache.router.upgrading`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import ray

from raycache.actors import calls, launch
from raycache.actors.environment import answers
from raycache.errors import RayCacheError

_TIMEOUT_S: Final = 60.0
_CALL_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.05


def restart_router(name: str) -> None:
    """Have the router run in a new process, and its standby; return when it is in office. No read or write notices.

    Raises:
        ClusterNotFoundError: no such cluster runs.
        RayCacheError: it is not back within a minute.
    """
    old = launch.describe(name)["pid"]
    calls.restart(calls.find_router(name))

    def is_back() -> bool:
        described = launch.describe(name)
        return described["pid"] != old and bool(described["settled"])

    _wait_until(is_back, f"the router of {name}")
    with suppress(ValueError):  # there is none with one copy, or on one machine
        calls.restart(calls.find_standby(name))


def restart_gateways(name: str) -> int:
    """Have each gateway run in a new process, one after the other; return how many there are.

    Connections to a gateway break when its turn comes, and it takes new ones within a second or so.

    Raises:
        ClusterNotFoundError: no such cluster runs.
        RayCacheError: one is not back within a minute.
    """
    gateways = launch.topology(name).gateways
    for gateway in gateways:
        handle = calls.find_gateway(name, gateway.node_id)
        old = calls.ask_report(handle, _CALL_TIMEOUT_S)["pid"]
        calls.restart(handle)
        _wait_until(partial(_is_back, name, gateway.node_id, handle, old), f"the gateway on {gateway.host}")
    return len(gateways)


def _is_back(name: str, node_id: str, handle: calls.GatewayHandle, old: int) -> bool:
    """Say whether a gateway's new process takes connections, and the cluster knows where."""
    try:
        report: dict[str, Any] = calls.ask_report(handle, _CALL_TIMEOUT_S)
    except ray.exceptions.RayError:
        return False
    place = report["host"], report["port"]
    known = [(one.host, one.port) for one in launch.topology(name).gateways if one.node_id == node_id]
    return report["pid"] != old and known == [place] and answers(f"{place[0]}:{place[1]}")


def _wait_until(is_back: Callable[[], bool], who: str) -> None:
    deadline_s = time.monotonic() + _TIMEOUT_S
    while not is_back():
        if time.monotonic() > deadline_s:
            raise RayCacheError(f"{who} is not back after {_TIMEOUT_S:.0f} s; see the logs of Ray's workers")
        time.sleep(_POLL_S)
