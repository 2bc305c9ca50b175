"""The HTTP door on real Ray Serve, behind HAProxy, as `raycache http` starts it; and how it ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

import raycache
from raycache.dashboards.build import ray_name
from tests.cluster.figures import agent_url, wait_for

SERVE_CONFIG = Path(__file__).parents[2] / "serve_app" / "serve.yaml"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would: in a process of its own, which finds the tests' Ray by RAY_ADDRESS."""
    command = [sys.executable, "-m", "raycache.cli.main", "http", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False, env=os.environ.copy())


@pytest.fixture(scope="module")
def door(ray_cluster: str) -> Iterator[dict[str, Any]]:
    raycache.start("http", shards=2, memory="64MiB")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    started = run("--port", str(port), "--replicas", "1", "--json")
    assert started.returncode == 0, started.stderr
    yield json.loads(started.stdout)
    run("--stop")
    raycache.stop("http")


def test_it_serves_behind_haproxy_and_ends_without_losing_a_request(door: dict[str, Any]) -> None:
    assert door["proxy"] == "haproxy", door
    cache = raycache.connect("http")
    with httpx.Client(base_url=door["url"], timeout=30) as client:
        assert client.put("/v1/http/keys/a", content=b"1", headers={"Content-Type": "text/x"}).status_code == 201
        found = client.get("/v1/http/keys/a")
        assert (found.content, found.headers["content-type"], cache.get("a")) == (b"1", "text/x", b"1")
        assert client.get("/v1/http/keys/a", headers={"If-None-Match": found.headers["etag"]}).status_code == 304
        assert client.put("/v1/http/keys/b%FF%2F", content=b"2").status_code == 201
        assert cache.get(b"b\xff/") == b"2"
        large = os.urandom(3 << 20)
        assert client.put("/v1/http/keys/large", content=large).status_code == 201
        assert client.get("/v1/http/keys/large").content == large
        absent = client.get("/v1/nobody/keys/a")
        assert (absent.status_code, "these run: http" in absent.json()["detail"]) == (404, True)
        assert client.post("/", json=["GET", "a"]).json() == {"result": "1"}  # the only cluster that runs
        assert client.get("/ready").status_code == 200
    _tells_ray_s_agent()
    _ends_gracefully(door["url"], cache)


def _tells_ray_s_agent() -> None:
    """What has come over HTTP so far is in the figures that each Ray node exports."""
    writes = {"cluster": "http", "door": "http", "class": "write"}
    wait_for(agent_url(), [
        (ray_name("raycache_commands_total"), writes, 3),
        (ray_name("raycache_command_duration_seconds_count"), writes, 3),
        (ray_name("raycache_command_duration_seconds_bucket"), {**writes, "le": "+Inf"}, 3),
        (ray_name("raycache_http_requests_total"), {"cluster": "http", "code": "201"}, 3)])


def _ends_gracefully(url: str, cache: Any) -> None:
    """Stop the door while a body is on its way; the request is answered all the same."""
    is_sent, answers = threading.Event(), []
    may_end = threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"first half, "
        is_sent.set()
        may_end.wait(30)
        yield b"second half"

    def upload() -> None:
        answers.append(httpx.put(f"{url}/v1/http/keys/slow", content=slowly(), timeout=60).status_code)

    uploading = threading.Thread(target=upload)
    uploading.start()
    assert is_sent.wait(20)
    stopping = subprocess.Popen([sys.executable, "-m", "raycache.cli.main", "http", "--stop"],
                                stderr=subprocess.PIPE, text=True)
    try:
        with pytest.raises(subprocess.TimeoutExpired):  # it waits for what is under way
            stopping.wait(2)
        may_end.set()
        uploading.join(60)
        assert answers == [201]
        assert cache.get("slow") == b"first half, second half"
        assert stopping.wait(60) == 0
    finally:
        may_end.set()
        stopping.kill()
        stopping.communicate()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")


def test_the_config_file_is_what_serve_takes(ray_cluster: str) -> None:
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(yaml.safe_load(SERVE_CONFIG.read_text()))
    assert [application.import_path for application in config.applications] == ["serve_app.app:build"]


def test_it_starts_nothing_that_is_open_to_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    from raycache.cli.main import main as command

    assert command(["http", "--host", "0.0.0.0"]) == 1
    assert "--tokens-file" in capsys.readouterr().err
