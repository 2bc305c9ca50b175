"""A Ray of three nodes on this machine: where shards and gateways go, and what a lost node costs.

Run by `tests/cluster/test_other_rays.py` in a process of its own, since a process is in one Ray at a time.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["RAY_AUTH_MODE"] = "disabled"
os.environ.pop("RAY_ADDRESS", None)

from raycache.actors import environment

environment.prepare()

import ray  # noqa: E402
import redis  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

import raycache  # noqa: E402
from raycache.ring.slots import slot_of  # noqa: E402
from tests.support import wait_until  # noqa: E402

FAST_DEATHS = {"health_check_period_ms": 500, "health_check_timeout_ms": 1000, "health_check_failure_threshold": 3,
               "health_check_initial_delay_ms": 1000}


def main() -> None:
    ray_cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "_system_config": FAST_DEATHS})
    try:
        nodes = [ray_cluster.add_node(num_cpus=2, labels={"zone": zone}) for zone in "ab"]
        ray_cluster.wait_for_nodes()
        os.environ["RAY_ADDRESS"] = ray_cluster.address
        check(nodes, ray_cluster)
    finally:
        ray.shutdown()
        ray_cluster.shutdown()


def check(nodes: list[Any], ray_cluster: Cluster) -> None:
    status = raycache.start("nodes", shards=3, memory="96MiB", cpus_per_shard=1)
    table = raycache.topology("nodes")
    assert len({shard.node_id for shard in table.shards}) == 3, "the shards are not on distinct nodes"
    assert {shard.zone for shard in table.shards} == {"", "a", "b"}
    assert {gateway.node_id for gateway in table.gateways} == {shard.node_id for shard in table.shards}
    assert status.requires_auth, "with several nodes the doors listen beyond loopback"
    assert not any("does not fit" in warning for warning in status.warnings)

    with raycache.connect("nodes", timeout_s=20) as cache:
        keys = [f"k{i}" for i in range(300)]
        cache.set_many(dict.fromkeys(keys, "v"))
        for gateway in table.gateways:
            with redis.Redis(host=gateway.host, port=gateway.port, password=status.secret) as plain:
                assert plain.mget(keys) == [b"v"] * 300

        lost = nodes[1].node_id
        moved = next(shard.id for shard in table.shards if shard.node_id == lost)
        ray_cluster.remove_node(nodes[1], allow_graceful=False)

        def is_elsewhere() -> bool:
            now = raycache.topology("nodes")
            return raycache.status("nodes").serving and now.shard(moved).node_id != lost and len(now.gateways) == 2

        wait_until(is_elsewhere, 60)
        now = raycache.topology("nodes")
        assert (now.owners == table.owners).all(), "a lost shard keeps its slots"
        mine = set(now.slots_of(moved).tolist())
        left = cache.get_many(keys)
        assert set(left) == {key for key in keys if slot_of(key.encode()) not in mine}
        cache.set_many(dict.fromkeys(keys, "again"))
        assert cache.get_many(keys) == dict.fromkeys(keys, "again")
    raycache.stop("nodes")


if __name__ == "__main__":
    main()
    print("passed")
