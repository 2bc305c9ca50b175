"""Load generators as processes, on a cluster without Ray: what a shard loses is found out. And a Redis Cluster."""

from __future__ import annotations

import os
import time

import pytest

from benchmarks.failover.redis_cluster import RedisCluster
from benchmarks.harness import servers
from benchmarks.harness.processes import descendants, listener
from benchmarks.harness.watch import Watcher
from benchmarks.traffic import findings
from benchmarks.traffic.crew import Crew
from benchmarks.traffic.plan import Load
from raycache.ring.slots import SLOT_COUNT, slot_of
from raycache.testing.local import LocalCluster


def test_generators_load_a_cluster_and_find_what_it_lost() -> None:
    with LocalCluster(shards=2, gateway=False) as cluster:
        addresses = tuple(f"{host}:{port}" for host, port in cluster.addresses)
        load = Load("raycache", addresses, "k", cluster=cluster.topology.cluster, keys=400, rate=400.0)
        with Crew(load) as crew, Watcher(addresses, "") as watcher:
            crew.fill()
            crew.go()
            time.sleep(1.0)
            crew.calm()
            harvest = crew.harvest()
            counts = findings.count(harvest.records)
            assert 200 < counts.reads + counts.writes < 1_000  # 400 a second; a busy machine may be late to stop it
            assert (counts.failed, counts.older_reads, counts.missing_reads) == (0, 0, 0), harvest.errors
            assert crew.verify().lost_keys == 0

            emptied = set(watcher.topology().slots_of("s0").tolist())
            epoch = watcher.topology().epoch
            cluster.kill(0)
            cluster.restart(0)
            watcher.wait_for("the restarted shard", lambda now: now.epoch > epoch, 10.0)
            lost = crew.verify()
            names = [name for part in crew.loads for name in part.names()]
            assert lost.lost_keys == sum(slot_of(name.encode()) in emptied for name in names)
            assert lost.lost_writes > lost.lost_keys, "written, and written again"


def test_processes_are_found_by_parent_and_port() -> None:
    with servers.redis_server() as port:
        mine = descendants(os.getpid())
        assert listener(mine, port) == int(servers.info(port)["process_id"])
        with pytest.raises(LookupError, match="none of these"):
            listener([os.getpid()], port)


def test_a_redis_cluster_with_replicas_says_who_serves_what() -> None:
    with RedisCluster() as cluster:
        primaries = cluster.primaries()
        assert len(primaries) == 3
        assert sorted(slot for one in primaries for slot in one.slots.tolist()) == list(range(SLOT_COUNT))
        assert len(cluster.addresses) == 6
        assert cluster.is_whole()
        cluster.kill(primaries[0].port)
        assert not cluster.is_whole()
        assert not cluster.has_failed_over(primaries[0].port)
