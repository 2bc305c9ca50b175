"""The control plane gone while data is served: the router for 10 s, Ray's GCS for 90 s, the head machine for a while.

What lives here: the parts `router`, `gcs` and `head`. No slot may be the worse for the first two. With the head machine
its own shard goes, too, and nobody is left to appoint another primary: so the slots of the other machines are judged.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial
from typing import Any, Final

import numpy as np

from benchmarks.failover.amount import RATE, Amount
from benchmarks.failover.kills import NONE, total
from benchmarks.failover.strike import SETTLE_S, crew_for, settle
from benchmarks.harness.parts import Part
from benchmarks.harness.report import Figure, Goal, Outcome, Series
from benchmarks.harness.rounds import Step, idle_check
from benchmarks.harness.servers import ServerFailedError
from benchmarks.harness.sites import ROUTER, Cluster, Site, cluster_on, machines, one_machine
from benchmarks.harness.watch import Watcher, is_whole
from benchmarks.traffic import findings
from benchmarks.traffic.crew import Crew, Harvest, Verdict
from raycache.ring.topology import Topology

ROUTER_AWAY_S: Final = 10.0
ROUTER_POLL_S: Final = 0.05
GCS_AWAY_S: Final = 90.0
HEAD_AWAY_S: Final = 10.0
REPAIR_TIMEOUT_S: Final = 120.0
REPAIR_GOAL: Final = Goal("<=", REPAIR_TIMEOUT_S)
AFTERWARDS_S: Final = 5.0
HOSTS: Final = 3

ROUTER_FAILED = "router dead for 10 s: failed operations"
ROUTER_LOST = "router dead for 10 s: acknowledged writes lost"
GCS_FAILED = "Ray's GCS dead for 90 s: failed operations"
GCS_LOST = "Ray's GCS dead for 90 s: acknowledged writes lost"
HEAD_FAILED = "head machine off and on: failed operations on the other machines' slots"
HEAD_REPAIRED = "head machine off and on: all copies there again, after power returned"


def run_router(amount: Amount, step: Step) -> Outcome:
    """Kill the router, and every successor that Ray starts, for 10 s."""
    step("starting Ray with three raylets, and three shards on it")
    outcome = Outcome("router", facts=_facts(amount.seconds(ROUTER_AWAY_S)))
    with one_machine() as site, cluster_on(site, copies=2) as cluster, crew_for(cluster, amount.seed) as crew:
        crew.fill()
        crew.go()
        time.sleep(SETTLE_S)
        step("killing it for 10 s")
        kills = keep_dead(site, cluster, amount.seconds(ROUTER_AWAY_S))
        time.sleep(AFTERWARDS_S)
        _judge(outcome, crew, ROUTER_FAILED, ROUTER_LOST)
        outcome.series.append(Series("routers killed", "processes", [float(kills)]))
        if not site.driver.tell("status", name=cluster.name)["shards"]:
            raise ServerFailedError("the router did not come back")
    return outcome


def keep_dead(site: Site, cluster: Cluster, for_s: float) -> int:
    """Kill the router again and again; return how many were killed."""
    kills, end_s = 0, time.monotonic() + for_s
    while time.monotonic() < end_s:
        for pid in site.pids(ROUTER):
            with contextlib.suppress(ProcessLookupError):
                cluster.kill(pid)
                kills += 1
        time.sleep(ROUTER_POLL_S)
    return kills


def run_gcs(amount: Amount, step: Step) -> Outcome:
    """Kill Ray's GCS, and start it again 90 s later from its embedded storage."""
    step(f"starting {HOSTS} hosts with Ray")
    away_s = amount.seconds(GCS_AWAY_S)
    outcome = Outcome("gcs", facts=_facts(away_s))
    with machines(HOSTS, stored=True) as site, cluster_on(site, copies=2) as cluster, \
            crew_for(cluster, amount.seed) as crew:
        crew.fill()
        crew.go()
        time.sleep(SETTLE_S)
        step(f"dead for {away_s:g} s")
        site.ray.kill_gcs()
        time.sleep(away_s)
        site.ray.restart_gcs()
        time.sleep(AFTERWARDS_S)
        _judge(outcome, crew, GCS_FAILED, GCS_LOST)
        if len(site.driver.tell("status", name=cluster.name)["shards"]) != HOSTS:
            raise ServerFailedError("the cluster is not the same after the GCS came back")
    return outcome


