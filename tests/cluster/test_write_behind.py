"""Write-behind on real Ray with a real PostgreSQL: processes end by SIGKILL under load, and no acknowledged write is
lost or overtaken."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

import raycache
from raycache.actors import stores
from raycache.errors import ClusterNotFoundError, RayCacheError, StoreNotDrainedError
from raycache.stores.sql import SqlStore
from tests.cluster.whole import is_whole
from tests.stores.postgres import PASSWORD, Postgres
from tests.support import wait_until

pytestmark = pytest.mark.ray

Start = Callable[..., raycache.ClusterStatus]

QUICK = raycache.WriterSettings(batch=50, flush_s=0.01, backoff_s=0.05, max_backoff_s=0.3)
# Every change of a row, in the order in which the database made it: what shows that no key went back.
HISTORY = """
create table history (at bigserial, key text, version bigint);
create function note() returns trigger as
  'begin insert into history (key, version) values (new.key, new.version); return new; end' language plpgsql;
create trigger noting after insert or update on raycache_versions for each row execute function note();
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@pytest.fixture
def store(postgres: Postgres) -> Iterator[SqlStore]:
    with connected(postgres) as connection:
        connection.execute("drop table if exists raycache, raycache_versions, history cascade")
        connection.execute("drop function if exists note cascade")
        store = SqlStore(postgres.url)
        store.load("nothing")  # it makes the tables
        connection.execute(HISTORY)
    yield store
    store.close()


def connected(postgres: Postgres) -> Any:
    return psycopg.connect(postgres.url.replace("+psycopg", ""), autocommit=True)


def kill_shard(name: str, shard_id: str) -> None:
    import ray

    from raycache.actors import calls

    os.kill(ray.get(calls.find_shard(name, shard_id).report.remote())["pid"], signal.SIGKILL)


