"""The HTTP door on real Ray Serve, behind HAProxy, as `raycache http` starts it; and how it ends."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import ssl
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
from tests.certificates import Authority
from tests.cluster.figures import agent_url, wait_for
from tests.support import wait_until

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


def deploy(user_config: dict[str, Any], tokens: list[dict[str, str]]) -> None:
    """Give Serve the shipped config file with these settings, as `serve deploy` would."""
    from ray.serve.context import _get_global_client
    from ray.serve.schema import ServeDeploySchema

    config = yaml.safe_load(SERVE_CONFIG.read_text())
    (application,) = config["applications"]
    application["args"]["tokens"] = tokens
    (deployment,) = application["deployments"]
    deployment |= {"user_config": user_config, "num_replicas": 1}
    del deployment["autoscaling_config"]
    _get_global_client().deploy_apps(ServeDeploySchema.model_validate(config), _blocking=False)


TOKEN = "a-token-of-the-tests"
TOKENS = [{"name": "shop", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "role": "writer"}]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.make(tmp_path_factory.mktemp("door"))


@pytest.fixture(scope="module")
def encrypted(ray_cluster: str, authority: Authority) -> Iterator[httpx.Client]:
    """A client of a door with a certificate and tokens, which trusts its authority."""
    folder = authority.folder
    certificate, key = authority.issue("door")
    (folder / "tokens.json").write_text(json.dumps(TOKENS))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    raycache.start("tls", shards=1, memory="32MiB")
    started = run("--port", str(port), "--replicas", "1", "--json", "--tls-cert", certificate, "--tls-key", key,
                  "--tokens-file", str(folder / "tokens.json"))
    assert started.returncode == 0, started.stderr
    told = json.loads(started.stdout)
    assert (told["proxy"], told["url"]) == ("serve", f"https://127.0.0.1:{port}")
    with httpx.Client(base_url=told["url"], verify=ssl.create_default_context(cafile=authority.ca), timeout=30,
                      headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        yield client
    run("--stop")
    raycache.stop("tls")


def test_tls_at_the_door(encrypted: httpx.Client) -> None:
    assert encrypted.put("/v1/tls/keys/a", content=b"1").status_code == 201
    assert encrypted.get("/v1/tls/keys/a").content == b"1"
    health = encrypted.base_url.join("/health")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(health)
    with pytest.raises(httpx.HTTPError):
        httpx.get(health.copy_with(scheme="http"))


def test_a_renewed_certificate_needs_no_restart(encrypted: httpx.Client, authority: Authority) -> None:
    def shown() -> str:
        return ssl.get_server_certificate(("127.0.0.1", encrypted.base_url.port or 0), ca_certs=authority.ca)

    before = shown()
    assert encrypted.get("/health").status_code == 200  # from the first request on the proxy looks for new files
    authority.issue("door")
    wait_until(lambda: shown() != before, 30)
    assert encrypted.get("/health").status_code == 200


@pytest.mark.timeout(240)  # Serve builds the application twice, in processes of its own
def test_new_settings_need_no_restart(encrypted: httpx.Client) -> None:
    """A limit changes by `user_config`; the Serve replica that has counted a refusal goes on, tokens and all."""

    def put(size: int) -> int:
        return encrypted.put("/v1/tls/keys/large", content=bytes(size)).status_code

    deploy({"max_body_bytes": 1000}, TOKENS)
    wait_until(lambda: put(2000) == 413, 100)
    refused = encrypted.get("/health").json()["refused"]
    deploy({"max_body_bytes": 3000}, TOKENS)
    wait_until(lambda: put(2000) in (201, 204), 100)
    assert (put(4000), encrypted.get("/health").json()["refused"] > refused) == (413, True)
    assert encrypted.get("/v1/tls/keys/a", headers={"Authorization": ""}).status_code == 401


def test_the_config_file_is_what_serve_takes(ray_cluster: str) -> None:
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(yaml.safe_load(SERVE_CONFIG.read_text()))
    assert [application.import_path for application in config.applications] == ["serve_app.app:build"]


def test_it_starts_nothing_that_is_open_to_the_network(capsys: pytest.CaptureFixture[str]) -> None:
    from raycache.cli.main import main as command

    assert command(["http", "--host", "0.0.0.0"]) == 1
    assert "--tokens-file" in capsys.readouterr().err
