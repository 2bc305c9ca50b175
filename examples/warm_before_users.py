"""Fill a new cluster from an access log and a database before its users come, then move to a larger one.

Run it:  python examples/warm_before_users.py
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import raycache


class Products:
    """Stand for a real database: whatever has `load_many` can be loaded from."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE product (id INTEGER PRIMARY KEY, name TEXT)")
            connection.executemany("INSERT INTO product VALUES (?, ?)", [(id, f"product {id}") for id in range(1000)])

    def load_many(self, keys: list[str]) -> dict[str, str]:
        ids = [int(key.removeprefix("product:")) for key in keys]
        marks = ", ".join("?" * len(ids))
        with closing(sqlite3.connect(self._path)) as connection:
            rows = connection.execute(f"SELECT id, name FROM product WHERE id IN ({marks})", ids)
            return {f"product:{id}": name for id, name in rows}

    def typical_query(self) -> None:
        """What other clients of the database do: how long it takes must stay within the bound."""
        self.load_many(["product:1"])


@contextmanager
def clusters(*names: str) -> Iterator[None]:
    for name in names:
        raycache.start(name, shards=1, memory="16MiB")
    try:
        yield
    finally:
        for name in names:
            raycache.stop(name)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, clusters("example-warm", "example-larger"):
        log = Path(folder) / "access.log"
        # Some products are asked for far more often than others.
        asked = [(number % 1000) ** 2 // 2000 for number in range(20_000)]
        log.write_text("".join(f'1.2.3.4 - - "GET /products/{id} HTTP/1.1" 200 512\n' for id in asked))
        products = Products(Path(folder) / "products.sqlite")

        hot = raycache.hot_keys([log], pattern=r'"GET /products/(\d+)', template="product:{}", top=200)
        print(f"{hot.lines} requests, the hottest is {hot.keys[0].key.decode()}")

        settings = raycache.WarmSettings(ttl_s=600, max_latency_ms=50)
        with raycache.connect("example-warm") as cache, raycache.connect("example-larger") as larger:
            report = raycache.warm(cache, [one.key for one in hot.keys], products, settings=settings,
                                   probe=products.typical_query)
            print(f"{report.loaded} loaded, {report.failed} failed: {report.end}")
            print(cache.get("product:7"))

            copied = raycache.warm_from(larger, cache, top=100)
            print(f"{copied.loaded} copied, hottest first")


if __name__ == "__main__":
    main()
