"""The command line against a real Ray: a cluster from `up` to `down`, each step as a user sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import raycache
from raycache.cli.main import main
from raycache.shard.build import store_capacity

pytestmark = pytest.mark.ray

PROGRAM = Path(sys.executable).with_name("raycache")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed program in a process of its own, as a shell does."""
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> object:
    """Run a command in this process, which is connected already, so that it costs no seconds."""

    def run_here(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_here


def test_a_cluster_outlives_the_commands(cluster_name: str) -> None:
    up = run("up", cluster_name, "--shards", "2", "--memory", "8MiB", "--policy", "lfu", "--json")
    assert up.returncode == 0, up.stderr
    record = json.loads(up.stdout)  # nothing but JSON on standard output
    assert record["serving"] is True
    assert record["attached"] is False
    assert record["policy"] == "lfu"
    expected = store_capacity(4 << 20)  # an eighth is the process'
    assert [shard["capacity_bytes"] for shard in record["shards"]] == [expected, expected]
    assert run("set", cluster_name, "greeting", "hello", "--ttl", "100").returncode == 0
    got = run("get", cluster_name, "greeting")
    assert (got.returncode, got.stdout, got.stderr) == (0, "hello\n", "")
    down = run("down", cluster_name)
    assert (down.returncode, down.stdout) == (0, f"{cluster_name} stopped\n")
    assert cluster_name not in raycache.clusters()


def test_every_command_on_a_running_cluster(shell, start, cluster_name: str) -> None:  # type: ignore[no-untyped-def]
    start(shards=2, memory="8MiB")
    code, out, err = shell("up", cluster_name, "--shards", "2", "--memory", "8MiB")
    assert (code, err) == (0, f"{cluster_name} runs already: attached\n")
    assert "serving, 2 shards of 4.0 MiB" in out

    assert shell("set", cluster_name, "user:1", '{"name": "Ada"}', "--json") == (0, "", "")
    assert json.loads(shell("get", cluster_name, "user:1")[1]) == {"name": "Ada"}
    with raycache.connect(cluster_name) as cache:
        assert cache.get("user:1") == {"name": "Ada"}
        cache.set("blob", b"\x00\x01")
    assert shell("del", cluster_name, "user:1", "blob", "nobody")[1] == "2\n"
    code, out, err = shell("get", cluster_name, "user:1")
    assert (code, out) == (1, "")
    assert "no key 'user:1'" in err

    record = json.loads(shell("status", cluster_name, "--json")[1])
    assert [shard["state"] for shard in record["shards"]] == ["up", "up"]
    assert sum(shard["slots"] for shard in record["shards"]) == 16384
    assert shell("status", cluster_name, "--secret")[1].strip() == raycache.status(cluster_name).secret
    table = shell("status", cluster_name)[1]
    assert all(shard["address"] in table for shard in record["shards"])

    ring = json.loads(shell("ring", cluster_name, "--json")[1])
    promised = ring["adding_one"]
    code, out, _ = shell("scale", cluster_name, "3", "--json")
    assert code == 0
    # What `ring` said beforehand is what happens.
    slots = {shard["id"]: shard["slots"] for shard in json.loads(out)["shards"]}
    assert slots == promised["shares_after"]


def test_a_wrong_name_lists_those_that_run(shell, start, cluster_name: str) -> None:  # type: ignore[no-untyped-def]
    start(shards=1, memory="4MiB")
    for arguments in (("status",), ("ring",), ("get", "k"), ("set", "k", "v"), ("del", "k"), ("scale", "2"), ("down",)):
        command, *rest = arguments
        code, out, err = shell(command, f"{cluster_name}x", *rest)
        assert (code, out) == (1, "")
        assert cluster_name in err.replace(f"{cluster_name}x", "")
        assert err.count("\n") == 1


def test_a_port_that_is_taken_is_one_line(shell, cluster_name: str) -> None:  # type: ignore[no-untyped-def]
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = shell("up", cluster_name, "--shards", "1", "--memory", "4MiB", "--gateway-port", str(port),
                               "--timeout", "20")  # fmt: skip
    assert (code, out) == (1, "")
    assert str(port) in err
    assert err.count("\n") == 1
    assert cluster_name not in raycache.clusters()
