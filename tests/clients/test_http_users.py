"""A user for each bearer token: what comes with it has that user's rights at the shards, by whatever route."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from raycache.client.sync import Cache
from raycache.testing import LocalCluster
from serve_app.settings import HttpSettings
from tests.clients.http_door import RunningDoor, http_door

SECRET = "open sesame"
ADA, READER, WHOLE = "token-of-ada-0123", "token-of-reader-0123", "token-of-nobody-special"
USERS = ("user ada on >pw-of-ada ~ada:* ~__raycache_tag__:* +@read +@write +@connection -@dangerous",
         "user reader on >pw-of-reader ~* +@read +@connection")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(2, secret=SECRET, users=USERS) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("passwords")
    for name in ("ada", "reader"):
        (folder / name).write_text(f"pw-of-{name}\n")
    return folder


@pytest.fixture(scope="module")
def door(cluster: LocalCluster, passwords: Path) -> Iterator[RunningDoor]:
    settings = HttpSettings.from_mapping({"cluster": "local", "admin_secret": "the-admins-secret", "tokens": [
        {"name": "ada", "token": ADA, "role": "writer", "user": "ada", "password_file": str(passwords / "ada")},
        {"name": "reader", "token": READER, "role": "writer", "user": "reader",
         "password_file": str(passwords / "reader")},
        {"name": "whole", "token": WHOLE, "role": "writer"}]})
    with http_door(cluster, settings) as door:
        yield door


def caller(door: RunningDoor, token: str) -> httpx.Client:
    return httpx.Client(base_url=door.url, headers={"Authorization": f"Bearer {token}"})


def test_keys_and_batches_are_limited_by_the_tokens_user(door: RunningDoor) -> None:
    with caller(door, ADA) as ada, caller(door, READER) as reader, caller(door, WHOLE) as whole:
        assert ada.put("/v1/local/keys/ada:1", content=b"x").status_code in (201, 204)
        assert whole.put("/v1/local/keys/theirs", content=b"y").status_code in (201, 204)
        for client in (ada, reader, whole):
            assert client.get("/v1/local/keys/ada:1").content == b"x"
        assert [client.get("/v1/local/keys/theirs").status_code for client in (ada, reader, whole)] == [403, 200, 200]
        for refused in (ada.put("/v1/local/keys/theirs", content=b"z"), ada.delete("/v1/local/keys/theirs"),
                        ada.head("/v1/local/keys/theirs"), reader.put("/v1/local/keys/ada:1", content=b"z"),
                        reader.delete("/v1/local/keys/ada:1"),
                        ada.post("/v1/local/batch", json={"get": ["ada:1", "theirs"]}),
                        ada.post("/v1/local/batch", json={"set": [{"key": "theirs", "value": "z"}]}),
                        reader.post("/v1/local/batch", json={"delete": ["ada:1"]}),
                        ada.post("/v1/local/invalidate", json={"keys": ["theirs"]}),
                        ada.post("/v1/local/invalidate", json={"prefixes": ["th"]})):
            assert refused.status_code == 403, refused.request.url
        assert whole.get("/v1/local/keys/theirs").content == b"y"


@pytest.mark.parametrize("command", [["GET", "theirs"], ["SET", "theirs", "z"], ["FLUSHALL"], ["KEYS", "*"],
                                     ["MGET", "ada:1", "theirs"], ["DEL", "theirs"], ["RENAME", "ada:1", "theirs"]])
def test_redis_commands_are_limited_by_it_too(door: RunningDoor, command: list[str]) -> None:
    with caller(door, ADA) as ada:
        assert ada.post("/", json=["SET", "ada:1", "x"]).json() == {"result": "OK"}
        answers = [ada.post("/", json=command).json(), ada.post("/redis/local", json=command).json(),
                   ada.post("/pipeline", json=[["GET", "ada:1"], command]).json()[1],
                   ada.post("/multi-exec", json=[["GET", "ada:1"], command]).json()]
        for answer in answers:
            assert any(word in answer["error"] for word in ("NOPERM", "EXECABORT")), answer


def test_what_shows_everybodys_keys_is_not_for_users(door: RunningDoor) -> None:
    with caller(door, ADA) as ada, caller(door, "the-admins-secret") as admin:
        for path in ("/page/clusters", "/page/feed?cluster=local", "/page/explain?cluster=local&key=theirs"):
            assert ada.get(path).status_code == 403, path
        assert admin.get("/page/clusters").status_code == 200
        assert ada.post("/", json=["CONFIG", "GET", "*"]).status_code == 403


def test_a_password_that_has_changed_is_read_again_when_the_settings_are(
        cluster: LocalCluster, door: RunningDoor, passwords: Path) -> None:
    with Cache(cluster.info) as admin, caller(door, READER) as reader:
        assert reader.get("/v1/local/keys/none").status_code == 404
        host, port = cluster.gateway_address
        with redis.Redis(host, port, password=SECRET) as shell:
            shell.execute_command("ACL", "DELUSER", "reader")
            shell.execute_command("ACL", "SETUSER", "reader", "on", ">another", "~*", "+@read", "+@connection")
        (passwords / "reader").write_text("another")
        admin.set("one", 1)
        inner: Any = door.door

        async def change() -> None:
            inner.change(inner.settings.but({"max_requests_per_s": 0}))

        asyncio.run_coroutine_threadsafe(change(), door.loop).result(10)
        assert reader.get("/v1/local/keys/one").status_code == 200
