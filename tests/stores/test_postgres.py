"""The SQL store with a real PostgreSQL, and write-behind to it while its server is killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa

from raycache.client import Cache
from raycache.errors import StoreRefusedError, StoreUnavailableError
from raycache.stores import Attachment, StoreConfig, Write, WriterSettings
from raycache.stores.backed import BackedCache
from raycache.stores.sql import SqlStore
from raycache.testing.local import LocalCluster
from tests.stores.postgres import PASSWORD, Postgres
from tests.support import wait_until
from tests.unit.stores import sql_suite


@pytest.fixture
def store(postgres: Postgres) -> Iterator[SqlStore]:
    with psycopg.connect(postgres.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("drop table if exists raycache, raycache_versions, users, users_versions")
    store = SqlStore(postgres.url)
    yield store
    store.close()


def test_values_come_back_as_they_were(store: SqlStore) -> None:
    sql_suite.check_values(store)


def test_an_older_write_changes_nothing(store: SqlStore) -> None:
    sql_suite.check_versions(store)


def test_a_batch_is_written_whole_or_not_at_all(store: SqlStore) -> None:
    sql_suite.check_whole_or_not(store, Write("with\0zero", 1, 1))


def test_two_writers_do_not_mix(store: SqlStore, postgres: Postgres) -> None:
    other = SqlStore(postgres.url)
    store.load("a")  # it makes the tables
    sql_suite.check_two_at_once(store, other)
    other.close()


def test_a_table_that_is_there_already(store: SqlStore, postgres: Postgres) -> None:
    engine = sa.create_engine(postgres.url)
    sql_suite.check_own_table(engine, postgres.url)
    with engine.begin() as connection:
        connection.execute(sa.text("create table if not exists short (key varchar primary key, a varchar(3))"))
    short = SqlStore(postgres.url, table="short", columns=("a",))
    with pytest.raises(StoreRefusedError, match="too long"):
        short.store_many([Write("k", {"a": "four"}, 1)])
    with pytest.raises(StoreRefusedError):
        short.store_many([Write("k", {"a": {"no": "text"}}, 1)])
    short.close()
    engine.dispose()


def test_a_wrong_password_is_no_fault_of_the_value_and_is_not_shown(postgres: Postgres) -> None:
    wrong = SqlStore(postgres.url.replace(PASSWORD, "wrong-secret"))
    with pytest.raises(StoreUnavailableError) as caught:
        wrong.load("a")
    assert "wrong-secret" not in str(caught.value) + repr(wrong)
    wrong.close()


def test_a_server_that_is_killed_in_the_middle_of_batches_loses_nothing(store: SqlStore, postgres: Postgres) -> None:
    """Its processes are killed under load, twice; what was acknowledged is all there, each key with its last value."""
    config = StoreConfig(postgres.url)
    settings = WriterSettings(batch=50, flush_s=0.01, backoff_s=0.05, max_backoff_s=0.2)
    with LocalCluster(shards=3, copies=2, gateway=False) as cluster, Cache(cluster.info, timeout_s=20) as cache:
        attachment = cluster.attach_store(Attachment("db", config, "behind", read=False), settings)
        written: dict[str, int] = {}
        stop = threading.Event()

        def write() -> None:
            backed, number = BackedCache(cache, attachment), 0
            while not stop.is_set():
                number += 1
                backed.set(f"k{number % 300}", number)
                written[f"k{number % 300}"] = number

        thread = threading.Thread(target=write)
        thread.start()
        writer = cluster.writers["db"]
        for _ in range(2):
            before = writer.status()["batches"]
            wait_until(lambda before=before: writer.status()["batches"] > before + 3, 30)
            outages = writer.status()["outages"]
            postgres.kill()
            wait_until(lambda outages=outages: writer.status()["outages"] > outages, 30)
            postgres.start()
        stop.set()
        thread.join(30)
        wait_until(lambda: cache.stats().queued == 0, 30)
        assert store.load_many(list(written)) == written
        assert cache.stats().dead_letters == 0
        assert PASSWORD not in str(writer.status())
