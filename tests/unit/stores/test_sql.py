"""The SQL store with SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from raycache.errors import StoreRefusedError, StoreUnavailableError
from raycache.stores.protocol import ABSENT, BackingStore, Deletion, Write
from raycache.stores.sql import SqlStore
from tests.unit.stores import sql_suite


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/cache.db"


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    store = SqlStore(url)
    yield store
    store.close()


def test_it_is_a_backing_store(store: SqlStore) -> None:
    assert isinstance(store, BackingStore)


def test_values_come_back_as_they_were(store: SqlStore) -> None:
    sql_suite.check_values(store)


def test_an_older_write_changes_nothing(store: SqlStore) -> None:
    sql_suite.check_versions(store)


def test_a_batch_is_written_whole_or_not_at_all(store: SqlStore) -> None:
    sql_suite.check_whole_or_not(store, Write("bad", object(), 1))


def test_two_writers_do_not_mix(store: SqlStore, url: str) -> None:
    store.load("warm")  # both make the tables else
    sql_suite.check_two_at_once(store, SqlStore(url))


def test_a_table_that_is_there_already(url: str) -> None:
    engine = sa.create_engine(url)
    sql_suite.check_own_table(engine, url)
    engine.dispose()


def test_many_keys_are_read_in_pieces(store: SqlStore) -> None:
    store.store_many([Write(f"k{number}", number, 1) for number in range(2500)])
    assert len(store.load_many([f"k{number}" for number in range(3000)])) == 2500
    store.delete_many([Deletion(f"k{number}", 2) for number in range(2500)])
    assert store.load("k0") is ABSENT


def test_a_table_that_is_missing_is_no_fault_of_the_value(url: str) -> None:
    store = SqlStore(url, table="nobody", columns=("a",))
    with pytest.raises(StoreUnavailableError, match="nothing was changed"):
        store.store_many([Write("k", {"a": 1}, 1)])
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("create table nobody (key varchar primary key, a integer)"))
    store.store_many([Write("k", {"a": 1}, 1)])
    assert store.load("k") == {"a": 1}
    store.close()
    engine.dispose()


def test_a_place_that_cannot_be_opened_is_unavailable() -> None:
    with pytest.raises(StoreUnavailableError, match="cannot be used"):
        SqlStore("sqlite:////nowhere/at/all.db").load("a")


def test_what_the_driver_cannot_write_is_refused(url: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("create table t (key varchar primary key, a integer)"))
    store = SqlStore(url, table="t", columns=("a",))
    for value in ([1, 2], {1}, 1 << 70):
        with pytest.raises(StoreRefusedError):
            store.store_many([Write("k", {"a": value}, 1)])
    store.close()
    engine.dispose()