def run_head(amount: Amount, step: Step) -> Outcome:
    """Power the head machine off and on again; its GCS keeps its state on its disk."""
    step(f"starting {HOSTS} hosts with Ray")
    outcome = Outcome("head", facts=_facts(HEAD_AWAY_S))
    with machines(HOSTS, stored=True, driver_at=-1) as site, cluster_on(site, copies=2) as cluster, \
            Watcher(cluster.addresses, cluster.secret) as watcher, crew_for(cluster, amount.seed) as crew:
        head = site.ray.head
        before = watcher.topology()
        others = [before.slots_of(shard.id) for shard in before.shards if shard.machine != head.address]
        outcome.facts["router_on_head"] = bool(head.pids(ROUTER))
        crew.fill()
        crew.go()
        time.sleep(SETTLE_S)
        step(f"off for {HEAD_AWAY_S:g} s, then on, until repaired")
        head.power_off()
        time.sleep(HEAD_AWAY_S)
        head.power_on()
        returned_s = time.monotonic()
        site.ray.start_head()
        again = watcher.wait_for("a whole cluster after the head machine came back",
                                 partial(is_repaired, before=before, machine=head.address), REPAIR_TIMEOUT_S,
                                 since_s=returned_s)
        time.sleep(AFTERWARDS_S)
        harvest, verdict = settle(crew)
        on_others = harvest.records.where(np.isin(harvest.records.slot, np.concatenate(others)))
        counts = findings.count(on_others)
        repaired_s = again.seen_s - returned_s
        outcome.figures += [total(HEAD_FAILED, [counts.failed], "operations"),
                            Figure(HEAD_REPAIRED, REPAIR_GOAL, repaired_s, "s")]
        _add_series(outcome, harvest, verdict)
    return outcome


def is_repaired(now: Topology, before: Topology, machine: str) -> bool:
    """Whether the shards that were on `machine` run anew, wherever, and the cluster is whole.

    With the router on that machine, too, the topology went on naming them as if nothing had happened.
    """
    lost = {shard.id: shard.incarnation for shard in before.shards if shard.machine == machine}
    anew = all(lost.get(shard.id) != shard.incarnation for shard in now.shards)
    return anew and is_whole(now, len(before.shards))


def _judge(outcome: Outcome, crew: Crew, failed: str, lost: str) -> None:
    harvest, verdict = settle(crew)
    outcome.figures += [total(failed, [findings.count(harvest.records).failed], "operations"),
                        total(lost, [verdict.lost_writes], "writes")]
    _add_series(outcome, harvest, verdict)


def _add_series(outcome: Outcome, harvest: Harvest, verdict: Verdict) -> None:
    counts = findings.count(harvest.records)
    for name, unit, number in (("failed operations, all slots", "operations", counts.failed),
                               ("reads older than acknowledged", "reads", counts.older_reads),
                               ("reads of nothing", "reads", counts.missing_reads),
                               ("acknowledged writes lost", "writes", verdict.lost_writes),
                               ("operations", "operations", counts.reads + counts.writes)):
        outcome.series.append(Series(name, unit, [float(number)]))
    outcome.series.append(Series("read", "ms", findings.read_times_ms(harvest.records).tolist()))
    outcome.facts["errors"] = harvest.errors


def _facts(away_s: float) -> dict[str, Any]:
    return {"away_s": away_s, "rate": RATE, "busy_cores_before": idle_check()}


PARTS = (
    Part("router", "the router killed again and again for 10 s", lambda a: 45, lambda a: 2, run_router,
         {ROUTER_FAILED: NONE, ROUTER_LOST: NONE}),
    Part("gcs", "Ray's GCS killed, and started 90 s later", lambda a: 40 + a.seconds(GCS_AWAY_S), lambda a: 2, run_gcs,
         {GCS_FAILED: NONE, GCS_LOST: NONE}),
    Part("head", "the head machine powered off and on again", lambda a: 100, lambda a: 2, run_head,
         {HEAD_FAILED: NONE, HEAD_REPAIRED: REPAIR_GOAL}),
)
