"""Users and TLS in a cluster on Ray: handles find what they need, members speak encrypted, users survive."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
import redis

import raycache
from raycache.actors import calls
from raycache.cli.main import main
from tests.certificates import Authority
from tests.support import wait_until

pytestmark = pytest.mark.ray


def test_a_cluster_with_users_and_certificates(start: Callable[..., raycache.ClusterStatus], cluster_name: str,
                                               tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    authority = Authority.make(tmp_path)
    status = start(shards=2, memory="64MiB", copies=2, tls=authority.settings(),
                   users=["user ada on >pw-of-ada ~ada:* +@read +@write +@connection"])
    with raycache.connect(cluster_name) as cache:  # Ray tells the certificates, and the secret
        cache.set("theirs", 1)
        cache.set("ada:1", "hers", acks=1)

    @ray.remote
    def task(handle: raycache.Cache) -> object:
        return handle.get("ada:1")

    with raycache.connect(cluster_name, user="ada", password="pw-of-ada") as ada:
        assert ray.get(task.remote(ada)) == "hers"
        with pytest.raises(raycache.NotPermittedError):
            ada.get("theirs")
    host, _, port = status.gateways[0].rpartition(":")
    gateway = redis.Redis(host=host, port=int(port), username="ada", password="pw-of-ada", ssl=True,
                          ssl_ca_certs=authority.ca)
    assert gateway.get("ada:1") == b"hers"
    monkeypatch.setattr("sys.stdin", io.StringIO("pw-of-eve\n"))
    assert main(["acl", cluster_name, "SETUSER", "eve", "on", "--password-stdin", "~*", "+get"]) == 0
    assert main(["acl", cluster_name, "DELUSER", "ada"]) == 0
    assert capsys.readouterr().out == "OK\n1\n"
    wait_until(lambda: knows(host, int(port), authority, "eve", "pw-of-eve"), 10.0)
    ray.kill(calls.find_shard(cluster_name, "s0"), no_restart=False)
    wait_until(lambda: raycache.status(cluster_name).shards[0].restarts == 1 and raycache.status(cluster_name).serving,
               30.0)
    place = raycache.status(cluster_name).shards[0].address.rpartition(":")
    wait_until(lambda: knows(place[0], int(place[2]), authority, "eve", "pw-of-eve"), 10.0)
    assert not knows(place[0], int(place[2]), authority, "ada", "pw-of-ada")  # deleted, although started with


def knows(host: str, port: int, authority: Authority, user: str, password: str) -> bool:
    """Return whether a door lets a user in."""
    client = redis.Redis(host=host, port=port, username=user, password=password, ssl=True, ssl_ca_certs=authority.ca)
    try:
        client.execute_command("AUTH", user, password)
    except (redis.ConnectionError, redis.ResponseError):
        return False
    finally:
        client.close()
    return True
