"""How far is the sampled miss-ratio curve from the exact one?

The exact curve is that of LRU caches of all sizes, from the reuse distances of the whole trace. The sampled one is
made as a shard makes it, in a store with a tenth of the trace's keys, by entries and by bytes. Both are compared at a
hundred sizes, from a hundredth of the trace's keys (or bytes) to all of them: that is up to ten times the store's
memory. Which keys fall into the sample is chance, so each trace is sampled several times.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from benchmarks.harness.parts import Part
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step
from benchmarks.hits.amount import Amount
from benchmarks.hits.policies import Job, in_processes
from benchmarks.hits.traces import Point, Request, requests_of
from raycache.curves.shards import MOST_KEYS
from raycache.curves.tree import WeightTree
from raycache.store import Store, make_policy

SIZES: Final = 100
SAMPLINGS: Final = 3
PER_S: Final = 2_000
LARGEST: Final = 0.1
"""The capacity of the points that are sampled, as a part of the trace's keys."""
ERROR: Final = "miss-ratio curve, mean absolute error, the worst of all traces"
GOALS: Final = {ERROR: Goal("<=", 0.01)}


def exact(requests: list[Request], by_entries: bool, capacities: list[float]) -> list[float]:
    """Return the miss ratios of LRU caches: a key hits if what was looked up since, and itself, fit together."""
    tree, last = WeightTree(len(requests)), dict[bytes, int]()
    distances = np.full(len(requests), np.inf)
    for now, (key, size) in enumerate(requests, 1):
        weight = 1 if by_entries else size
        if (before := last.get(key)) is not None:
            distances[now - 1] = tree.after(before) + weight
            tree.add(before, -weight)
        tree.add(now, weight)
        last[key] = now
    distances.sort()
    hits = np.searchsorted(distances, capacities, "right")
    return (1 - hits / len(requests)).tolist()  # type: ignore[no-any-return]


def sampled(
    requests: list[Request], by_entries: bool, capacity: int, salt: bytes, capacities: list[float]
) -> list[float]:
    """Return the same from a store's sample. `salt` is put before keys, so that others are in the sample."""
    store = Store(
        capacity_bytes=1 << 60 if by_entries else capacity, max_entries=capacity if by_entries else None,
        policy=make_policy("lru"), segments=1024, weigh=None if by_entries else lambda key, size: int(size),
    )  # fmt: skip
    store.watch(MOST_KEYS)
    for number, (key, size) in enumerate(requests, 1):
        key = salt + key
        if store.get(key, 0) is None and size <= capacity:
            store.put(key, b"" if by_entries else size, 0, None, 0)
        if number % (PER_S // 100) == 0:
            _step(store, number * 1000 // PER_S)
    for wait_ms in range(100, 500, 100):  # what was looked up last has to settle
        _step(store, len(requests) * 1000 // PER_S + wait_ms)
    assert store.watcher is not None
    assert store.watcher.curve is not None
    return store.watcher.curve.miss_ratios(capacities)


def _step(store: Store, now_ms: int) -> None:
    while store.step(now_ms):
        pass


def errors(job: Job) -> list[float]:
    """Return the mean absolute error of each sampling of one trace."""
    point, seed = job
    requests, by_entries = requests_of(point.folder / point.file), point.unit == "entries"
    weights = dict(requests)
    total = len(weights) if by_entries else sum(weights.values())
    capacities = [total * size / SIZES for size in range(1, SIZES + 1)]
    true = np.array(exact(requests, by_entries, capacities))
    return [
        float(np.abs(np.array(sampled(requests, by_entries, point.capacity, b"%d:%d:" % (seed, number), capacities))
                     - true).mean())
        for number in range(SAMPLINGS)
    ]  # fmt: skip


def _points(amount: Amount) -> list[Point]:
    return [point for point in amount.reference().points if abs(point.fraction - LARGEST) < LARGEST / 10]


def run(amount: Amount, step: Step) -> Outcome:
    """Compare the curves of every trace."""
    points = _points(amount)
    jobs = [(point, amount.seed) for point in points]
    found = in_processes(jobs, errors, step, lambda job: str(job[0]))
    everything = [error for several in found for error in several]
    facts = {str(point): several for point, several in zip(points, found, strict=True)}
    return Outcome(
        "curve", [Figure(ERROR, GOALS[ERROR], max(everything), "", tuple(everything))],
        [Series(f"{point}, mean absolute error", "", several) for point, several in zip(points, found, strict=True)],
        {"errors": facts, "sampled_keys_at_most": MOST_KEYS},
    )  # fmt: skip


PART: Final = Part("curve", "the sampled miss-ratio curve against the exact one", lambda a: 10 if a.quick else 60,
                   lambda a: len(_points(a)), run, GOALS)
