"""A cluster with two copies on four machines, some of which go: nobody who uses it may lose anything.

The hosts, their Ray and the cluster are started once; each test leaves all machines on and the cluster whole.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

import raycache
from benchmarks.harness.servers import ServerFailedError
from benchmarks.harness.sites import ROUTER, Cluster, Machines, cluster_on, machines
from benchmarks.harness.watch import Watcher, has_given_up, is_whole
from raycache.ring.slots import slot_of
from raycache.ring.topology import ShardInfo
from raycache.testing.hosts import Host
from tests.hosts.conftest import require_hosts
from tests.support import wait_until

pytestmark = pytest.mark.timeout(300)

SHARDS = 3
KEYS = [f"key:{number}" for number in range(600)]

# Run in a cut-off host: what a client on its side is told, read after write, until the shard refuses.
WRITE_INSIDE = """
import sys, time, raycache
host, port, secret, key = sys.argv[1:]
with raycache.connect("bench", address=f"{host}:{port}", secret=secret, timeout_s=1.0) as cache:
    end_s = time.monotonic() + 10
    while time.monotonic() < end_s:
        try:
            cache.set(key, "inside")
        except raycache.RayCacheError as error:
            print(type(error).__name__)
            break
"""


@dataclass(slots=True)
class Stage:
    site: Machines
    cluster: Cluster
    watcher: Watcher
    cache: raycache.Cache

    def victim(self) -> tuple[Host, ShardInfo]:
        """A shard whose machine is neither Ray's head nor the driver's, which is the last one."""
        kept = {self.site.hosts[0].address, self.site.hosts[-1].address}
        shard = next(shard for shard in self.watcher.topology().shards if shard.machine not in kept)
        return self.site.host_at(shard.machine), shard

    def routers_victim(self) -> tuple[Host, ShardInfo]:
        """As `victim`, on the machine of the router, with its standby elsewhere: the router's process is killed until
        Ray starts it on such a machine."""
        while True:
            wait_until(self.has_standby, 30)
            place = self.status()["router_machine"]
            kept = {self.site.hosts[0].address, self.site.hosts[-1].address}
            for shard in self.watcher.topology().shards:
                if shard.machine == place and place not in kept:
                    return self.site.host_at(place), shard
            (pid,) = self.site.host_at(place).pids(ROUTER)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda pid=pid: not os.path.exists(f"/proc/{pid}"))

    def has_standby(self) -> bool:
        """Say whether the router answers, and has a standby on another machine."""
        try:
            status = self.status()
        except ServerFailedError:
            return False
        return status["standby_machine"] not in ("", status["router_machine"])

    def wait_until_whole(self) -> None:
        self.watcher.wait_for("a whole cluster", partial(is_whole, shards=SHARDS), 90)

    def wait_until_copied(self) -> None:
        """Wait until nothing is acknowledged that only one shard has."""
        wait_until(lambda: not any(shard["loss"]["mutations"] for shard in self.status()["shards"]))

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.site.driver.tell("status", name=self.cluster.name)
        return status

    def read_all(self) -> dict[str, object]:
        return {key: self.cache.get(key) for key in KEYS}


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    require_hosts()
    with ExitStack() as stack:
        site = stack.enter_context(machines(SHARDS + 1, stored=True, driver_at=-1))
        cluster = stack.enter_context(cluster_on(site, copies=2, memory_bytes=300 << 20))
        watcher = stack.enter_context(Watcher(cluster.addresses, cluster.secret))
        cache = stack.enter_context(raycache.connect(cluster.name, address=cluster.addresses[0], secret=cluster.secret))
        yield Stage(site, cluster, watcher, cache)


def test_copies_lie_on_different_machines(stage: Stage) -> None:
    stage.wait_until_whole()
    topology = stage.watcher.topology()
    machine_of = [shard.machine for shard in topology.shards]
    assert all(len({machine_of[index] for index in row}) == 2 for row in topology.owners.tolist())


def lose_power(stage: Stage, host: Host, shard: ShardInfo) -> None:
    """Take a machine's power, and give it back: no entry may be missed and no call fail meanwhile."""
    stage.cache.set_many(dict.fromkeys(KEYS, "before"))
    stage.wait_until_copied()
    host.power_off()
    assert stage.read_all() == dict.fromkeys(KEYS, "before"), "read while the loss is being noticed"
    stage.cache.set_many(dict.fromkeys(KEYS, "after"))
    stage.watcher.wait_for("the failover", partial(has_given_up, shard=shard), 5)
    assert stage.read_all() == dict.fromkeys(KEYS, "after")
    host.power_on()
    stage.site.ray.join(host)
    stage.wait_until_whole()
    assert stage.read_all() == dict.fromkeys(KEYS, "after")


def test_a_machine_without_power_costs_no_entry_and_no_error(stage: Stage) -> None:
    lose_power(stage, *stage.victim())


def test_without_the_routers_machine_its_standby_promotes(stage: Stage) -> None:
    """Long before Ray has noticed the loss of the machine, and started the router elsewhere."""
    lose_power(stage, *stage.routers_victim())
    wait_until(stage.has_standby, 30)


def test_a_machine_that_is_cut_off_refuses_and_has_no_say_when_it_is_back(stage: Stage) -> None:
    host, shard = stage.victim()
    topology = stage.watcher.topology()
    key = next(name for name in KEYS if topology.primary_of(slot_of(name.encode())) == shard)
    stage.cache.set(key, "before")
    host.cut_off()
    refusal = host.run([sys.executable, "-c", WRITE_INSIDE, shard.host, str(shard.port), stage.cluster.secret, key])
    assert refusal.split()[-1] in ("ShardUnavailableError", "ClusterLoadingError", "DeadlineExceededError")
    stage.cache.set(key, "outside")
    host.heal()
    stage.wait_until_whole()
    assert stage.cache.get(key) == "outside"


def test_a_lost_gcs_is_nobodys_business(stage: Stage) -> None:
    stage.cache.set_many(dict.fromkeys(KEYS, "before"))
    stage.site.ray.kill_gcs()
    assert stage.read_all() == dict.fromkeys(KEYS, "before")
    stage.cache.set_many(dict.fromkeys(KEYS, "during"))
    stage.site.ray.restart_gcs()
    assert stage.read_all() == dict.fromkeys(KEYS, "during")
    assert len(stage.status()["shards"]) == SHARDS
    stage.wait_until_whole()


def test_the_head_machine_comes_back_and_all_is_repaired(stage: Stage) -> None:
    stage.cache.set_many(dict.fromkeys(KEYS, "before"))
    stage.wait_until_copied()
    head = stage.site.ray.head
    topology = stage.watcher.topology()
    elsewhere = [key for key in KEYS if topology.primary_of(slot_of(key.encode())).machine != head.address]
    head.power_off()
    assert all(stage.cache.get(key) == "before" for key in elsewhere)
    stage.cache.set_many(dict.fromkeys(elsewhere, "during"))
    head.power_on()
    stage.site.ray.start_head()
    stage.wait_until_whole()
    expected = {key: "during" if key in elsewhere else "before" for key in KEYS}
    assert stage.read_all() == expected
