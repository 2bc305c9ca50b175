"""The public SDKs of serverless Redis, unchanged, on the HTTP door: upstash-redis (PyPI) and @upstash/redis (npm)."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from upstash_redis import Redis
from upstash_redis.asyncio import Redis as AsyncRedis
from upstash_redis.errors import UpstashError

from raycache.testing.local import LocalCluster
from serve_app.settings import HttpSettings
from tests.clients.http_door import RunningDoor, http_door

VERSION = "1.35.3"
"""Pinned, so that a new release cannot break an old commit."""
TOKEN = "a-token-of-a-writer"
SETTINGS = HttpSettings.from_mapping({"tokens": [
    {"name": "sdk", "token": TOKEN, "role": "writer"}, {"name": "reader", "token": "a-token-of-a-reader"}]})

SCRIPT = """
const { Redis } = require("@upstash/redis");
const [url, token] = process.argv.slice(1);
(async () => {
  const redis = new Redis({ url, token, enableTelemetry: false });
  await redis.flushall();
  const set = await redis.set("user", { name: "Ada", letters: "äß" }, { ex: 100 });
  const values = await Promise.all([redis.get("user"), redis.incr("n"), redis.get("none")]);  // pipelined by itself
  const pipeline = redis.pipeline();
  pipeline.set("a", "1"); pipeline.get("a"); pipeline.mget("a", "none", "user");
  const many = await pipeline.exec();
  const transaction = redis.multi();
  transaction.set("{t}a", 5); transaction.incrby("{t}a", 2);
  const both = await transaction.exec();
  const plain = new Redis({ url, token, responseEncoding: false, enableAutoPipelining: false });
  let [cursor, found] = ["0", []];
  do { const step = await redis.scan(cursor, { match: "*" }); cursor = String(step[0]); found.push(...step[1]); }
  while (cursor !== "0");
  const error = await plain.lpush("a", 1).catch((error) => error.message);
  const denied = await new Redis({ url, token: "wrong", retry: false }).get("a").catch((error) => error.message);
  console.log(JSON.stringify({ set, values, many, both, ttl: await redis.ttl("user") > 90, found: new Set(found).size,
    text: await plain.get("a"), ping: await redis.ping(), size: await redis.dbsize(), type: await redis.type("a"),
    error: error.includes("unknown command"), denied: denied.includes("Unauthorized") }));
})().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=3) as running:
        yield running


