"""Loading through the cache: eight tasks miss one key at once, and the database is asked once.

Run it:  python examples/loading.py
"""

from __future__ import annotations

import time
from typing import Any

import ray

import raycache

ROWS = {"user:1": {"name": "Ada", "visits": 1}}


@ray.remote(num_cpus=0)
class Database:
    """Slow, and counts its reads."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self, key: str) -> dict[str, Any]:
        self.reads += 1
        time.sleep(0.2)
        return ROWS[key]

    def count(self) -> int:
        return self.reads


@ray.remote(num_cpus=0)
def visit(cache: raycache.Cache, database: Any) -> str:
    row = cache.get_or_load("user:1", lambda: ray.get(database.read.remote("user:1")), ttl=60, tags=["users"])
    cache.update("visits", lambda old: old + 1, default=0)
    return str(row["name"])


def main() -> None:
    raycache.start("example-loading", shards=2, memory="16MiB")
    try:
        cache = raycache.connect("example-loading")
        database = Database.remote()  # type: ignore[attr-defined]
        names = ray.get([visit.remote(cache, database) for _ in range(8)])
        print(f"{len(names)} visits by {names[0]}, {ray.get(database.count.remote())} read of the database")
        print(f"visits counted: {cache.get('visits')}")

        with cache.invalidating("user:1", tags=["users"]):
            pass  # change the database here
        print(f"after the change: {cache.get('user:1')}")
    finally:
        raycache.stop("example-loading")


if __name__ == "__main__":
    main()
