"""A database behind the cache: reading through, and writes that it gets later, many at once.

Run it:  python examples/backing_store.py

Starts a cluster of its own (and Ray, where none runs) and makes a SQLite database in a temporary folder.
"""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import raycache

CLUSTER = "example-store"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "users.db"
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("create table users (id integer primary key, name text, visits integer)")
            database.execute("insert into users values (1, 'Ada', 0), (2, 'Grace', 0)")
        raycache.start(CLUSTER, shards=2, memory="64MiB", copies=2)
        try:
            count_visits(path)
        finally:
            raycache.stop(CLUSTER)


def count_visits(path: Path) -> None:
    """Read two rows through the cache, then count visits there; the database sees few of the writes."""
    raycache.attach_store(CLUSTER, "users", f"sqlite:///{path}", write="behind", table="users", key_column="id",
                          columns=("name", "visits"), key_prefix="user:")
    with raycache.connect(CLUSTER) as cache, raycache.backed(cache, "users", ttl=300) as users:
        print("read through:", users.get_many(["user:1", "user:2", "user:3"]))
        for visit in range(1, 501):
            users.set("user:1", {"name": "Ada", "visits": visit})  # acknowledged once two shards have it
        users.set("user:3", {"name": "Edith", "visits": 0})
        users.delete("user:2")
        print("in the cache at once:", users.get("user:1"), users.get("user:2"))
    raycache.detach_store(CLUSTER, "users")  # returns once all that waited is written
    with closing(sqlite3.connect(path)) as database:
        print("in the database:", database.execute("select * from users order by id").fetchall())


if __name__ == "__main__":
    main()