@pytest.fixture(scope="module")
def door(cluster: LocalCluster) -> Iterator[RunningDoor]:
    with http_door(cluster, SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def modules() -> Path:
    """Return a folder with the SDK in it, installed once per version and machine."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed; Debian has them in nodejs and npm")
    folder = Path(tempfile.gettempdir()) / f"raycache-upstash-{VERSION}"
    if not (folder / "node_modules" / "@upstash" / "redis" / "package.json").exists():
        folder.mkdir(exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"@upstash/redis@{VERSION}"]
        installed = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        if installed.returncode:
            pytest.skip(f"npm cannot install @upstash/redis here: {installed.stderr.strip().splitlines()[-1:]}")
    return folder


@pytest.mark.parametrize("encoding", ["base64", None])
def test_upstash_redis_for_python(door: RunningDoor, encoding: str | None) -> None:
    with Redis(url=door.url, token=TOKEN, rest_encoding=encoding, rest_retries=0) as redis:  # type: ignore[arg-type]
        redis.flushall()
        assert redis.set("a", "ä OK", ex=100)
        assert (redis.get("a"), redis.get("none"), redis.strlen("a")) == ("ä OK", None, 5)
        assert 90 < redis.ttl("a") <= 100
        assert not redis.set("a", "other", nx=True)
        assert redis.mset({"b": "1", "c": "2"})
        assert redis.mget("b", "none", "c") == ["1", None, "2"]
        assert (redis.incr("b"), redis.incrbyfloat("c", 0.5), redis.exists("a", "b", "none")) == (2, 2.5, 2)
        assert sorted(redis.keys("*")) == ["a", "b", "c"]
        assert (redis.ping(), redis.echo("OK"), redis.type("a"), redis.dbsize()) == ("PONG", "OK", "string", 3)
        assert redis.delete("a", "b") == 2
        with pytest.raises(UpstashError, match="unknown command"):
            redis.lpush("list", "1")


def test_its_pipelines_and_transactions(door: RunningDoor) -> None:
    with Redis(url=door.url, token=TOKEN, rest_retries=0) as redis:
        pipeline = redis.pipeline()
        pipeline.set("{t}a", 1).incr("{t}a").get("{t}a").get("none")
        assert pipeline.exec() == [True, 2, "2", None]
        transaction = redis.multi()
        transaction.set("{t}b", 1).incr("{t}b")
        assert transaction.exec() == [True, 2]


async def test_its_asyncio_client(door: RunningDoor) -> None:
    async with AsyncRedis(url=door.url, token=TOKEN, rest_retries=0) as redis:
        assert await redis.set("async", "1")
        assert await redis.get("async") == "1"


def test_tokens_of_readers_cannot_write(door: RunningDoor) -> None:
    with Redis(url=door.url, token="a-token-of-a-reader", rest_retries=0) as redis:
        assert redis.get("none") is None
        with pytest.raises(UpstashError, match="role writer"):
            redis.set("a", "1")
    with Redis(url=door.url, token="wrong", rest_retries=0) as redis, pytest.raises(UpstashError, match="Unauthorized"):
        redis.get("a")


def test_upstash_redis_for_javascript(door: RunningDoor, modules: Path) -> None:
    command = ["node", "-e", SCRIPT, "--", door.url, TOKEN]
    done = subprocess.run(command, cwd=modules, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    user = {"name": "Ada", "letters": "äß"}
    assert json.loads(done.stdout) == {
        "set": "OK", "values": [user, 1, None], "many": ["OK", 1, [1, None, user]], "both": ["OK", 7],
        "ttl": True, "found": 4, "text": 1, "ping": "PONG", "size": 4, "type": "string", "error": True, "denied": True}


def test_the_convention_by_hand(door: RunningDoor, cluster: LocalCluster) -> None:
    with httpx.Client(base_url=door.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20) as client:
        assert client.get("/set/a%2Fb/x%20y/EX/100").json() == {"result": "OK"}
        assert client.get("/get/a%2Fb").json() == {"result": "x y"}
        assert client.post("/set/body?EX=100&NX", content=b"\xff\x00").json() == {"result": "OK"}
        in_base64 = client.get("/get/body", headers={"Upstash-Encoding": "base64"})
        assert in_base64.json() == {"result": "/wA="}
        wrong = client.post("/", json=["INCR", "body"])
        assert (wrong.status_code, list(wrong.json())) == (400, ["error"])
        mixed = client.post("/pipeline", json=[["GET", "none"], ["NOSUCH"], ["MULTI"], ["ECHO", 1.5]])
        assert [list(answer) for answer in mixed.json()] == [["result"], ["error"], ["error"], ["result"]]
        aborted = client.post("/multi-exec", json=[["SET", "{x}a", "1"], ["NOSUCH"]])
        assert (aborted.status_code, aborted.json()["error"][:9]) == (400, "EXECABORT")
        assert client.get("/get/%7Bx%7Da").json() == {"result": None}
        assert client.post("/redis/local/pipeline", json=[["PING"]]).json() == [{"result": "PONG"}]
        assert client.post("/redis/nobody", json=["PING"]).status_code == 404
        assert client.post("/", content=b"{").json()["error"].startswith("ERR failed to parse")
        assert client.post("/", json=["CONFIG", "SET", "proto-max-bulk-len", "1mb"]).status_code == 403
        assert client.post("/", json=["RC.STATS"]).status_code == 400
