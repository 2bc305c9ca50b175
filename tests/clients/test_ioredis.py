"""ioredis, the driver of most Node programs, on the gateway and on the cluster ports. Needs node and npm."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from raycache.testing.local import LocalCluster

VERSION = "5.8.2"
"""Pinned, so that a new release cannot break an old commit."""
SECRET = "a-secret"

STANDALONE = """
const Redis = require("ioredis");
const [host, port, password] = process.argv.slice(1);
(async () => {
  const redis = new Redis({host, port, password});
  await redis.flushall();
  const names = Array.from({length: 50}, (_, n) => `name:${n}`);
  await redis.mset(Object.fromEntries(names.map((name) => [name, name])));
  const scanned = [];
  for await (const keys of redis.scanStream({match: "name:*", count: 5})) scanned.push(...keys);
  const multi = await redis.multi().set("a", 1).incr("b").mget("name:1", "name:2").exec();
  const pipeline = await redis.pipeline().get("name:3").del("name:4", "name:5").exec();
  const info = await redis.info();
  console.log(JSON.stringify({
    mget: await redis.mget("name:0", "none", "name:49"), scanned: new Set(scanned).size, multi, pipeline,
    size: await redis.dbsize(), ready: /loading:0/.test(info),
    error: await redis.call("NOSUCH").catch((error) => error.message.slice(0, 19)),
  }));
  redis.disconnect();
})().catch((error) => { console.error(error); process.exit(1); });
"""

CLUSTERED = """
const Redis = require("ioredis");
const [host, port, password] = process.argv.slice(1);
(async () => {
  const redis = new Redis.Cluster([{host, port}], {redisOptions: {password}});
  const names = Array.from({length: 50}, (_, n) => `name:${n}`);
  await Promise.all(names.map((name) => redis.set(name, name)));
  const values = await Promise.all(names.map((name) => redis.get(name)));
  const same = values.every((value, n) => value === names[n]);
  console.log(JSON.stringify({same, nodes: redis.nodes("master").length}));
  redis.disconnect();
})().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture(scope="module")
def modules() -> Path:
    """Return a folder with ioredis in it, installed once per version and machine."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed; Debian has them in nodejs and npm")
    folder = Path(tempfile.gettempdir()) / f"raycache-ioredis-{VERSION}"
    if not (folder / "node_modules" / "ioredis" / "package.json").exists():
        folder.mkdir(exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), f"ioredis@{VERSION}"]
        installed = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        if installed.returncode:
            pytest.skip(f"npm cannot install ioredis here: {installed.stderr.strip().splitlines()[-1:]}")
    return folder


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=3, secret=SECRET) as running:
        yield running


def run(modules: Path, script: str, address: tuple[str, int]) -> dict[str, object]:
    command = ["node", "-e", script, "--", address[0], str(address[1]), SECRET]
    done = subprocess.run(command, cwd=modules, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_ioredis_on_the_gateway(modules: Path, cluster: LocalCluster) -> None:
    assert run(modules, STANDALONE, cluster.gateway_address) == {
        "mget": ["name:0", None, "name:49"],
        "scanned": 50,
        "ready": True,
        "size": 50,
        "error": "ERR unknown command",
        "multi": [[None, "OK"], [None, 1], [None, ["name:1", "name:2"]]],
        "pipeline": [[None, "name:3"], [None, 2]],
    }


def test_ioredis_cluster_on_a_shard(modules: Path, cluster: LocalCluster) -> None:
    assert run(modules, CLUSTERED, cluster.addresses[0]) == {"same": True, "nodes": 3}
