"""Figures of the HTTP door, compared exactly with what a client did on a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from raycache.metrics.histogram import Histogram
from raycache.testing.local import LocalCluster
from serve_app.settings import HttpSettings
from tests.clients.http_door import RunningDoor, http_door
from tests.support import wait_until


@pytest.fixture(scope="module")
def door() -> Iterator[RunningDoor]:
    with LocalCluster(shards=2) as cluster, http_door(cluster, HttpSettings(cluster="local")) as running:
        yield running


def counts(door: RunningDoor, cluster: str = "local") -> dict[tuple[str, ...], float]:
    """Return a cluster's figures by name and labels, a histogram as its count."""
    samples = door.door.figures.samples().get(cluster)
    found: dict[tuple[str, ...], Any] = {(one.family.name, *one.labels): one.value
                                         for one in (samples.all if samples is not None else ())}
    return {name: value.count if isinstance(value, Histogram) else value for name, value in found.items()}


def test_every_request_is_counted_once_by_its_class_and_status(door: RunningDoor) -> None:
    with httpx.Client(base_url=door.url, timeout=20) as client:
        for number in range(3):
            assert client.put(f"/v1/local/keys/k{number}", content=b"1").status_code == 201
        for number in range(5):
            assert client.get(f"/v1/local/keys/k{number}").status_code == (200 if number < 3 else 404)
        assert client.head("/v1/local/keys/k0").status_code == 200
        assert client.delete("/v1/local/keys/k0").status_code == 204
        assert client.put("/v1/local/keys/k1", content=b"2", headers={"If-None-Match": "*"}).status_code == 412
        assert client.put("/v1/local/keys/k1", content=b"2", headers={"Cache-Control": "max-age=x"}).status_code == 422
        assert client.post("/v1/local/batch", json={"get": ["k1"]}).status_code == 200
        assert client.post("/v1/local/batch", json={"get": ["k1"], "delete": ["k2"]}).status_code == 200
        assert client.post("/v1/local/invalidate", json={"keys": ["k1"]}).status_code == 200
        assert client.post("/", json=["INCR", "n"]).status_code == 200
        assert client.post("/pipeline", json=[["GET", "n"], ["MGET", "n", "m"]]).status_code == 200
        assert client.post("/multi-exec", json=[["SET", "n", "1"], ["GET", "n"]]).status_code == 200
        assert client.get("/get/n").json() == {"result": "1"}
        assert client.get("/health").status_code == 200
        assert client.get("/no/such/route").status_code == 404
        assert client.get("/v1/nobody/keys/a").status_code == 404
    # An answer is counted when it is out, which its client may see a moment before.
    wait_until(lambda: counts(door, "").get(("raycache_http_requests_total", "404")) == 2, 5)
    by_class = {"read": 5 + 1 + 1, "write": 3 + 1 + 2 + 1, "read_many": 2, "write_many": 2, "transaction": 1}
    found = counts(door)
    for class_, count in by_class.items():
        assert found["raycache_commands_total", "http", "", class_] == count, class_
        assert found["raycache_command_duration_seconds", "http", "", class_] == count, class_
        errors = 1 if class_ == "write" else 0
        assert found["raycache_command_errors_total", "http", "", class_] == errors, class_
    by_status = {"200": 3 + 1 + 3 + 4, "201": 3, "204": 1, "404": 2, "412": 1, "422": 1}
    assert {name[1]: count for name, count in found.items() if len(name) == 2} == by_status
    assert counts(door, "")["raycache_commands_total", "http", "", "connection"] == 1
