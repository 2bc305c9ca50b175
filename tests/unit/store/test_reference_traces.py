"""Recorded traces against the hit counts of independent implementations.

`reference.json` beside the traces says how a request is counted. LRU, FIFO, plain LFU, SIEVE and S3-FIFO are
deterministic, so they must agree to the request; Random must lie within six standard deviations; ARC and W-TinyLFU
differ between implementations, and have goals.
"""

from __future__ import annotations

import gc
import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from raycache.store import Store, StoreFullError, make_policy

TRACES = Path(__file__).resolve().parents[4] / "shared" / "traces"
EXACT = {"lru": "LRU", "fifo": "FIFO", "plain-lfu": "LFU"}
QUEUES = {"sieve": "SIEVE", "s3-fifo": "S3FIFO"}
ARC = "ARC (FAST 2003 pseudo-code)"
# The two longest traces take ten times as long as the others together.
QUICK_TRACES = ("web12", "multi3", "sprite")
# The segments share one order of eviction, so three traces show as much as five.
SEGMENTED_TRACES = ("web12", "multi3", "sprite")
UNLIMITED = 1 << 60

pytestmark = pytest.mark.skipif(not TRACES.is_dir(), reason=f"no traces in {TRACES}")


@cache
def reference() -> dict[str, Any]:
    path = TRACES / "reference.json"
    return json.loads(path.read_text())["traces"] if path.exists() else {}


@cache
def requests(trace: str) -> list[tuple[bytes, int]]:
    """Every request as (key, size), equal requests as one object; size 1 where the trace has none."""
    known: dict[str, tuple[bytes, int]] = {}
    loaded = []
    with gzip.open(TRACES / reference()[trace]["file"], "rt") as lines:
        for line in lines:
            request = known.get(line)
            if request is None:
                key, *size = line.split()
                request = known[line] = (key.encode(), int(*size or [1]))
            loaded.append(request)
    return loaded


def cases(section: str, traces: tuple[str, ...] = ()) -> list[Any]:
    return [
        pytest.param(trace, capacity, id=f"{trace}-{capacity}")
        for trace in traces or reference()
        for capacity in reference().get(trace, {}).get(section, ())
    ]


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.disable()  # as in a shard; it would only cost time
    yield
    gc.enable()


@cache
def hits_by_entries(trace: str, policy: str, capacity: str, segments: int = 1) -> int:
    store = Store(
        capacity_bytes=UNLIMITED, max_entries=int(capacity), policy=make_policy(policy, seed=1), segments=segments
    )
    get, put = store.get, store.put
    for key, _ in requests(trace):
        if get(key, 0) is None:
            put(key, b"", 0, None, 0)
    assert len(store) <= int(capacity)
    return store.stats.hits


def hits_by_bytes(trace: str, policy: str, capacity: str) -> dict[str, int]:
    store = Store(
        capacity_bytes=int(capacity), policy=make_policy(policy), segments=1, weigh=lambda key, size: int(size)
    )
    get, put = store.get, store.put
    byte_hits = 0
    for key, size in requests(trace):
        if get(key, 0) is not None:
            byte_hits += size
            continue
        with suppress(StoreFullError):  # larger than the whole store
            put(key, size, 0, None, 0)
    assert store.used_bytes <= int(capacity)
    return {"hits": store.stats.hits, "byte_hits": byte_hits}


@pytest.mark.parametrize("policy", EXACT)
@pytest.mark.parametrize(("trace", "capacity"), cases("entries"))
def test_hits_by_entries_agree_exactly(trace: str, capacity: str, policy: str) -> None:
    expected = reference()[trace]["entries"][capacity]["exact_hits"][EXACT[policy]]
    assert hits_by_entries(trace, policy, capacity) == expected


@pytest.mark.parametrize("policy", EXACT)
@pytest.mark.parametrize(("trace", "capacity"), cases("bytes"))
def test_hits_by_bytes_agree_exactly(trace: str, capacity: str, policy: str) -> None:
    assert hits_by_bytes(trace, policy, capacity) == reference()[trace]["bytes"][capacity]["exact"][EXACT[policy]]


def in_reference(section: str, exact: str, traces: tuple[str, ...]) -> list[Any]:
    return [
        pytest.param(trace, capacity, policy, id=f"{policy}-{trace}-{capacity}")
        for policy, name in QUEUES.items()
        for trace in traces
        for capacity, point in reference().get(trace, {}).get(section, {}).items()
        if name in point[exact]
    ]


@pytest.mark.parametrize(("trace", "capacity", "policy"), in_reference("entries", "exact_hits", QUICK_TRACES))
def test_queues_by_entries_agree_exactly(trace: str, capacity: str, policy: str) -> None:
    expected = reference()[trace]["entries"][capacity]["exact_hits"][QUEUES[policy]]
    assert hits_by_entries(trace, policy, capacity) == expected


@pytest.mark.parametrize(("trace", "capacity", "policy"), in_reference("bytes", "exact", ("twitter52",)))
def test_queues_by_bytes_agree_exactly(trace: str, capacity: str, policy: str) -> None:
    expected = reference()[trace]["bytes"][capacity]["exact"][QUEUES[policy]]
    assert hits_by_bytes(trace, policy, capacity) == expected


@pytest.mark.parametrize(("trace", "capacity"), cases("entries", QUICK_TRACES))
def test_arc_is_close_to_the_reference_and_never_far_below_lru(trace: str, capacity: str) -> None:
    point, requested = reference()[trace]["entries"][capacity], len(requests(trace))
    hits = hits_by_entries(trace, "arc", capacity)
    assert abs(hits - point["near_hits"][ARC]) <= 0.005 * requested
    assert hits >= point["exact_hits"]["LRU"] - 0.01 * requested


def test_tinylfu_has_three_points_fewer_misses_than_lru_on_average() -> None:
    gains = []
    for trace in QUICK_TRACES:  # with all five traces it is more
        for capacity, point in reference()[trace]["entries"].items():
            hits = hits_by_entries(trace, "w-tinylfu", capacity)
            gains.append((hits - point["exact_hits"]["LRU"]) / len(requests(trace)))
    assert sum(gains) / len(gains) >= 0.03


@pytest.mark.parametrize(("trace", "capacity"), cases("entries"))
def test_random_is_within_six_standard_deviations(trace: str, capacity: str) -> None:
    expected = reference()[trace]["entries"][capacity]["random_hits"]
    assert abs(hits_by_entries(trace, "random", capacity) - expected["mean"]) <= 6 * expected["sd"]


@pytest.mark.parametrize("policy", ["lru", "lfu", "plain-lfu", "fifo"])
@pytest.mark.parametrize(("trace", "capacity"), cases("entries", SEGMENTED_TRACES))
def test_segments_cost_less_than_half_a_point_of_hits(trace: str, capacity: str, policy: str) -> None:
    whole = hits_by_entries(trace, policy, capacity)
    segmented = hits_by_entries(trace, policy, capacity, segments=64)
    assert abs(segmented - whole) <= 0.005 * len(requests(trace))


def test_aging_helps_where_plain_lfu_never_forgets() -> None:
    assert hits_by_entries("sprite", "lfu", "708") > 1.5 * hits_by_entries("sprite", "plain-lfu", "708")
