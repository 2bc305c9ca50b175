"""Loading through near caches, with both handles on real shards: what is served from the process, and what is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from raycache.client import Cache
from raycache.testing.local import LocalCluster
from tests.clients.handles import opened
from tests.clients.near_reading import PATIENT_S, table_of
from tests.clients.test_loading import Loader
from tests.support import wait_until

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalCluster]:
    with LocalCluster(shards=2, gateway=False, secret="hush") as cluster:
        yield cluster


@pytest.fixture(params=["sync", "uvloop"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def handles(kind: str, shared: LocalCluster) -> Iterator[Make]:
    """Opens handles on an empty cluster; closes them."""
    made: list[Any] = []

    def make(**options: Any) -> Any:
        made.append(opened(kind, shared.info, **({"near": "8MiB", "max_staleness_s": PATIENT_S} | options)))
        return made[-1]

    with Cache(shared.info) as cleaner:
        cleaner.clear()
    yield make
    for handle in made:
        handle.close()


class Numbers:
    """Loads 1, 2, 3, ...: one value or many."""

    def __init__(self, form: Callable[[int], Any] = lambda number: number) -> None:
        self.calls = 0
        self.form = form

    def __call__(self) -> Any:
        self.calls += 1
        return self.form(self.calls)

    def many(self, keys: list[str]) -> dict[str, Any]:
        return {key: self() for key in keys}


def looks(cache: Any) -> int:
    """How often shards have been asked for values."""
    stats = cache.stats()
    return int(stats.hits + stats.misses)


def reads_near(cache: Any, read: Callable[[], Any]) -> Any:
    """Wait until `read` asks no shard any more; return what it returns."""
    found: list[Any] = []

    def is_near() -> bool:
        before = looks(cache)
        found[:] = [read()]
        return looks(cache) == before

    wait_until(is_near, message="it does not come near")
    return found[0]


@pytest.mark.parametrize("form", [str, lambda number: [number]], ids=["immutable", "mutable"])
@pytest.mark.parametrize("settings", [
    {}, {"ttl": 100}, {"tags": ["t", "u"]}, {"ttl": 100, "stale_ttl": 100}, {"ttl": 100, "tags": ["t"], "stale_ttl": 9},
], ids=["plain", "ttl", "tags", "grace", "all"])  # fmt: skip
def test_hits_are_answered_here(handles: Make, form: Any, settings: Any) -> None:
    cache, load = handles(), Numbers(form)
    one = lambda: cache.get_or_load("k", load, **settings)  # noqa: E731
    assert one() == form(1)
    assert reads_near(cache, one) == form(1)
    hits = table_of(cache).hits
    assert one() == form(1)
    assert table_of(cache).hits == hits + 1
    assert reads_near(cache, lambda: cache.get_or_load("k", load)) == form(1)  # without naming its tags
    assert reads_near(cache, lambda: cache.get_or_load_many(["k"], load.many, **settings)) == {"k": form(1)}
    assert reads_near(cache, lambda: cache.get("k")) == form(1)
    assert reads_near(cache, lambda: cache.get_many(["k"])) == {"k": form(1)}
    assert load.calls == 1


def test_what_get_has_read_serves_loading_and_the_other_way_round(handles: Make) -> None:
    cache, load = handles(), Numbers()
    cache.set("k", "set")
    assert reads_near(cache, lambda: cache.get("k")) == "set"
    assert reads_near(cache, lambda: cache.get_or_load("k", load)) == "set"
    mutable = reads_near(cache, lambda: cache.get_or_load("m", lambda: [1]))
    mutable.append(2)
    assert cache.get_or_load("m", load) == [1]
    assert load.calls == 0


def test_many_keys_ask_only_for_what_is_not_here(handles: Make) -> None:
    cache, load = handles(), Numbers()
    first = reads_near(cache, lambda: cache.get_or_load_many(["a", "b"], load.many, tags=["t"]))
    before = looks(cache)
    both = cache.get_or_load_many(["a", "x", "b"], load.many, tags=["t"])
    assert (both, load.calls) == ({**first, "x": 3}, 3)
    assert looks(cache) - before == 2  # x, and the generation of its tag before the load


@pytest.mark.parametrize("change", [
    lambda c: c.delete("k"), lambda c: c.set("k", 7), lambda c: c.invalidate_tags("t"), lambda c: c.delete_prefix("k"),
    lambda c: c.clear(), lambda c: c.touch("k", 0.001),
], ids=["delete", "set", "tag", "prefix", "clear", "expiry"])  # fmt: skip
def test_own_changes_count_at_once_and_others_hear_of_them(handles: Make, change: Callable[[Any], object]) -> None:
    writer, reader = handles(), handles()
    load = Numbers()
    read = lambda cache: cache.get_or_load("k", load, tags=["t"])  # noqa: E731
    for cache in (writer, reader):
        assert reads_near(cache, lambda cache=cache: read(cache)) == 1
    change(writer)
    wait_until(lambda: writer.ttl("k") is None or writer.get("k") != 1)  # where it is a matter of time
    new = read(writer)
    assert new in (2, 7)
    wait_until(lambda: read(reader) == new)
    assert reads_near(reader, lambda: read(reader)) == new
    assert load.calls <= 2


def test_a_tag_that_was_invalidated_while_nobody_looked_is_a_miss(handles: Make) -> None:
    cache, other, load = handles(), handles(near=None), Numbers()
    assert reads_near(cache, lambda: cache.get_or_load("k", load, tags=["t"])) == 1
    other.invalidate_tags("t")
    wait_until(lambda: cache.get("k") is None)
    assert cache.get_or_load("k", load) == 2
    assert other.get_or_load("k", load) == 2


def test_what_is_near_of_a_tag_never_makes_a_value_old(handles: Make) -> None:
    """A value may be newer than what is near of its tag: then the shard is asked before anybody loads."""
    cache, other, load = handles(), handles(near=None), Numbers()
    assert reads_near(cache, lambda: cache.get_or_load("k", load, tags=["t"])) == 1
    table = table_of(cache)
    heard, table.invalidate = table.invalidate, lambda keys: None  # announcements are late
    try:
        other.invalidate_tags("t")
        assert other.get_or_load("k", load, tags=["t"]) == 2
        table.forget([b"k"])
        assert cache.get_or_load("k", load, tags=["t"]) == 2
        assert cache.get_or_load_many(["k"], load.many, tags=["t"]) == {"k": 2}
        assert cache.get("k") == 2
        assert cache.get_many(["k"]) == {"k": 2}
        assert load.calls == 2
    finally:
        table.invalidate = heard


def test_an_early_refresh_serves_what_is_here_and_runs_once(handles: Make) -> None:
    cache, load = handles(), Numbers()
    assert reads_near(cache, lambda: cache.get_or_load("k", load, ttl=100, beta=0)) == 1
    before = looks(cache)
    assert cache.get_or_load("k", load, ttl=100, beta=1e12) == 1  # due at once
    wait_until(lambda: cache.get_or_load("k", load, ttl=100, beta=0) == 2)
    assert looks(cache) > before
    assert load.calls == 2


def test_early_refreshes_of_tagged_values_and_of_many(handles: Make) -> None:
    cache, load = handles(), Numbers()
    options: dict[str, Any] = {"ttl": 100, "tags": ["t"]}
    assert reads_near(cache, lambda: cache.get_or_load("k", load, beta=0, **options)) == 1
    assert cache.get_or_load("k", load, beta=1e12, **options) == 1
    wait_until(lambda: cache.get_or_load("k", load, beta=0, **options) == 2)
    assert reads_near(cache, lambda: cache.get_or_load_many(["k"], load.many, beta=0, **options)) == {"k": 2}
    assert cache.get_or_load_many(["k"], load.many, beta=1e12, **options) == {"k": 2}
    wait_until(lambda: cache.get_or_load("k", load, beta=0, **options) == 3)


def test_stale_values_are_served_from_here_while_they_are_refreshed(handles: Make) -> None:
    cache, failing = handles(), Loader(error=OSError("no database"), goes=True)
    options: dict[str, Any] = {"ttl": 0.2, "jitter": 0, "beta": 0, "stale_ttl": 100}
    assert reads_near(cache, lambda: cache.get_or_load("k", lambda: "old", **options)) == "old"
    wait_until(lambda: cache.get("k") is None)  # its own lifetime is over
    wait_until(lambda: cache.get_or_load("k", failing, **options) == "old" and failing.begun.is_set())
    # Between two refreshes, that is: each asks its shard for a lease, and there is one every half second.
    assert reads_near(cache, lambda: [cache.get_or_load("k", failing, **options) for _ in range(5)]) == ["old"] * 5
    assert reads_near(cache, lambda: cache.get_or_load_many(["k"], failing, **options)) == {"k": "old"}
    wait_until(lambda: cache.get_or_load("k", lambda: "new", **options | {"ttl": 100}) == "new")


def test_old_values_are_a_fallback_as_ever(handles: Make) -> None:
    cache = handles()
    options: dict[str, Any] = {"ttl": 0.1, "jitter": 0, "beta": 0, "stale_if_error": 100}
    assert reads_near(cache, lambda: cache.get_or_load("k", lambda: "old", **options)) == "old"
    wait_until(lambda: cache.get("k") is None)
    failing = Loader(error=OSError("no database"), goes=True)
    assert cache.get_or_load("k", failing, **options) == "old"
    assert cache.get_or_load_many(["k"], failing, **options) == {"k": "old"}
    assert failing.calls == 2


def test_of_a_herd_one_fetches_and_one_loads(handles: Make) -> None:
    cache, load = handles(), Loader("value", goes=True)
    reads_near(cache, lambda: cache.get_or_load("warm", lambda: 1))
    fetches = table_of(cache).fetches
    with ThreadPoolExecutor(30) as pool:
        assert list(pool.map(lambda _: cache.get_or_load("k", load), range(30))) == ["value"] * 30
    assert load.calls == 1
    assert table_of(cache).fetches - fetches < 30


def test_a_handle_that_uses_a_token_goes_past_it(kind: str) -> None:
    with LocalCluster(shards=2, copies=2, gateway=False) as cluster:
        cache, load = opened(kind, cluster.info, near="8MiB", max_staleness_s=PATIENT_S), Numbers()
        assert reads_near(cache, lambda: cache.get_or_load("k", load)) == 1
        token, hits = cache.token(), table_of(cache).hits
        cache.use(token)
        assert cache.get_or_load("k", load) == 1
        assert table_of(cache).hits == hits
        cache.use(None)
        assert cache.get_or_load("k", load) == 1
        assert table_of(cache).hits == hits + 1
        cache.close()


def test_observers_hear_of_hits(handles: Make) -> None:
    heard: list[str] = []

    class Observer:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *_: heard.append(name)

    cache, load = handles(), Numbers()
    observer: Any = Observer()
    assert reads_near(cache, lambda: cache.get_or_load("k", load)) == 1
    cache.get_or_load("k", load, observer=observer)
    cache.get_or_load_many(["k"], load.many, observer=observer)
    assert heard == ["hit", "hit"]


class Rows:
    """A database with one number that only grows, and when each was there for everybody."""

    def __init__(self) -> None:
        self.number = 0
        self.done: list[tuple[float, int]] = [(0.0, 0)]


@pytest.mark.parametrize("how", ["key", "tag"])
def test_nothing_that_was_invalidated_is_served_for_long(handles: Make, how: str) -> None:
    """Others' invalidations count after max_staleness_s at the latest, own ones at once, and nothing goes back."""
    limit_s = 0.1
    reader, writer = handles(max_staleness_s=limit_s), handles(near=None)
    rows, over, failures = Rows(), threading.Event(), []
    change: dict[str, Any] = {"tags": ["t"]} if how == "tag" else {}

    def write() -> None:
        while not over.is_set():
            rows.number += 1
            number = rows.number
            writer.invalidate_tags("t") if how == "tag" else writer.delete("k")
            rows.done.append((time.monotonic(), number))
            time.sleep(0.002)

    def read() -> None:
        while not over.is_set():
            began_s = time.monotonic()
            found = reader.get_or_load("k", lambda: rows.number, **change)
            must = next(number for at, number in reversed(rows.done) if at <= began_s - limit_s)
            if found < must:
                failures.append((found, must))

    threads = [threading.Thread(target=work) for work in (write, read)]
    began_s = time.monotonic()
    for thread in threads:
        thread.start()
    wait_until(lambda: rows.number > 150 and rows.done[-1][0] > began_s + 4 * limit_s)
    over.set()
    for thread in threads:
        thread.join(20)
    assert not failures
    reader.invalidate_tags("t") if how == "tag" else reader.delete("k")
    rows.number += 1
    assert reader.get_or_load("k", lambda: rows.number, **change) == rows.number
