"""A small run that nobody measured: every kind of record, with numbers that are easy to follow."""

from __future__ import annotations

from typing import Any

from benchmarks.suite.names import OPTIMUM, RAYCACHE, REDIS, TOOL_PREFIX
from benchmarks.suite.points import BASE, Point
from benchmarks.suite.samples import PAUSE_EDGES_MS, PERCENTS

MACHINE = {"cpu": "Made-up CPU", "cores": 2, "memory": "8 kB", "kernel": "6", "python": "3.11", "commit": "abc",
           "versions": {"raycache": "0.1.0", "memcached": "1.6"}, "uncommitted_changes": False, "busy_cores": 0.1,
           "load_average": [0.0, 0.0, 0.0]}  # fmt: skip


def measured(side: str, point: Point, dimension: str = "base", *, rps: float = 1_000.0, **more: Any) -> dict[str, Any]:
    """Return a record of three rounds around `rps`; percentile p is 100 + p microseconds."""
    latency = {f"p{percent:g}": 100.0 + percent for percent in PERCENTS}
    value = None if dimension == "base" else getattr(point, dimension)
    return {"dimension": dimension, "value": value, "side": side, "point": point.as_json(), "rps": rps,
            "rps_rounds": [0.9 * rps, rps, 1.2 * rps], "latency_us": latency, "requests": 1_000, "wrong": 0,
            "failed": 0, "unserved": 0} | more  # fmt: skip


def tool(side: str, point: Point, dimension: str = "base", *, rps: float = 5_000.0) -> dict[str, Any]:
    """Return a record of redis-benchmark."""
    value = None if dimension == "base" else getattr(point, dimension)
    numbers = {"rps": rps, "rps_rounds": [rps], "p50_us_rounds": [10.0], "p99_us_rounds": [20.0]}
    return {"dimension": dimension, "value": value, "side": TOOL_PREFIX + side, "point": point.as_json()} | numbers | {
        f"set_{name}": number for name, number in numbers.items()}


def pause(side: str, longest_ms: float) -> dict[str, Any]:
    """Return a probe's record: of 1,000, ten waited 2 to 5 ms, and one longer than 100."""
    counts = [0] * len(PAUSE_EDGES_MS)
    counts[0], counts[PAUSE_EDGES_MS.index(2.0)], counts[-1] = 989, 10, 1
    return measured(side, BASE, dimension="base") | {
        "dimension": "pauses", "edges_ms": list(PAUSE_EDGES_MS), "counts": counts, "writes": {"rps": 3_999.0},
        "latency_us": {"p100": 1_000 * longest_ms}}


def memory(side: str, value: str, resident: float, said: float | None) -> dict[str, Any]:
    """Return what an entry costs."""
    return {"dimension": "memory", "value": value, "side": side, "resident_overhead_bytes": resident,
            "said_overhead_bytes": said}


def hit(policy: str, share: float, ratio: float) -> dict[str, Any]:
    """Return a hit ratio on the synthetic trace."""
    return {"dimension": "hits", "trace": "zipf", "side": policy, "value": share, "entries": 10, "hit_ratio": ratio}


def question(name: str, records: list[dict[str, Any]], **facts: Any) -> dict[str, Any]:
    """Return a question with nothing but records."""
    return {"name": name, "facts": {"busy_cores_before": 0.1} | facts, "figures": [], "series": [], "records": records}


def raw() -> dict[str, Any]:
    """Return the raw file."""
    one, two = Point(connections=1), Point(shards=2)
    slow = {"service_us": {"p99": 1_500.0}, "sustained": True}
    lost = {"service_us": {"p99": 2_500.0}, "sustained": False, "unserved": 7}
    side_by_side = [
        measured(RAYCACHE, BASE, rps=2_000.0), measured(REDIS, BASE), tool(RAYCACHE, BASE), tool(REDIS, BASE),
        measured(RAYCACHE, one, "connections"), measured(REDIS, one, "connections", wrong=3),
        tool(REDIS, one, "connections"),
        measured(RAYCACHE, Point(keys="zipf"), "keys", rps=2_100.0),
        measured(REDIS, Point(read_percent=50), "read_percent"),
        measured(RAYCACHE, Point(value_bytes=1024 * 1024), "value_bytes", rps=50.0),
        measured(RAYCACHE, Point(entries=1_000), "entries"),
        measured(RAYCACHE, Point(rate=500), "rate", rps=500.0, **slow),
        measured(REDIS, Point(rate=500), "rate", rps=500.0, **slow),
        measured(REDIS, Point(rate=1_000), "rate", rps=700.0, **lost),
        {"dimension": "entries", "value": 4_000_000, "side": "all", "point": Point(entries=4_000_000).as_json(),
         "left_out": "not enough free memory"},
    ]  # fmt: skip
    scaling = [measured(RAYCACHE, BASE), measured(RAYCACHE, two, "shards", rps=1_500.0), tool(RAYCACHE, two, "shards"),
               measured(RAYCACHE, Point(shards=3, copies=2), "copies", rps=800.0)]
    figure = {"figure": "a goal", "goal": "<= 0.85", "value": 0.8, "unit": "x", "met": True, "rounds": [0.7, 0.8, 0.9]}
    unmeasured = {"figure": "another", "goal": "<= 5", "value": None, "unit": "ms", "met": False, "rounds": []}
    return {
        "machine": dict(MACHINE), "plan": {"rounds": 7, "quick": False, "seed": 1},
        "questions": [
            question("handle_get", []) | {"figures": [figure, unmeasured]},
            question("side_by_side", side_by_side), question("scaling", scaling),
            question("pauses", [pause(RAYCACHE, 120.0), pause(REDIS, 130.0)], writes_per_s=4_000, probes_per_s=1_000),
            question("memory", [memory(RAYCACHE, "plain", 180.2, 150.0), memory(REDIS, "ttl", 90.4, None)],
                     entries=1_000_000, key_bytes=16, value_bytes=100),
            question("hits", [hit(OPTIMUM, 0.1, 0.8), hit("lru", 0.1, 0.5), hit("lfu", 0.1, 0.6), hit("lru", 0.5, 0.7)],
                     zipf={"requests": 100_000, "distinct": 9_000}),
        ],
    }  # fmt: skip