class Writing(threading.Thread):
    """Writes keys of its own in turn, each time another value, and remembers what was acknowledged."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(daemon=True)
        self._name, self._number = name, number
        self.acknowledged: dict[str, int] = {}
        self.count = 0
        self.trouble: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        with raycache.connect(self._name, timeout_s=30) as cache:
            backed = raycache.backed(cache, "orders")
            while not self.ended.is_set():
                key = f"w{self._number}:{self.count % 100}"
                self.count += 1
                try:
                    backed.set(key, self.count)
                    self.acknowledged[key] = self.count
                except RayCacheError as error:
                    self.trouble.append(repr(error))

    def goes_on(self) -> None:
        goal = self.count + 100
        wait_until(lambda: self.count > goal, 60)


@pytest.mark.timeout(240)
def test_any_one_process_is_killed_and_no_acknowledged_write_is_lost(
    start: Start, cluster_name: str, postgres: Postgres, store: SqlStore
) -> None:
    start(copies=2)
    raycache.attach_store(cluster_name, "orders", postgres.url, write="behind", writer=QUICK)
    threads = [Writing(cluster_name, number) for number in range(3)]
    for thread in threads:
        thread.start()

    def all_go_on() -> None:
        for thread in threads:
            thread.goes_on()

    all_go_on()
    kill_shard(cluster_name, "s1")
    all_go_on()
    wait_until(is_whole(cluster_name), 60, "one at a time: what both owners of a slot had would be gone")
    os.kill(stores.store_status(cluster_name, "orders")["pid"], signal.SIGKILL)
    all_go_on()
    postgres.kill()
    all_go_on()
    with raycache.connect(cluster_name) as cache:
        assert cache.stats().queued > 100, "the database is away"
        kill_shard(cluster_name, "s2")  # while all of it waits in the shards alone
        all_go_on()
        postgres.start()
        for thread in threads:
            thread.ended.set()
        for thread in threads:
            thread.join(60)
        # Not "nothing waits": a shard that starts again says nothing yet, and slots are on their way to it.
        raycache.detach_store(cluster_name, "orders", drain_timeout_s=60)
        wait_until(lambda: cache.stats().queued == 0, 60)
        assert cache.stats().dead_letters == 0
    acknowledged = {key: value for thread in threads for key, value in thread.acknowledged.items()}
    assert [thread.trouble for thread in threads] == [[], [], []]
    assert len(acknowledged) == 300
    assert store.load_many(list(acknowledged)) == acknowledged
    with connected(postgres) as connection:
        rows = connection.execute("select key, version from history order by at").fetchall()
    last: dict[str, int] = {}
    for key, version in rows:
        assert version > last.get(key, 0), "no key goes back"
        last[key] = version
    with pytest.raises(ClusterNotFoundError, match="no store"):
        raycache.detach_store(cluster_name, "orders")


def raycache_command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "raycache.cli.main", *words], capture_output=True, text=True,
                          check=False, env={**os.environ, **environment})


@pytest.mark.timeout(240)
def test_stopping_writes_all_that_waits_first(
    start: Start, cluster_name: str, postgres: Postgres, store: SqlStore
) -> None:
    start()
    done = raycache_command("attach", cluster_name, "orders", "--url-env", "DATABASE", "--write", "behind",
                            DATABASE=postgres.url)
    assert done.returncode == 0, done.stderr
    with raycache.connect(cluster_name) as cache:
        backed = raycache.backed(cache, "orders")
        postgres.kill()
        backed.set_many({f"k{number}": number for number in range(2000)})
        status = raycache.status(cluster_name)
        assert (status.queued, status.dead_letters) == (2000, 0)
        wait_until(lambda: stores.store_status(cluster_name, "orders").get("last_error"), 30)
        shown = raycache_command("stores", cluster_name)
        assert "2,000 writes wait" in shown.stdout
        assert "waiting for the database" in shown.stdout
        assert PASSWORD not in shown.stdout + str(stores.store_status(cluster_name, "orders")) + done.stdout
        refused = raycache_command("down", cluster_name, "--drain-timeout", "0.3")
        assert refused.returncode == 1
        assert "acknowledged writes still wait" in refused.stderr
        assert PASSWORD not in refused.stderr
        with pytest.raises(StoreNotDrainedError):
            raycache.stop(cluster_name, drain_timeout_s=0.1)
        postgres.start()
        wait_until(lambda: _takes(backed), 30)
        backed.set("last", "one")
    raycache.stop(cluster_name)
    assert store.load_many([f"k{number}" for number in range(2000)]) == {f"k{number}": number for number in range(2000)}
    assert store.load("last") == "one"
    assert cluster_name not in raycache.clusters()


def _takes(backed: raycache.BackedCache) -> bool:
    """Whether every shard does: each hears for itself that the writer goes on."""
    try:
        backed.set_many({f"probe{number}": 1 for number in range(100)})
    except raycache.QueueClosedError:
        return False
    return True


@pytest.mark.timeout(240)
def test_dead_letters_are_listed_brought_back_and_thrown_away(
    start: Start, cluster_name: str, postgres: Postgres, store: SqlStore
) -> None:
    with connected(postgres) as connection:
        connection.execute("drop table if exists narrow, narrow_versions")
        connection.execute("create table narrow (key text primary key, name varchar(5))")
        start()
        settings = raycache.WriterSettings(attempts=2, flush_s=0.01, backoff_s=0.01)
        raycache.attach_store(cluster_name, "narrow", postgres.url, write="behind", table="narrow", columns=("name",),
                              writer=settings)
        with pytest.raises(RayCacheError, match="with other settings"):
            raycache.attach_store(cluster_name, "narrow", postgres.url, write="behind")
        with raycache.connect(cluster_name) as cache, raycache.backed(cache, "narrow") as backed:
            backed.set_many({"a": {"name": "short"}, "b": {"name": "much too long"}, "c": {"name": "longer still"}})
            wait_until(lambda: cache.stats().dead_letters == 2, 30)
            assert backed.get_many(["a", "b"]) == {"a": {"name": "short"}, "b": {"name": "much too long"}}
            listed = raycache_command("letters", cluster_name, "narrow")
            assert "b" in listed.stdout
            assert "too long" in listed.stdout
            assert "postgresql" not in listed.stdout, "the reason, not where it comes from"
            assert raycache.status(cluster_name).dead_letters == 2
            refused = raycache_command("down", cluster_name)
            assert refused.returncode == 1
            assert "2 acknowledged writes, which would be lost" in refused.stderr
            assert f"`raycache letters {cluster_name} STORE` (it has narrow)" in refused.stderr
            gone = raycache_command("letters", cluster_name, "narrow", "--discard", "c")
            assert gone.returncode == 0, gone.stderr
            connection.execute("alter table narrow alter name type text")
            again = raycache_command("letters", cluster_name, "narrow", "--retry", "--all")
            assert again.returncode == 0, again.stderr
            wait_until(lambda: cache.stats().queued == cache.stats().dead_letters == 0, 30)
        assert connection.execute("select key, name from narrow order by key").fetchall() == [
            ("a", "short"), ("b", "much too long")]
    raycache.detach_store(cluster_name, "narrow")
