"""How many hits does a memory earn? Each policy of raycache on access traces, beside the offline optimum.

The product's own store is asked, in this process: what a policy keeps does not depend on sockets. Recorded traces are
read from the folder that RAYCACHE_TRACES names, or `../shared/traces` beside the clone; without them there is a
synthetic one only, drawn by Zipf's law. A recorded trace says more: real popularity moves.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.harness.machine import ROOT
from benchmarks.harness.report import Outcome
from benchmarks.harness.rounds import Plan, Step, idle_check
from benchmarks.suite.names import OPTIMUM
from benchmarks.suite.optimum import optimal_hits
from benchmarks.suite.schedule import draw
from raycache.store import Store, make_policy
from raycache.store.policies import policy_names

NAME = "hits"
FOLDER: Final = Path(os.environ.get("RAYCACHE_TRACES", ROOT.parent / "shared" / "traces"))
TRACES: Final = ("multi3", "web12", "sprite")
"""Loops and scans; skewed and drifting; friendly to recency. The larger ones would take minutes."""
QUICK_TRACES: Final = ("multi3",)
SYNTHETIC: Final = "zipf"
SYNTHETIC_KEYS: Final = 10_000
SYNTHETIC_REQUESTS: Final = 100_000
SHARES: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Sizes, as parts of the distinct keys."""
QUICK_SHARES: Final = (0.01, 0.1)
NOT_FOR_THIS: Final = frozenset({"ttl", "noeviction"})
"""One looks at lifetimes, which no trace has, the other keeps whoever came first."""
NOW_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Trace:
    """Keys in the order they were asked for."""

    name: str
    keys: Sequence[int]

    @property
    def distinct(self) -> int:
        """How many keys there are."""
        return len(set(self.keys))

    def size(self, share: float) -> int:
        """Return how many entries a part of the distinct keys is."""
        return max(1, round(share * self.distinct))


def steps(plan: Plan) -> int:
    """Return how many steps `run` reports."""
    return len(_names(plan)) * (1 + len(_policies()))


def run(plan: Plan, step: Step) -> Outcome:
    """Replay every trace on every policy at every size."""
    shares = QUICK_SHARES if plan.quick else SHARES
    outcome = Outcome(NAME, facts={"busy_cores_before": idle_check(), "shares": list(shares)})
    for name in _names(plan):
        trace = _load(name, plan)
        outcome.facts[name] = {"requests": len(trace.keys), "distinct": trace.distinct}
        for policy in (OPTIMUM, *_policies()):
            step(f"{name} on {policy}")
            outcome.records += [_record(trace, policy, share) for share in shares]
    return outcome


def replay(keys: Sequence[int], policy: str, entries: int) -> int:
    """Return the hits of a store of `entries` entries: each key is looked up, and stored if it was missed."""
    store = Store(capacity_bytes=1 << 40, policy=make_policy(policy, seed=1), max_entries=entries, segments=1)
    get, put = store.get, store.put
    for number in keys:
        key = b"%d" % number
        if get(key, NOW_MS) is None:
            put(key, b"", 0, None, NOW_MS)
    return store.stats.hits


def _record(trace: Trace, policy: str, share: float) -> dict[str, Any]:
    entries = trace.size(share)
    hits = optimal_hits(trace.keys, entries) if policy == OPTIMUM else replay(trace.keys, policy, entries)
    return {"dimension": "hits", "trace": trace.name, "side": policy, "value": share, "entries": entries,
            "hit_ratio": hits / len(trace.keys)}


def _policies() -> list[str]:
    return [name for name in policy_names() if name not in NOT_FOR_THIS]


def _names(plan: Plan) -> list[str]:
    wanted = QUICK_TRACES if plan.quick else TRACES
    return [SYNTHETIC, *(name for name in wanted if (FOLDER / f"{name}.txt.gz").exists())]


def _load(name: str, plan: Plan) -> Trace:
    if name == SYNTHETIC:
        return Trace(name, draw("zipf", SYNTHETIC_KEYS, plan.size(SYNTHETIC_REQUESTS), plan.seed).tolist())
    with gzip.open(FOLDER / f"{name}.txt.gz", "rt") as lines:
        return Trace(name, [int(line.split()[0]) for line in lines])
