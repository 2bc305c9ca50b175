"""GET of one kilobyte, beside an endpoint that returns a constant and beside webdis; and a batch of 1,000 keys.

One Serve replica, loaded by wrk on the same machine: with 16 connections for throughput, with one for latency. What the
door is held to is the endpoint whose replica logs as little as the door's; the one with Serve's defaults is slower.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import raycache
from benchmarks.harness.parts import Part
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check, interleave
from benchmarks.harness.stats import median, paired_ratios
from benchmarks.http import sides, wrk
from benchmarks.http.amount import Amount

CONNECTIONS: Final = 16
BATCH_KEYS: Final = 1_000
OVER_BARE: Final = "GET of 1 KB, requests/s over a bare endpoint's"
BATCH: Final = "batch of 1,000 keys"
GOALS: Final = {OVER_BARE: Goal(">=", 0.85), BATCH: Goal(">=", 50_000)}
_MEASURES: Final = (("requests", "1/s"), ("p50", "ms"), ("p99", "ms"))


def run(amount: Amount, step: Step) -> Outcome:
    """Load all sides in turns."""
    outcome = Outcome("get", facts={"connections": CONNECTIONS, "value_bytes": len(sides.VALUE), "serve_replicas": 1,
                                    "batch_keys": BATCH_KEYS, "busy_cores_before": idle_check()})
    step("starting Ray, Serve and one shard")
    with sides.running_doors(1) as (cluster, door, bare, default), sides.webdis() as webdis_url, \
            tempfile.TemporaryDirectory(prefix="bench-http-") as folder:
        url = f"{door}/v1/{cluster}/keys/{sides.KEY}"
        sides.put(url, sides.VALUE)
        if not sides.get(url) == sides.get(bare) == sides.get(default) == sides.VALUE:
            raise AssertionError("a value does not read back")
        keys = [f"key:{number}" for number in range(BATCH_KEYS)]
        with raycache.connect(cluster) as cache:
            cache.set_many(dict.fromkeys(keys, b"v" * 100))
        body = Path(folder) / "batch.json"
        body.write_text(json.dumps({"get": keys}))
        loads: dict[str, Callable[[int], wrk.Report]] = {
            "our door": lambda connections: wrk.load(url, connections, amount.round_s),
            "bare endpoint": lambda connections: wrk.load(bare, connections, amount.round_s),
            "bare endpoint, Serve's defaults": lambda connections: wrk.load(default, connections, amount.round_s),
        }
        if webdis_url is None:
            outcome.facts["webdis"] = "not installed (Debian: apt-get install webdis): not compared"
        else:
            loads["webdis on Redis"] = lambda connections: wrk.load(webdis_url, connections, amount.round_s)
        for warm_up in loads.values():
            warm_up(CONNECTIONS)
        busy = interleave({name: _rounds_of(load, CONNECTIONS) for name, load in loads.items()}, amount.rounds, step)
        alone = interleave({name: _rounds_of(load, 1) for name, load in loads.items()}, amount.rounds, step)
        batches = interleave({"batch": lambda: [
            BATCH_KEYS * wrk.load(f"{door}/v1/{cluster}/batch", 4, amount.round_s, body).requests_per_s]},
            amount.rounds, step)["batch"]
    ratios = _over(busy, "bare endpoint")
    over_default = _over(busy, "bare endpoint, Serve's defaults")
    per_s = [each[0] for each in batches]
    outcome.figures.append(Figure(OVER_BARE, GOALS[OVER_BARE], median(ratios), "x", tuple(ratios)))
    outcome.series.append(Series("GET of 1 KB, requests/s over a bare endpoint's with Serve's defaults", "x",
                                 list(over_default)))
    outcome.figures.append(Figure(BATCH, GOALS[BATCH], median(per_s), "keys/s", tuple(per_s)))
    for label, measured in ((f"{CONNECTIONS} connections", busy), ("1 connection", alone)):
        for name, rounds in measured.items():
            for place, (what, unit) in enumerate(_MEASURES):
                outcome.series.append(Series(f"{name}, {label}, {what}", unit, [each[place] for each in rounds]))
    return outcome


def _over(rounds: Mapping[str, list[list[float]]], name: str) -> list[float]:
    return paired_ratios(*([each[0] for each in rounds[side]] for side in ("our door", name)))


def _rounds_of(load: Callable[[int], wrk.Report], connections: int) -> Callable[[], list[float]]:
    return lambda: list(load(connections))


PART: Final = Part("get", "GET of 1 KB beside a bare endpoint and webdis; a batch of 1,000 keys",
                   lambda a: 45 + 9 * a.rounds * a.round_s, lambda a: 1 + 9 * a.rounds, run, GOALS)
