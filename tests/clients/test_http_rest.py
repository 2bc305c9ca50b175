"""Plain REST on a real socket: what is kept, conditions, lifetimes, batches, limits, and errors as documents."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx
import msgpack
import numpy as np
import pytest

from raycache.client.sync import Cache
from raycache.testing.local import LocalCluster
from serve_app.settings import HttpSettings
from tests.clients.http_door import RunningDoor, http_door

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=2) as running:
        yield running


@pytest.fixture(scope="module")
def door(cluster: LocalCluster) -> Iterator[RunningDoor]:
    with http_door(cluster, HttpSettings(max_body_bytes=4 << 20, max_batch_keys=2000)) as running:
        yield running


@pytest.fixture(scope="module")
def client(door: RunningDoor) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=door.url, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def cache(cluster: LocalCluster) -> Iterator[Cache]:
    with Cache(cluster.info) as handle:
        yield handle


@pytest.fixture(scope="module")
def redis_client(cluster: LocalCluster):  # type: ignore[no-untyped-def]
    import redis

    host, port = cluster.gateway_address
    with redis.Redis(host, port) as client:
        yield client


@pytest.fixture(autouse=True)
def _empty(cache: Cache) -> None:
    cache.clear()


def key(name: str) -> str:
    return f"/v1/local/keys/{name}"


@pytest.mark.parametrize("media_type", ["image/png", "application/vnd.x+json; charset=utf-8; profile=\"a b\"",
                                        "text/html", "application/x-nobody-knows"])
def test_any_type_comes_back_and_the_others_see_the_bytes(client: httpx.Client, cache: Cache, redis_client,  # type: ignore[no-untyped-def]
                                                          media_type: str) -> None:
    body = b"\x00\xff some bytes OK"
    assert client.put(key("a"), content=body, headers={"Content-Type": media_type}).status_code == 201
    found = client.get(key("a"))
    assert (found.content, found.headers["content-type"]) == (body, media_type)
    assert cache.get("a") == body
    assert (redis_client.get("a"), redis_client.mget("a", "b"), redis_client.strlen("a")) == (body, [body, None],
                                                                                             len(body))
    assert redis_client.type("a") == b"string"
    assert redis_client.getrange("a", -2, -1) == b"OK"
    redis_client.append("a", "!")  # a plain string from here on, as with any other Python value
    found = client.get(key("a"))
    assert (found.content, found.headers["content-type"]) == (body + b"!", "application/octet-stream")


def test_keys_are_bytes_and_may_hold_slashes(client: httpx.Client, cache: Cache) -> None:
    client.put(key("a/b%20c%2Fd%FF%C3%A4%0A%0D%0A"), content=b"1")
    assert list(cache.scan(b"")) == [b"a/b c/d\xff\xc3\xa4\n\r\n"]
    assert client.get("/v1/local/%6Beys/a").status_code == 404
    cache.set("a", b"2")
    assert client.get("/v1/local/%6Beys/a").content == b"2"


def test_a_coding_is_kept(client: httpx.Client) -> None:
    import gzip

    client.put(key("z"), content=gzip.compress(b"text"), headers={"Content-Encoding": "gzip",
                                                                  "Content-Type": "text/plain"})
    found = client.get(key("z"))
    assert (found.headers["content-encoding"], found.text) == ("gzip", "text")


def test_a_lifetime_is_max_age_less_age(client: httpx.Client, cache: Cache) -> None:
    client.put(key("a"), content=b"1", headers={"Cache-Control": "public, max-age=60"})
    left_s = cache.ttl("a")
    assert left_s is not None
    assert 50 < left_s <= 60
    found = client.get(key("a"))
    assert (found.headers["cache-control"], found.headers["age"]) == ("max-age=60", "0")
    client.put(key("a"), content=b"2")
    assert "cache-control" not in client.get(key("a")).headers


def test_versions_are_compared(client: httpx.Client) -> None:
    first = client.put(key("a"), content=b"1").headers["etag"]
    assert client.get(key("a")).headers["etag"] == first
    unchanged = client.get(key("a"), headers={"If-None-Match": f'"5", W/{first}'})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", first)
    assert client.head(key("a"), headers={"If-None-Match": first}).status_code == 304
    second = client.put(key("a"), content=b"2", headers={"If-Match": first})
    assert second.status_code == 204
    assert client.put(key("a"), content=b"3", headers={"If-Match": first}).status_code == 412
    assert client.put(key("a"), content=b"3", headers={"If-Match": f'"1", {second.headers["etag"]}'}).status_code == 204
    assert client.put(key("a"), content=b"4", headers={"If-None-Match": "*"}).status_code == 412
    assert client.put(key("b"), content=b"4", headers={"If-None-Match": "*"}).status_code == 201
    assert client.put(key("c"), content=b"4", headers={"If-Match": "*"}).status_code == 412
    assert client.get(key("a"), headers={"If-None-Match": first}).content == b"3"
    assert client.get(key("a"), headers={"If-Match": first}).status_code == 412


def test_a_deletion_may_be_conditional(client: httpx.Client) -> None:
    old = client.put(key("a"), content=b"1").headers["etag"]
    new = client.put(key("a"), content=b"2").headers["etag"]
    assert client.delete(key("a"), headers={"If-Match": old}).status_code == 412
    assert client.get(key("a")).content == b"2"
    assert client.delete(key("a"), headers={"If-Match": f"{old}, {new}"}).status_code == 204
    assert client.delete(key("a")).status_code == 404


def test_of_many_who_compare_and_set_one_wins(door: RunningDoor, client: httpx.Client) -> None:
    etag = client.put(key("race"), content=b"0").headers["etag"]

    async def race() -> list[int]:
        async with httpx.AsyncClient(base_url=door.url, timeout=20) as racers:
            puts = [racers.put(key("race"), content=b"%d" % n, headers={"If-Match": etag}) for n in range(1, 21)]
            return [response.status_code for response in await asyncio.gather(*puts)]

    assert sorted(asyncio.run(race())) == [204] + [412] * 19


def test_head_says_what_get_would(client: httpx.Client) -> None:
    client.put(key("a"), content=b"12345", headers={"Content-Type": "text/plain"})
    looked, got = client.head(key("a")), client.get(key("a"))
    names = ("etag", "content-type", "content-length")
    assert [looked.headers[name] for name in names] == [got.headers[name] for name in names]
    assert looked.content == b""


def test_python_values_are_shown(client: httpx.Client, cache: Cache) -> None:
    cache.set("text", "ä")
    cache.set("number", 7)
    cache.set("json", {"a": [1, None]})
    cache.set("set", {1})
    cache.set("array", np.arange(3))
    cache.get_or_load("loaded", lambda: {"b": 2}, tags=["t"])
    assert client.get(key("text")).text == "ä"
    assert client.get(key("number")).text == "7"
    assert client.get(key("json")).json() == {"a": [1, None]}
    assert client.get(key("loaded")).json() == {"b": 2}
    found = client.get(key("json"), headers={"Accept": "application/msgpack"})
    assert (msgpack.unpackb(found.content), found.headers["content-type"]) == ({"a": [1, None]}, "application/msgpack")
    assert client.get(key("set")).headers["content-type"] == "application/msgpack"
    assert client.get(key("array")).headers["content-type"] == "application/x-npy"
    cache.invalidate_tags("t")
    assert client.get(key("loaded")).status_code == 404


def test_a_large_value_goes_in_and_out_in_pieces(door: RunningDoor, client: httpx.Client) -> None:
    body = bytes(range(256)) * 8192  # 2 MiB

    def pieces() -> Iterator[bytes]:  # no Content-Length: chunked
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    assert client.put(key("large"), content=pieces()).status_code == 201
    with client.stream("GET", key("large")) as response:
        assert response.headers["content-length"] == str(len(body))
        assert b"".join(response.iter_raw()) == body
    assert door.door.admission.held_bytes == 0


def test_batches_in_both_forms(client: httpx.Client, cache: Cache) -> None:
    cache.set("there", {"x": 1})
    done = client.post("/v1/local/batch", json={
        "set": [{"key": "a", "value": "1"}, {"key": "b", "base64": "/w==", "ttl": 60},
                {"key": "c", "value": "<p>", "content_type": "text/html"}],
        "delete": ["nobody"], "get": ["c", "b", "a", "none", "there"]})
    assert done.json() == {"stored": 3, "deleted": 0, "values": [
        {"value": "<p>", "content_type": "text/html"}, {"base64": "/w=="}, {"value": "1"}, None,
        {"value": '{"x": 1}', "content_type": "application/json"}]}
    assert (cache.get("a"), cache.get("c")) == (b"1", b"<p>")
    left_s = cache.ttl("b")
    assert left_s is not None
    assert left_s <= 60
    packed = client.post("/v1/local/batch", content=msgpack.packb({"get": [b"b"], "delete": ["a"]}),
                         headers={"Content-Type": "application/msgpack"})
    assert msgpack.unpackb(packed.content) == {"stored": 0, "deleted": 1, "values": [{"value": b"\xff"}]}
    mixed = client.post("/v1/local/batch", json={"get": ["b"]}, headers={"Accept": "application/msgpack"})
    assert msgpack.unpackb(mixed.content)["values"] == [{"value": b"\xff"}]


def test_invalidation_by_key_tag_and_prefix(client: httpx.Client, cache: Cache) -> None:
    cache.set_many({"user:1": 1, "user:2": 2, "other": 3})
    cache.get_or_load("tagged", lambda: 1, tags=["t"])
    done = client.post("/v1/local/invalidate", json={"keys": ["other"], "tags": ["t"], "prefixes": ["user:"]})
    assert done.json() == {"deleted": 3, "tags": 1}
    assert cache.get_many(["user:1", "user:2", "other", "tagged"]) == {}


@pytest.mark.parametrize(("method", "path", "options", "status"), [
    ("GET", "/v1/local/keys/none", {}, 404),
    ("GET", "/v1/nobody/keys/a", {}, 404),
    ("GET", "/nowhere", {}, 404),
    ("POST", "/v1/local/keys/a", {}, 405),
    ("GET", "/v1/local/batch", {}, 405),
    ("PUT", "/v1/local/keys/a", {"headers": {"Cache-Control": "max-age=0"}}, 422),
    ("PUT", "/v1/local/keys/a", {"headers": {"If-Match": "nonsense"}}, 412),
    ("PUT", "/v1/local/keys/a", {"content": bytes(4 << 20) + b"1"}, 413),
    ("GET", "/v1/local/keys/" + "k" * 5000, {}, 414),
    ("POST", "/v1/local/batch", {"content": b"{"}, 422),
    ("POST", "/v1/local/batch", {"json": {"get": [""]}}, 422),
    ("POST", "/v1/local/batch", {"json": {"get": ["a"] * 2001}}, 413),
    ("POST", "/v1/local/batch", {"json": {"get": [], "what": 1}}, 422),
    ("POST", "/v1/local/batch", {"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415),
    ("POST", "/v1/local/batch", {"json": {"get": []}, "headers": {"Accept": "image/png"}}, 406),
    ("POST", "/v1/local/invalidate", {"json": {"prefixes": [""]}}, 422),
])
def test_every_error_is_a_problem_document(client: httpx.Client, method: str, path: str, options: dict[str, object],
                                           status: int) -> None:
    answer = client.request(method, path, **options)  # type: ignore[arg-type]
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    document = answer.json()
    assert document["status"] == status
    assert {"type", "title", "detail"} < document.keys()
    if status == 405:
        assert answer.headers["allow"]


def test_a_body_that_lies_about_its_length_is_cut_off(client: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(1 << 20)

    try:
        answer = client.put(key("a"), content=endless())
    except httpx.HTTPError:  # the door has closed while we were still sending
        return
    assert answer.status_code == 413


def test_a_bug_shows_nothing_of_itself(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.rest.keys.etag", lambda version: 1 / 0)
    client.put(key("a"), content=b"1")
    answer = client.get(key("a"))
    assert (answer.status_code, answer.headers["content-type"]) == (500, PROBLEM)
    assert "division" not in answer.text


def test_a_shard_that_stands_still_ends_with_the_deadline(cluster: LocalCluster) -> None:
    with http_door(cluster, HttpSettings(deadline_s=30)) as door, httpx.Client(base_url=door.url, timeout=20) as client:
        client.put(key("a"), content=b"1")
        for shard in range(2):
            cluster.pause(shard)
        try:
            answer = client.get(key("a"), headers={"Prefer": "wait=0.3"})
            assert answer.status_code == 504
            assert answer.json()["type"].endswith(":deadline")
            ready = client.get("/ready?cluster=local")
            assert (ready.status_code, client.get("/health").status_code) == (503, 200)
        finally:
            for shard in range(2):
                cluster.resume(shard)
        assert client.get(key("a")).content == b"1"
        assert client.get("/ready").json() == {"status": "ready", "clusters": {"local": "ready"}}


def test_limits_answer_429(cluster: LocalCluster) -> None:
    settings = HttpSettings(max_requests_per_s=2, max_concurrent_requests=2)
    with http_door(cluster, settings) as door, httpx.Client(base_url=door.url, timeout=20) as client:
        answers = [client.get(key("none")) for _ in range(4)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        door.door.admission.requests += 2  # as many as may be
        try:
            assert client.get("/health").json()["title"] == "Too many requests"
        finally:
            door.door.admission.requests -= 2


def test_tokens_roles_and_clusters(cluster: LocalCluster) -> None:
    settings = HttpSettings.from_mapping({"tokens": [
        {"name": "r", "token": "reader-token-0123"}, {"name": "w", "token": "writer-token-0123", "role": "writer"},
        {"name": "elsewhere", "token": "other-token-01234", "role": "writer", "clusters": ["other"]}]})
    with http_door(cluster, settings) as door, httpx.Client(base_url=door.url, timeout=20) as client:
        def put(token: str | None) -> int:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return client.put(key("a"), content=b"1", headers=headers).status_code

        assert [put(token) for token in (None, "wrong", "reader-token-0123", "other-token-01234", "writer-token-0123")
                ] == [401, 401, 403, 403, 201]
        reader = {"Authorization": "Bearer reader-token-0123"}
        assert client.get(key("a"), headers=reader).content == b"1"
        assert client.post("/v1/local/batch", json={"delete": ["a"]}, headers=reader).status_code == 403
        assert client.post("/v1/local/batch", json={"get": ["a"]}, headers=reader).status_code == 200
        assert client.get("/health").status_code == 200
        challenge = client.get(key("a"))
        assert (challenge.headers["content-type"], challenge.headers["www-authenticate"][:6]) == (PROBLEM, "Bearer")


def test_a_clusters_secret_may_be_a_token() -> None:
    with LocalCluster(shards=1, secret="the-secret-of-it") as cluster, http_door(
            cluster, HttpSettings(accept_secrets=True)) as door, httpx.Client(base_url=door.url) as client:
        right = {"Authorization": "Bearer the-secret-of-it"}
        assert client.put(key("a"), content=b"1", headers=right).status_code == 201
        assert client.get(key("a"), headers={"Authorization": "Bearer the-secret-of-xx"}).status_code == 401
        assert client.get("/v1/nobody/keys/a", headers=right).status_code == 401
        assert client.post("/", json=["GET", "a"], headers=right).json() == {"result": "1"}


def test_browsers_of_other_origins_are_let_in_only_by_name(cluster: LocalCluster) -> None:
    with http_door(cluster, HttpSettings(cors_origins=("https://a.example",))) as door, httpx.Client(
            base_url=door.url) as client:
        asked = {"Access-Control-Request-Method": "PUT"}
        allowed = client.options(key("a"), headers={"Origin": "https://a.example", **asked})
        assert allowed.headers["access-control-allow-origin"] == "https://a.example"
        refused = client.options(key("a"), headers={"Origin": "https://b.example", **asked})
        assert "access-control-allow-origin" not in refused.headers


def test_the_description_names_every_route(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) >= {"/v1/{cluster}/keys/{key}", "/v1/{cluster}/batch", "/v1/{cluster}/invalidate",
                                       "/", "/pipeline", "/multi-exec", "/health", "/ready"}
    assert json.dumps(described)
