"""What an SQL store promises, for whichever database it is: used with SQLite and with a real PostgreSQL."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from raycache.errors import StoreRefusedError
from raycache.stores.protocol import ABSENT, Deletion, Write
from raycache.stores.sql import SqlStore

VALUES: list[Any] = [None, True, 7, 1.5, "täxt", b"\0\xff", [1, (2, 3)], {"a": {1, 2}}]


def check_values(store: SqlStore) -> None:
    """Every value comes back as it was; a stored None is no absence."""
    store.store_many([Write(f"v{number}", value) for number, value in enumerate(VALUES)])
    store.store_many([Write("array", np.arange(5))])
    for number, value in enumerate(VALUES):
        assert store.load(f"v{number}") == value
    assert store.load("array").tolist() == [0, 1, 2, 3, 4]
    assert store.load("nobody") is ABSENT
    assert store.load_many(["v1", "nobody", "v2"]) == {"v1": True, "v2": 7}


def check_versions(store: SqlStore) -> None:
    """An older write or deletion changes nothing, however often it comes, and whatever came between."""
    store.store_many([Write("a", "two", 2), Write("b", "one", 1)])
    store.store_many([Write("a", "one", 1), Write("b", "two", 2)])
    assert store.load_many(["a", "b"]) == {"a": "two", "b": "two"}
    store.delete_many([Deletion("a", 1), Deletion("b", 3)])
    assert store.load_many(["a", "b"]) == {"a": "two"}
    store.store_many([Write("b", "one", 1), Write("b2", "x", 1)])
    assert store.load("b") is ABSENT, "an old write does not bring back what was deleted"
    store.store_many([Write("b", "four", 4)])
    store.store_many([Write("b", "other", 4)])
    assert store.load("b") == "four"
    store.store_many([Write("a", "now")])
    assert store.load("a") == "now", "a write without a version counts, whatever was before"
    store.store_many([Write("a", "old", 3)])
    assert store.load("a") == "now"
    store.delete_many([Deletion("a")])
    assert store.load("a") is ABSENT


def check_whole_or_not(store: SqlStore, bad: Write) -> None:
    """One write that is refused takes all of its batch with it."""
    with pytest.raises(StoreRefusedError):
        store.store_many([Write("g1", 1, 1), bad, Write("g2", 2, 1)])
    assert store.load_many(["g1", "g2"]) == {}
    store.store_many([Write("g1", 1, 1), Write("g2", 2, 1)])
    assert store.load_many(["g1", "g2"]) == {"g1": 1, "g2": 2}, "the versions have not been raised either"


def check_two_at_once(store: SqlStore, other: SqlStore) -> None:
    """Writers that do not know of each other: the larger version wins for every key, without a deadlock."""
    failures: list[Exception] = []

    def write(target: SqlStore, versions: range) -> None:
        try:
            for version in versions:
                target.store_many([Write(f"t{key}", version, version) for key in range(20)])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(store, range(1, 40, 2))),
               threading.Thread(target=write, args=(other, range(2, 41, 2)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert set(store.load_many([f"t{key}" for key in range(20)]).values()) == {40}


def check_own_table(engine: sa.Engine, url: str) -> None:
    """Columns of a table that is there already, with numbers for keys."""
    with engine.begin() as connection:
        connection.execute(sa.text("create table users (id integer primary key, name varchar(20) not null, "
                                   "age integer)"))
        connection.execute(sa.text("insert into users values (1, 'Ada', 36), (2, 'Bob', null)"))
    store = SqlStore(url, table="users", key_column="id", columns=("name", "age"), key_prefix="user:")
    assert store.load_many(["user:1", "user:2", "user:3"]) == {
        "user:1": {"name": "Ada", "age": 36}, "user:2": {"name": "Bob", "age": None}}
    store.store_many([Write("user:1", {"name": "Ada", "age": 37}, 5), Write("user:3", {"name": "Eve"}, 5)])
    store.delete_many([Deletion("user:2", 5)])
    with engine.begin() as connection:
        rows = connection.execute(sa.text("select * from users order by id")).fetchall()
    assert [tuple(row) for row in rows] == [(1, "Ada", 37), (3, "Eve", None)]
    for bad in (Write("user:x", {"name": "n"}, 1), Write("other:1", {"name": "n"}, 1), Write("user:4", "text", 1),
                Write("user:04", {"name": "n"}, 1), Write("user:4", {"shoe": 1}, 1), Write("user:4", {"age": 1}, 1)):
        with pytest.raises(StoreRefusedError):
            store.store_many([bad])
    assert store.forget_versions(-1e6) >= 1
    store.close()
