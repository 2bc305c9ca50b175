"""How long does one `get` through the handle take, beside a bare echo of the same bytes?

What lives here: the part `handle`. Closed loop, one process, one connection each, 100-byte values over 10,000 keys,
loopback TCP, each call timed on its own. The echo's frames and replies are as long as those of the handle.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

import numpy as np

from benchmarks.fast import echo
from benchmarks.fast.amount import Amount
from benchmarks.handle_get import time_calls, warm_up
from benchmarks.harness.parts import Part
from benchmarks.harness.product import running_cluster, running_ray
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check, interleave
from benchmarks.harness.stats import median, paired_ratios, percentile
from raycache.client import frames

MEMORY_BYTES: Final = 256 * 1024 * 1024
KEYS: Final = 10_000
VALUE_BYTES: Final = 100
CALLS: Final = 20_000
GOAL: Final = Goal("<=", 1.35)
FIGURE: Final = "handle get of 100 bytes, p50 over a bare echo of the same bytes"


def run(amount: Amount, step: Step) -> Outcome:
    """Time both in turns."""
    outcome = Outcome("handle", facts={"keys": KEYS, "value_bytes": VALUE_BYTES, "busy_cores_before": idle_check()})
    step("starting one shard and an echo")
    rng = random.Random(amount.seed)
    values = {f"key:{number:012d}": rng.randbytes(VALUE_BYTES) for number in range(KEYS)}
    keys = [f"key:{rng.randrange(KEYS):012d}" for _ in range(amount.size(CALLS))]
    request = frames.get(keys[0].encode())
    reply_bytes = len(b"$%d\r\n" % (VALUE_BYTES + 1)) + VALUE_BYTES + 1 + 2
    with (
        running_ray(), running_cluster(1, MEMORY_BYTES) as product, product.connect() as cache,
        echo.connection(reply_bytes) as bare,
    ):
        cache.set_many(values)
        warm_up(cache.get, values)

        def bare_call(key: str) -> bytes:
            bare.send(request)
            return bare.recv(echo.BUFFER_BYTES)

        if len(bare_call(keys[0])) != reply_bytes:
            raise AssertionError("the echo answers something else")
        sides: dict[str, Callable[[], list[float]]] = {
            "handle": lambda: time_calls(cache.get, keys), "bare echo": lambda: time_calls(bare_call, keys)}
        for measure in sides.values():
            measure()
        rounds = interleave(sides, amount.rounds, step)
    ours, limit = ([percentile(samples, 50) for samples in side] for side in rounds.values())
    ratios = paired_ratios(ours, limit)
    outcome.figures.append(Figure(FIGURE, GOAL, median(ratios), "x", tuple(ratios)))
    for name, samples in rounds.items():
        outcome.series.append(Series(name, "us", np.concatenate(samples).tolist()))
    outcome.facts["clock_us"] = clock_us()
    return outcome


def clock_us() -> float:
    """Return what timing a call costs, which is part of both sides."""
    began_s = time.perf_counter()
    for _ in range(10_000):
        time.perf_counter_ns()
    return (time.perf_counter() - began_s) * 200  # two looks a call


PART: Final = Part("handle", "a get through the handle beside a bare echo", lambda a: 15 if a.quick else 35,
                   lambda a: 1 + 2 * a.rounds, run, {FIGURE: GOAL})
