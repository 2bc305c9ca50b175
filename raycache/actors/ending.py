"""Ending Ray itself on all machines of its cluster.

What lives here: what `ray down` leaves undone where the machines are one's own. It runs `ray stop` on the head alone;
the others only notice that the head is gone, and with our settings wait ten minutes for it to come back. What does not:
ending a cache (`launch`).
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time
from typing import Final

import ray

from raycache.actors import calls
from raycache.actors.environment import ensure_initialized
from raycache.errors import RayCacheError

_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.2


def stop_ray() -> int:
    """Run `ray stop` on every other machine of this process' Ray, and then here; return how many machines that were.

    Raises:
        RayCacheError: none runs, or a machine did not leave within a minute.
    """
    ensure_initialized(start=False)
    here = calls.node_address()
    others = {node["NodeID"]: node["NodeManagerAddress"] for node in calls.nodes()
              if node["Alive"] and node["NodeManagerAddress"] != here}
    calls.run_on_nodes(list(others), _stop_soon, _TIMEOUT_S)
    deadline_s = time.monotonic() + _TIMEOUT_S
    while left := sorted({others[node["NodeID"]] for node in calls.nodes() if node["Alive"]
                          and node["NodeID"] in others}):
        if time.monotonic() > deadline_s:
            where = ", ".join(left)
            raise RayCacheError(f"Ray still runs on {where} after {_TIMEOUT_S:.0f} s; `ray stop` there ends it")
        time.sleep(_POLL_S)
    ray.shutdown()
    subprocess.run(_command(), check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return len(set(others.values())) + 1


def _command() -> list[str]:
    return [str(pathlib.Path(sys.executable).with_name("ray")), "stop"]


def _stop_soon() -> None:
    """End Ray on the machine that this runs on, by a process that is nobody's child: Ray ends its own ones first."""
    words = " ".join(_command())
    subprocess.run(["sh", "-c", f"(sleep 0.5; exec {words}) </dev/null >/dev/null 2>&1 &"], check=True,
                   start_new_session=True)
