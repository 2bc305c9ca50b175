"""Every example runs as its first lines say, with no argument, and leaves no cluster behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import raycache

pytestmark = pytest.mark.ray

FOLDER = Path(__file__).parents[2] / "examples"

PRINTED = {
    "async_handle": ["1000 prices read, 49950000 cents in all", "unknown item: not for sale", "seconds to live: 60"],
    "backing_store": [
        "read through: {'user:1': {'name': 'Ada', 'visits': 0}, 'user:2': {'name': 'Grace', 'visits': 0}}",
        "in the cache at once: {'name': 'Ada', 'visits': 500} None",
        "in the database: [(1, 'Ada', 500), (3, 'Edith', 0)]",
    ],
    "cached_functions": [
        "totals: [75]",
        "the key: shop.price:item='apple', its value: 30",
        "calls: 24, loads: 3",
        "after the invalidation, here: 1 load, 1 hit",
    ],
    "counters": [
        "visits: 300",
        "winner: bidder 4",
        "requests: [True, True, True, False, False]",
        "first: [True, False]",
    ],
    "django_cache": [
        "user: {'name': 'Ada', 'groups': ['staff']}",
        "many: [('a', 1), ('b', 2), ('c', 3)]",
        "computed once: 42, 42",
        "visits: 11",
        "added again: False",
    ],
    "loading": ["8 visits by Ada, 1 read of the database", "visits counted: 8", "after the change: None"],
    "ray_job": ["300 embeddings used, 140 computed", "hit ratio 53%"],
    "redis_client": [
        "session: logged in, 1800 s left",
        "colours: red, green, blue",
        "views: [1, 2, 1]",
        "the same entry in Python: b'logged in'",
    ],
    "warm_before_users": [
        "20000 requests, the hottest is product:0",
        "200 loaded, 0 failed: done",
        "product 7",
        "100 copied, hottest first",
    ],
    "redis_cluster_client": ["300 items on 3 shards", "item:42 is 'value 42'", "cart: ['3', '5']"],
}


def test_every_example_is_run() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(PRINTED)


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_example(ray_cluster: str, name: str) -> None:
    # RAY_ADDRESS, which the fixture sets, makes it attach instead of spending seconds on a Ray of its own.
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py")], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    for words in PRINTED[name]:
        assert words in done.stdout
    assert [cluster for cluster in raycache.clusters() if cluster.startswith("example-")] == []
