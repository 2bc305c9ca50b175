"""What does an entry cost beyond its key and value? 16-byte keys, 100-byte values, with and without a lifetime.

Each side starts anew and is filled through its own client. The figure is how much its processes' resident memory grew,
as Linux says it, over the entries; beside it what the server itself says that they take. Nobody evicts.
"""

from __future__ import annotations

from typing import Any, Final

import msgpack
import redis

from benchmarks.harness.machine import resident_bytes
from benchmarks.harness.report import Outcome
from benchmarks.harness.rounds import Plan, Step, idle_check
from benchmarks.harness.servers import HOST, info
from benchmarks.suite.crew import Crew
from benchmarks.suite.names import ACTOR, MEMCACHED, RAYCACHE, REDIS
from benchmarks.suite.schedule import key_name
from benchmarks.suite.sides import Side, Wish, running

NAME = "memory"
ENTRIES: Final = 1_000_000
VALUE_BYTES: Final = 100
KEY_BYTES: Final = len(key_name(0))
WARM_UP: Final = 2_000
"""Written before, so that connections and first-time paths are no part of the growth."""
TTL_S: Final = 86_400
CASES: Final = ((RAYCACHE, 0), (RAYCACHE, TTL_S), (REDIS, 0), (REDIS, TTL_S), (MEMCACHED, 0), (ACTOR, 0))
"""memcached keeps a lifetime beside every entry anyway, and an actor with a dict has none."""


def steps(plan: Plan) -> int:
    """Return how many steps `run` reports."""
    return len(_cases(plan))


def run(plan: Plan, step: Step) -> Outcome:
    """Fill one side after the other."""
    entries = plan.size(ENTRIES)
    outcome = Outcome(NAME, facts={"busy_cores_before": idle_check(), "entries": entries, "key_bytes": KEY_BYTES,
                                   "value_bytes": VALUE_BYTES})
    with Crew() as crew:
        for name, ttl_s in _cases(plan):
            step(f"filling {name}{' with lifetimes' if ttl_s else ''}")
            with running((name,), Wish()) as sides:
                for side in sides:
                    outcome.records.append(_measured(crew, side, entries, ttl_s))
    return outcome


def _cases(plan: Plan) -> list[tuple[str, int]]:
    """Return what is filled; a quick run does without lifetimes."""
    return [(name, ttl_s) for name, ttl_s in CASES if not (plan.quick and ttl_s)]


def _measured(crew: Crew, side: Side, entries: int, ttl_s: int) -> dict[str, Any]:
    crew.open(side.name, side.target)
    crew.fill(side.name, WARM_UP, VALUE_BYTES, ttl_s=ttl_s)
    resident, said = _resident(side), _said(side)
    crew.fill(side.name, entries, VALUE_BYTES, first=WARM_UP, ttl_s=ttl_s)
    grown, grown_said = _resident(side) - resident, _said(side) - said
    return {"dimension": "memory", "value": "ttl" if ttl_s else "plain", "side": side.name} | overheads(
        grown, grown_said if grown_said else None, entries)


def overheads(grown_bytes: int, said_bytes: int | None, entries: int) -> dict[str, float | None]:
    """Return bytes an entry beyond key and value: as resident memory grew, and as the server itself says."""
    content = KEY_BYTES + VALUE_BYTES
    said = None if said_bytes is None else round(said_bytes / entries - content, 1)
    return {"resident_overhead_bytes": round(grown_bytes / entries - content, 1), "said_overhead_bytes": said}


def _resident(side: Side) -> int:
    return sum(resident_bytes(pid) for pid in side.pids)


def _said(side: Side) -> int:
    """Return what the server says that it uses for entries; 0 where nobody says."""
    port = side.ports[0] if side.ports else 0
    if side.name == RAYCACHE:
        with redis.Redis(host=HOST, port=port) as client:
            return int(msgpack.unpackb(client.execute_command("RC.STATS"), strict_map_key=False)["used_bytes"])
    if side.name == REDIS:
        return int(info(port)["used_memory"])
    if side.name == MEMCACHED:
        from pymemcache.client.base import Client

        client = Client((HOST, port))
        try:
            return int(client.stats()[b"bytes"])
        finally:
            client.close()
    return 0
