"""A primary's process killed with SIGKILL, ten times over, in each mode; and the same done to a Redis Cluster.

What lives here: the parts `kill`, `acks` and `quorum`. Each kill comes after the cluster is whole again; the shards
take turns. Redis Cluster is loaded less, because an open loop of redis-py's asyncio client at our rate takes both cores
of this machine; its blocked time is made of its node timeout (15 s by default) and does not depend on the load.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Final

from benchmarks.failover.amount import RATE, Amount
from benchmarks.failover.redis_cluster import RedisCluster
from benchmarks.failover.strike import (
    AFTERWARDS_S,
    LEAD_S,
    SETTLE_S,
    WHOLE_TIMEOUT_S,
    Strike,
    crew_for,
    errors_of,
    series_of,
    settle,
    strike,
)
from benchmarks.harness.parts import Part
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check
from benchmarks.harness.servers import wait_until
from benchmarks.harness.sites import cluster_on, one_machine
from benchmarks.harness.stats import median
from benchmarks.harness.watch import Watcher
from benchmarks.traffic import findings
from benchmarks.traffic.crew import Crew
from benchmarks.traffic.plan import Load

REDIS_RATE: Final = 1_000.0

KILL = "kill -9 of a primary, copies=2"
FAILED_READS = f"{KILL}: failed reads"
BLOCKED = f"{KILL}: writes blocked"
OVER_REDIS = f"{KILL}: writes blocked, over Redis Cluster's"
BEYOND_WINDOW = f"{KILL}: acknowledged writes lost beyond the loss window shown"
ACKS_LOST = "kill -9 of a primary, acks=1: acknowledged writes lost"
ACKS_READS = "kill -9 of a primary, acks=1: failed reads"
QUORUM_FAILED = "kill -9 of an owner, quorum N=3 W=2 R=2: failed operations"
QUORUM_LOST = "kill -9 of an owner, quorum N=3 W=2 R=2: acknowledged writes lost"
QUORUM_OLD = "kill -9 of an owner, quorum N=3 W=2 R=2: reads older than acknowledged"

NONE: Final = Goal("<=", 0)
"""For what must not happen at all."""
KILL_GOALS: Final = {FAILED_READS: NONE, BLOCKED: Goal("<=", 500), OVER_REDIS: Goal("<=", 0.1), BEYOND_WINDOW: NONE}


def kill_primaries(amount: Amount, step: Step, options: dict[str, Any], **settings: Any) -> list[Strike]:
    """Start a cluster with `settings`, and kill its primaries in turns under load."""
    step("starting Ray with three raylets, and three shards on it")
    strikes = []
    with one_machine() as site, cluster_on(site, **settings) as cluster, \
            Watcher(cluster.addresses, cluster.secret) as watcher, \
            crew_for(cluster, amount.seed, options=options) as crew:
        crew.fill()
        for number in range(amount.kills):
            step(f"kill {number + 1} of {amount.kills}")
            shards = watcher.topology().shards
            victim = shards[number % len(shards)]
            blow = partial(cluster.kill, cluster.shard_pid(victim))
            strikes.append(strike(cluster, crew, watcher, victim, blow))
    return strikes


def kill_redis_primaries(amount: Amount, step: Step) -> list[float]:
    """Do the same to a Redis Cluster; return how long writes were blocked, in seconds, kill by kill."""
    step("Redis Cluster: starting three primaries and three replicas")
    blocked_s = []
    with RedisCluster() as cluster, Crew(Load("redis", cluster.addresses, "key", rate=REDIS_RATE)) as crew:
        crew.fill()
        for number in range(amount.redis_kills):
            step(f"Redis Cluster: kill {number + 1} of {amount.redis_kills}")
            primaries = cluster.primaries()
            victim = primaries[number % len(primaries)]
            crew.go()
            time.sleep(SETTLE_S)
            struck_s = time.monotonic()
            cluster.kill(victim.port)
            wait_until("Redis Cluster to fail over", partial(cluster.has_failed_over, victim.port), WHOLE_TIMEOUT_S)
            cluster.restart(victim.port)
            wait_until("a whole Redis Cluster", cluster.is_whole, WHOLE_TIMEOUT_S)
            time.sleep(AFTERWARDS_S)
            ended_s = time.monotonic()
            harvest, _ = settle(crew)
            blocked_s.append(findings.longest_gap_s(harvest.records, victim.slots, struck_s - LEAD_S, ended_s))
    return blocked_s


def run_kill(amount: Amount, step: Step) -> Outcome:
    """copies=2, primary-replica, no acks asked for: what is the default."""
    outcome = Outcome("kill", facts=_facts(amount) | {"redis_rate": REDIS_RATE, "redis_kills": amount.redis_kills})
    strikes = kill_primaries(amount, step, {}, copies=2)
    redis_s = kill_redis_primaries(amount, step)
    blocked_ms = [one.blocked_s * 1000 for one in strikes]
    redis_ms = [blocked * 1000 for blocked in redis_s]
    beyond = [max(0, one.verdict.lost_writes - one.window_shown) for one in strikes]
    over = [ours / median(redis_ms) for ours in blocked_ms]
    outcome.figures += [
        total(FAILED_READS, [one.counts.failed_reads for one in strikes], "reads"),
        Figure(BLOCKED, KILL_GOALS[BLOCKED], median(blocked_ms), "ms", tuple(blocked_ms)),
        Figure(OVER_REDIS, KILL_GOALS[OVER_REDIS], median(over), "x", tuple(over)),
        total(BEYOND_WINDOW, beyond, "writes"),
    ]
    outcome.series += series_of(strikes)
    outcome.series.append(Series("writes blocked, Redis Cluster", "ms", redis_ms))
    outcome.facts["errors"] = errors_of(strikes)
    return outcome


def run_acks(amount: Amount, step: Step) -> Outcome:
    """copies=2, primary-replica, every write waits for one replica."""
    outcome = Outcome("acks", facts=_facts(amount))
    strikes = kill_primaries(amount, step, {"write": {"acks": 1}}, copies=2)
    outcome.figures += [total(ACKS_LOST, [one.verdict.lost_writes for one in strikes], "writes"),
                        total(ACKS_READS, [one.counts.failed_reads for one in strikes], "reads")]
    outcome.series += series_of(strikes)
    outcome.facts["errors"] = errors_of(strikes)
    return outcome


def run_quorum(amount: Amount, step: Step) -> Outcome:
    """copies=3, quorum, R and W of two."""
    outcome = Outcome("quorum", facts=_facts(amount))
    strikes = kill_primaries(amount, step, {}, copies=3, replication="quorum", read_quorum=2, write_quorum=2)
    outcome.figures += quorum_figures(strikes, QUORUM_FAILED, QUORUM_LOST, QUORUM_OLD)
    outcome.series += series_of(strikes)
    outcome.facts["errors"] = errors_of(strikes)
    return outcome


def quorum_figures(strikes: list[Strike], failed: str, lost: str, old: str) -> list[Figure]:
    """Return the figures of quorum mode: overlapping quorums leave no room for any of the three."""
    return [total(failed, [one.counts.failed for one in strikes], "operations"),
            total(lost, [one.verdict.lost_writes for one in strikes], "writes"),
            total(old, [one.counts.older_reads + one.counts.missing_reads for one in strikes], "reads")]


def total(name: str, numbers: list[int], unit: str) -> Figure:
    """Return the figure of something that must not happen at all: the sum over all blows."""
    return Figure(name, NONE, float(sum(numbers)), unit, tuple(float(number) for number in numbers))


def _facts(amount: Amount) -> dict[str, Any]:
    return {"kills": amount.kills, "rate": RATE, "write_share": 0.5, "keys": 20_000, "value_bytes": 100,
            "busy_cores_before": idle_check()}


def _steps(amount: Amount) -> int:
    return 1 + amount.kills


PARTS = (
    Part("kill", "copies=2: kill -9 of a primary, beside Redis Cluster",
         lambda a: 35 + 9 * a.kills + 30 * a.redis_kills,
         lambda a: _steps(a) + 1 + a.redis_kills, run_kill, KILL_GOALS),
    Part("acks", "copies=2, acks=1: kill -9 of a primary", lambda a: 20 + 9 * a.kills, _steps, run_acks,
         {ACKS_LOST: NONE, ACKS_READS: NONE}),
    Part("quorum", "N=3 W=2 R=2: kill -9 of an owner", lambda a: 20 + 9 * a.kills, _steps, run_quorum,
         {QUORUM_FAILED: NONE, QUORUM_LOST: NONE, QUORUM_OLD: NONE}),
)
