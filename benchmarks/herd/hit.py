"""What does the decorator cost on a hit? A decorated function beside a bare `get` of the same key.

One process, one connection, one shard, in turns; each call timed. The function takes one int; its key is made of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

import numpy as np

from benchmarks.handle_get import time_calls
from benchmarks.harness.parts import Part
from benchmarks.harness.product import running_cluster, running_ray
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check, interleave
from benchmarks.harness.stats import median, paired_ratios, percentile
from benchmarks.herd.amount import Amount

KEYS: Final = 1_000
VALUE_BYTES: Final = 100
GOAL: Final = Goal("<=", 1.3)
FIGURE: Final = "decorated hit over a bare get, p50"


def run(amount: Amount, step: Step) -> Outcome:
    """Time both in turns."""
    outcome = Outcome("hit", facts={"keys": KEYS, "value_bytes": VALUE_BYTES, "busy_cores_before": idle_check()})
    step("starting one shard")
    rng = random.Random(amount.seed)
    with running_ray(), running_cluster(1, 128 << 20) as product, product.connect() as cache:

        @cache.cached(ttl=3600)
        def value(number: int) -> bytes:
            return rng.randbytes(VALUE_BYTES)

        for number in range(KEYS):
            if value(number) != value(number) or value(number) != cache.get(value.key(number)):
                raise AssertionError("a value does not read back")
        numbers = [rng.randrange(KEYS) for _ in range(amount.calls)]
        keys = [value.key(number) for number in numbers]
        sides: dict[str, Callable[[], list[float]]] = {
            "decorated function": lambda: time_calls(value, numbers),  # type: ignore[arg-type]
            "bare get": lambda: time_calls(cache.get, keys),
        }
        for measure in sides.values():
            measure()  # warm-up
        rounds = interleave(sides, amount.rounds, step)
        loads = value.cache_info().loads
    if loads != KEYS:
        raise AssertionError(f"{loads - KEYS} calls were no hits")
    ours, bare = ([percentile(samples, 50) for samples in side] for side in rounds.values())
    ratios = paired_ratios(ours, bare)
    outcome.figures.append(Figure(FIGURE, GOAL, median(ratios), "x", tuple(ratios)))
    for name, samples in rounds.items():
        outcome.series.append(Series(name, "us", np.concatenate(samples).tolist()))
    return outcome


PART: Final = Part("hit", "a decorated hit beside a bare get", lambda a: 20 if a.quick else 30,
                   lambda a: 1 + 2 * a.rounds, run, {FIGURE: GOAL})
