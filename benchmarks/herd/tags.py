"""How long does it take to invalidate everything with one tag: of a thousand entries, and of a million?

Entries of some ten bytes are loaded with the tag, a thousand at a time, on two shards. Then the tag is invalidated
again and again, each call timed. After the first one a sample of the entries must be misses, after a new load hits.
"""

from __future__ import annotations

from typing import Final

import raycache
from benchmarks.handle_get import time_calls
from benchmarks.harness.parts import Part
from benchmarks.harness.product import running_cluster, running_ray
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check
from benchmarks.harness.stats import percentile
from benchmarks.herd.amount import Amount

BATCH: Final = 1_000
SMALL: Final = 1_000
GOAL: Final = Goal("<", 5.0)
MEMORY_BYTES: Final = 1 << 30


def figure_of(entries: int) -> str:
    """Return the figure's name."""
    return f"invalidating {entries:,} entries by their tag, p99"


def run(amount: Amount, step: Step) -> Outcome:
    """Fill, invalidate, check; small first."""
    outcome = Outcome("tags", facts={"entries": [SMALL, amount.entries], "busy_cores_before": idle_check()})
    step("starting two shards")
    with running_ray(), running_cluster(2, MEMORY_BYTES) as product, product.connect() as cache:
        for entries in (SMALL, amount.entries):
            step(f"loading {entries:,} entries with one tag")
            tag = f"all:{entries}"
            _load(cache, tag, range(entries))
            held = cache.stats().entries
            if held < entries:
                raise AssertionError(f"only {held:,} entries are in the cluster")
            step(f"invalidating them {amount.invalidations} times")
            spent_ms = [us / 1000 for us in time_calls(cache.invalidate_tags, [tag] * amount.invalidations)]
            _check(cache, tag, entries)
            outcome.figures.append(Figure(figure_of(entries), GOAL, percentile(spent_ms, 99), "ms", tuple(spent_ms)))
            outcome.series.append(Series(f"invalidate_tags of {entries:,} entries", "ms", spent_ms))
    return outcome


def _load(cache: raycache.Cache, tag: str, numbers: range) -> None:
    for start in range(0, len(numbers), BATCH):
        keys = [f"{tag}:{number}" for number in numbers[start : start + BATCH]]
        cache.get_or_load_many(keys, lambda missing: dict.fromkeys(missing, 7), tags=(tag,))


def _check(cache: raycache.Cache, tag: str, entries: int) -> None:
    sample = range(0, entries, max(1, entries // 100))
    keys = [f"{tag}:{number}" for number in sample]
    if found := cache.get_many(keys):
        raise AssertionError(f"{len(found)} of {len(keys)} entries are there although their tag was invalidated")
    cache.get_or_load_many(keys, lambda missing: dict.fromkeys(missing, 8), tags=(tag,))
    if set(cache.get_many(keys).values()) != {8}:
        raise AssertionError("what was loaded after the invalidation is not there")


def _goals() -> dict[str, Goal]:
    return {figure_of(entries): GOAL for entries in (SMALL, Amount().entries)}


PART: Final = Part("tags", "invalidating a million entries by their tag", lambda a: 20 if a.quick else 90,
                   lambda a: 5, run, _goals())
