"""One blow under load: what it broke, for how long, and whether everything is there afterwards.

What lives here: the course of a round, the same for every kind of blow, and what it found. What does not: the blows
(`kills`, `machines`, `control_plane`) and the load (`benchmarks.traffic`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import redis

from benchmarks.failover.amount import RATE
from benchmarks.harness.report import Series
from benchmarks.harness.servers import ServerFailedError
from benchmarks.harness.sites import Cluster
from benchmarks.harness.watch import Watcher, connect, has_given_up, is_whole, statistics
from benchmarks.traffic import findings
from benchmarks.traffic.crew import Crew, Harvest, Start, Verdict, start_here
from benchmarks.traffic.findings import Counts
from benchmarks.traffic.plan import Load
from benchmarks.traffic.records import Records
from raycache.ring.topology import ShardInfo

SETTLE_S: Final = 2.0
"""Load before the blow, so that connections are open and everything is warm."""
WINDOW_S: Final = 1.0
"""How long before the blow the loss window is looked at: it changes with every turn of the shard's loop."""
WINDOW_POLL_S: Final = 0.01
LEAD_S: Final = 0.2
"""From where before the blow gaps count: a write in flight at the blow belongs to it."""
AFTERWARDS_S: Final = 1.0
MOST_FAILED_BEFORE: Final = 0.01
NOTICE_TIMEOUT_S: Final = 30.0
WHOLE_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Strike:
    """What one blow did."""

    blocked_s: float
    """The longest time without an acknowledged write to the slots that the lost shard was primary of."""
    noticed_s: float
    """From the blow until a living shard held a topology without the lost primary."""
    whole_s: float
    """From the blow until every slot had all its copies again, primaries spread evenly."""
    counts: Counts
    verdict: Verdict
    window_shown: int
    """The most writes that the lost shard showed as acknowledged and not replicated, in the second before."""
    errors: dict[str, int] = field(default_factory=dict)
    shed: int = 0


def crew_for(cluster: Cluster, seed: int, *, size: int = 2, start: Start = start_here, **changes: Any) -> Crew:
    """Return `size` generators for the usual mixed load on `cluster`, or one with `changes`."""
    usual: dict[str, Any] = {"addresses": cluster.addresses, "prefix": "key", "rate": RATE, "seed": seed}
    load = Load("raycache", cluster=cluster.name, secret=cluster.secret, **{**usual, **changes})
    return Crew(load, size, start)


def strike(cluster: Cluster, crew: Crew, watcher: Watcher, victim: ShardInfo, blow: Callable[[], None], *,
           away_s: float = 0.0, bring_back: Callable[[], None] | None = None) -> Strike:
    """Load the cluster, strike, wait until it is whole again, and count what was lost.

    Args:
        victim: the shard that the blow hits.
        away_s: how long after the blow `bring_back` is called.
    Raises:
        ServerFailedError: operations failed before the blow already, the loss was not noticed, or the cluster is not
            whole after two minutes.
    """
    shards = len(watcher.topology().shards)
    crew.go()
    time.sleep(SETTLE_S)
    slots = watcher.topology().slots_of(victim.id).astype(np.int64)
    window = shown_window(cluster, victim)
    struck_s = time.monotonic()
    blow()
    noticed = watcher.wait_for(f"the loss of {victim.id} to be noticed", partial(has_given_up, shard=victim),
                               NOTICE_TIMEOUT_S, since_s=struck_s)
    if bring_back is not None:
        time.sleep(max(0.0, struck_s + away_s - time.monotonic()))
        bring_back()
    whole = watcher.wait_for(f"a whole cluster after the loss of {victim.id}", partial(is_whole, shards=shards),
                             WHOLE_TIMEOUT_S, since_s=max(noticed.seen_s, struck_s + away_s))
    time.sleep(AFTERWARDS_S)
    ended_s = time.monotonic()
    harvest, verdict = settle(crew)
    check_load(harvest.records, struck_s)
    blocked_s = findings.longest_gap_s(harvest.records, slots, struck_s - LEAD_S, ended_s)
    return Strike(blocked_s, noticed.seen_s - struck_s, whole.seen_s - struck_s, findings.count(harvest.records),
                  verdict, window, harvest.errors, harvest.shed)


def settle(crew: Crew) -> tuple[Harvest, Verdict]:
    """End the load; return what was recorded, and what reading every key showed."""
    crew.calm()
    return crew.harvest(), crew.verify()


def check_load(records: Records, struck_s: float) -> None:
    """Make sure that the load worked before the blow: where nothing is written, nothing can be lost.

    Raises:
        ServerFailedError: it did not.
    """
    before = findings.count(records.where(records.ended_s < struck_s))
    if before.failed > before.writes * MOST_FAILED_BEFORE or not before.writes:
        raise ServerFailedError(f"{before.failed} of {before.reads + before.writes} operations failed before the blow")


def shown_window(cluster: Cluster, shard: ShardInfo) -> int:
    """Return the largest loss window that `shard` shows within a second, in writes."""
    client = connect(shard.host, shard.port, cluster.secret)
    most, end_s = 0, time.monotonic() + WINDOW_S
    with contextlib.suppress(redis.RedisError):
        while time.monotonic() < end_s:
            most = max(most, int(statistics(client)["replication"]["loss_window"]["mutations"]))
            time.sleep(WINDOW_POLL_S)
    client.close()
    return most


def series_of(strikes: Sequence[Strike], side: str = "raycache") -> list[Series]:
    """Return everything that was measured, one sample a blow."""
    columns: dict[str, tuple[str, Callable[[Strike], float]]] = {
        "writes blocked": ("ms", lambda s: s.blocked_s * 1000), "loss noticed": ("ms", lambda s: s.noticed_s * 1000),
        "whole again": ("s", lambda s: s.whole_s), "failed reads": ("reads", lambda s: s.counts.failed_reads),
        "failed writes": ("writes", lambda s: s.counts.failed_writes),
        "reads older than acknowledged": ("reads", lambda s: s.counts.older_reads),
        "reads of nothing": ("reads", lambda s: s.counts.missing_reads),
        "acknowledged writes lost": ("writes", lambda s: s.verdict.lost_writes),
        "loss window shown before": ("writes", lambda s: s.window_shown),
        "operations": ("operations", lambda s: s.counts.reads + s.counts.writes),
    }
    return [Series(f"{name}, {side}", unit, [float(value(s)) for s in strikes])
            for name, (unit, value) in columns.items()]


def errors_of(strikes: Sequence[Strike]) -> dict[str, int]:
    """Return what failed operations said in all strikes together, with how often."""
    found: dict[str, int] = {}
    for struck in strikes:
        for text, number in struck.errors.items():
            found[text] = found.get(text, 0) + number
    return found
