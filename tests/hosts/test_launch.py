"""`ray up` with the shipped cluster.yaml, over ssh, on machines of their own; the cache on them; `ray down`.

What differs from what is shipped: addresses and keys, and that the machines share this one's `.venv` instead of making
one each, which would need package registries. The code that runs on them is the clone that `ray up` has copied there.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

import raycache
from benchmarks.harness.watch import Watcher
from raycache.testing.hosts import Host, Hosts
from tests.hosts.ssh import home_of, make_key, processes, serve_ssh, tmp_of
from tests.support import require_program, wait_until

pytestmark = pytest.mark.timeout(300)

ROOT = Path(__file__).parents[2]
VENV = Path(sys.executable).parents[1]
KEYS = [f"key:{number}" for number in range(500)]
# The machines share two cores: no dashboard. And no more memory for Ray's objects than their /dev/shm has.
SMALL = "--object-store-memory=104857600"


class Site:
    """An operator's machine and those of a cluster."""

    def __init__(self, hosts: Hosts, folder: Path) -> None:
        self.operator, self.head, *self.workers = (hosts.add() for _ in range(4))
        self.machines: list[Host] = [self.head, *self.workers]
        key = make_key(folder)
        for host, name in zip([self.operator, *self.machines], ("operator", "head", "one", "two"), strict=True):
            serve_ssh(host, key, name, hosts.gateway)
        for host in self.machines:
            wait_until(lambda host=host: answers(host), message=f"no ssh server on {host.address}")
        home = home_of(self.operator)
        wait_until(home.is_dir)
        shutil.copy(key, home / ".ssh/id_ed25519")
        (home / ".ray").mkdir()
        (home / ".ray/auth_token").write_text(os.urandom(32).hex())
        (home_of(self.workers[1]) / "zone").write_text("cellar")
        config = self.configuration()
        (home / "cluster.yaml").write_text(yaml.safe_dump(config))
        # Ray reads all that is in the folder to see what has changed: in this one other tests are at work.
        shutil.copytree(ROOT, home / "clone", symlinks=True,
                        ignore=shutil.ignore_patterns(*config["rsync_exclude"], "tests", "benchmarks", ".hypothesis"))

    def configuration(self) -> dict[str, Any]:
        """The shipped file, with what a user has to fill in, and the differences above."""
        config: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
        config["provider"] |= {"head_ip": self.head.address, "worker_ips": [one.address for one in self.workers]}
        config["auth"]["ssh_user"] = "root"
        made, *rest = [one for one in config["setup_commands"] if "make" in one], config["setup_commands"]
        assert made == ["make -C ~/raycache setup"]
        config["setup_commands"] = [f"ln -sfn {VENV} ~/raycache/.venv" if one in made else one for one in rest[0]]
        config["setup_commands"].append("echo 'export PYTHONPATH=~/raycache' >> ~/.profile")
        for name, more in (("head", f"--include-dashboard=false {SMALL}"), ("worker", SMALL)):
            stop, start = config[f"{name}_start_ray_commands"]
            config[f"{name}_start_ray_commands"] = [stop, f"{start} {more}"]
        return config

    def ray(self, *arguments: str) -> str:
        """Run Ray's command line on the operator's machine, in the clone."""
        command, *rest = arguments
        file = str(self.operator.tmp / "home/cluster.yaml")
        argv = [str(VENV / "bin/ray"), command, *([rest.pop(0)] if rest[:1] == ["-y"] else []), file, *rest]
        home = str(self.operator.tmp / "home")
        return self.operator.run(["env", f"--chdir={home}/clone", *argv], env={"HOME": home}, timeout_s=200)

    def raycache(self, *arguments: str) -> str:
        """Run a command on the head, as somebody who has logged in there."""
        line = " ".join(("raycache", *arguments))
        home = str(self.head.tmp / "home")
        return self.head.run(["env", "-u", "RAY_TMPDIR", "-u", "TMPDIR", f"HOME={home}", "bash", "--login", "-c", line])


def answers(host: Host) -> bool:
    try:
        socket.create_connection((host.address, 22), 0.5).close()
    except OSError:
        return False
    return True


@pytest.fixture
def site(hosts: Hosts, tmp_path: Path) -> Site:
    require_program("sshd", "openssh-server")
    require_program("rsync", "rsync")
    return Site(hosts, tmp_path)


def test_a_cluster_is_launched_used_upgraded_and_gone(site: Site) -> None:
    site.ray("up", "-y")
    # One copy: half as much moves in the upgrade. Two on several machines are `test_machines`' business.
    site.ray("exec", "raycache up --config ~/raycache/raycache.yaml --copies 1")
    status = json.loads(site.raycache("status", "features", "--json", "--secret"))
    shards, secret = status["shards"], status["secret"]
    assert status["serving"]
    assert (len(shards), status["copies"]) == (4, 1), "two for each worker's label, and none on the head"
    assert sorted({shard["machine"] for shard in shards}) == sorted(one.address for one in site.workers)
    assert not [one for one in status["warnings"] if "started without" in one or "token" in one]
    with Watcher([shard["address"] for shard in shards], secret) as watcher:
        assert {shard.zone for shard in watcher.topology().shards} == {"one", "cellar"}
    with raycache.connect("features", address=shards[0]["address"], secret=secret) as cache:
        cache.set_many({key: key.upper() for key in KEYS})
        for worker in site.workers:
            with redis.Redis(host=worker.address, port=6400, password=secret) as client:
                assert client.get(KEYS[0]) == KEYS[0].upper().encode()
        check_upgrade(site, cache)
    assert site.raycache("down", "features", "--with-ray").endswith("Ray stopped on 3 machines\n")
    site.ray("down", "-y")
    check_nothing_is_left(site)


def check_upgrade(site: Site, cache: raycache.Cache) -> None:
    """New code comes to the machines; every shard runs it afterwards, and a reader has missed nothing."""
    for host in site.machines:
        package = home_of(host) / "raycache/raycache/__init__.py"
        package.write_text(package.read_text().replace(f'"{raycache.__version__}"', '"99.0"'))
    missed, over = [], threading.Event()

    def read() -> None:
        while not over.wait(0.01):
            found = cache.get_many(KEYS)
            missed.extend(key for key in KEYS if found.get(key) != key.upper())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        record = json.loads(site.raycache("upgrade", "features", "--json"))
    finally:
        over.set()
        reader.join()
    assert missed == []
    assert record["change"]["misses"] == 0
    assert {shard["version"] for shard in record["shards"]} == {"99.0"}
    assert set(record["versions_before"].values()) == {raycache.__version__}


def check_nothing_is_left(site: Site) -> None:
    for host in site.machines:
        wait_until(lambda host=host: not rays(host), 20, message="\n".join(rays(host)))
        assert host.run(["sh", "-c", "ls /dev/shm"]) == ""
        listening = host.run(["ss", "-Hltn"]).splitlines()
        assert all(line.split()[3].endswith(":22") for line in listening), listening
        kept = {"ray", site.head.tmp.parent.name}  # Ray's logs, and what this host is made of
        left = {path.name for path in tmp_of(host).iterdir()} - kept
        assert not {name for name in left if not name.startswith("ray_ssh_")}, "but where Ray's ssh had its sockets"


def rays(host: Host) -> list[str]:
    return [line for line in processes(host) if not line.startswith(("sshd", "/usr/sbin/sshd")) and
            "first_process.py" not in line]
