"""Loading through the cache, against real shard servers on real sockets: who loads, who waits, what is stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from raycache.client import Cache
from raycache.errors import (
    CallerError,
    LoadFailedError,
    LoadTimeoutError,
    ReentrantLoadError,
    UnsupportedTypeError,
)
from raycache.testing.local import LocalCluster
from tests.clients.handles import opened
from tests.support import wait_until


@pytest.fixture(scope="module")
def shared() -> Iterator[LocalCluster]:
    with LocalCluster(shards=3, gateway=False, secret="hush") as cluster:
        yield cluster


@pytest.fixture(params=["sync", "asyncio", "uvloop"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def cache(kind: str, shared: LocalCluster) -> Iterator[Any]:
    """A handle on an empty cluster."""
    handle = opened(kind, shared.info)
    handle.clear()
    yield handle
    handle.close()


@pytest.fixture
def other(shared: LocalCluster) -> Iterator[Cache]:
    """A handle that shares nothing with `cache`: to the cluster it is another process."""
    with Cache(shared.info) as handle:
        yield handle


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as executor:
        yield executor


class Loader:
    """A load that stops in the middle until it is let go. (An AsyncCache would wait with its loop: see `Blocking`.)"""

    def __init__(self, value: Any = "loaded", *, goes: bool = False, error: Exception | None = None) -> None:
        self.value, self.error = value, error
        self.calls = 0
        self.begun = threading.Event()
        self.go = threading.Event()
        if goes:
            self.go.set()

    def __call__(self, *keys: Any) -> Any:
        self.calls += 1
        self.begun.set()
        assert self.go.wait(20)
        if self.error is not None:
            raise self.error
        return self.value


class Journal:
    """An observer that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def hit(self, key: Any) -> None:
        self.heard.append("hit")

    def loaded(self, key: Any, seconds: float) -> None:
        assert seconds >= 0
        self.heard.append("loaded")

    def stale(self, key: Any) -> None:
        self.heard.append("stale")

    def waited(self, key: Any, seconds: float) -> None:
        assert seconds >= 0
        self.heard.append("waited")

    def failed(self, key: Any, error: BaseException) -> None:
        self.heard.append(f"failed {error}")


def waiters(cluster: LocalCluster) -> int:
    """How many are waiting at the shards now."""

    def count(index: int) -> int:
        server = cluster.servers[index]
        assert server is not None
        return sum(len(lease.waiters) for lease in server.core.leases._leases.values())

    return sum(cluster.call(lambda index=index: count(index), index) for index in range(len(cluster.servers)))


def leases(cluster: LocalCluster) -> int:
    """How many leases there are now."""
    return sum(cluster.call(lambda index=index: len(cluster.servers[index].core.leases), index)  # type: ignore
               for index in range(len(cluster.servers)))


# One loads, the others wait


def test_of_all_who_miss_at_once_one_loads(shared: LocalCluster, other: Cache, kind: str,
                                           pool: ThreadPoolExecutor) -> None:
    with Cache(shared.info) as cache:
        cache.clear()
        load = Loader({"a": [1]})
        first = pool.submit(cache.get_or_load, "k", load)
        assert load.begun.wait(10)
        late = opened(kind, shared.info)
        rest = [pool.submit(handle.get_or_load, "k", load) for handle in (cache, late, other) for _ in range(8)]
        wait_until(lambda: waiters(shared) == 2)  # one for each handle that did not get the lease
        load.go.set()
        values = [future.result(10) for future in (first, *rest)]
        assert (load.calls, values) == (1, [{"a": [1]}] * 25)
        assert len({id(value) for value in values}) == 25  # nobody can change another's
        assert (cache.get("k"), leases(shared)) == ({"a": [1]}, 0)
        late.close()


def test_a_hit_loads_nothing_and_none_is_a_hit(cache: Any) -> None:
    load = Loader(None, goes=True)
    assert [cache.get_or_load("k", load) for _ in range(3)] == [None] * 3
    assert load.calls == 1
    cache.set("plain", b"x")
    assert (cache.get_or_load("plain", load), load.calls) == (b"x", 1)


def test_who_waits_too_long_is_told_so(cache: Any, other: Cache, pool: ThreadPoolExecutor) -> None:
    load = Loader()
    first = pool.submit(other.get_or_load, "k", load)
    assert load.begun.wait(10)
    for wait_s in (0, 0.1):
        began_s = time.monotonic()
        with pytest.raises(LoadTimeoutError, match="'k'"):
            cache.get_or_load("k", load, wait_s=wait_s)
        assert wait_s <= time.monotonic() - began_s < wait_s + 2
    load.go.set()
    assert (first.result(10), load.calls) == ("loaded", 1)


@pytest.mark.parametrize("same", [True, False])
def test_a_loader_that_hangs_is_not_waited_for_for_ever(shared: LocalCluster, other: Cache, same: bool,
                                                        pool: ThreadPoolExecutor) -> None:
    with Cache(shared.info) as cache:
        cache.clear()
        hung, load = Loader("old"), Loader("new", goes=True)
        first = pool.submit(other.get_or_load, "k", hung, lease_s=0.2)
        assert hung.begun.wait(10)
        assert (other if same else cache).get_or_load("k", load) == "new"
        hung.go.set()
        assert (first.result(10), cache.get("k")) == ("old", "new")


@pytest.mark.parametrize("same", [True, False])
def test_the_error_of_a_loader_goes_to_those_who_waited(shared: LocalCluster, other: Cache, same: bool,
                                                        pool: ThreadPoolExecutor) -> None:
    with Cache(shared.info) as cache:
        cache.clear()
        load, journal = Loader(error=KeyError("no row")), Journal()
        first = pool.submit(other.get_or_load, "k", load, observer=journal)
        assert load.begun.wait(10)
        second = pool.submit((other if same else cache).get_or_load, "k", Loader(goes=True))
        if not same:
            wait_until(lambda: waiters(shared) == 1)
        else:
            time.sleep(0.05)  # it waits in this process; if not yet, it loads and the test says so
        load.go.set()
        with pytest.raises(KeyError):
            first.result(10)
        with pytest.raises(LoadFailedError) as caught:
            second.result(10)
        assert (caught.value.type_name, caught.value.message) == ("KeyError", "'no row'")
        assert isinstance(caught.value.__cause__, KeyError) == same
        assert journal.heard == ["failed 'no row'"]
        assert cache.get_or_load("k", Loader(7, goes=True)) == 7


def test_who_waited_tries_again_if_that_is_wanted(cache: Any, other: Cache, shared: LocalCluster,
                                                  pool: ThreadPoolExecutor) -> None:
    load = Loader(error=KeyError("no row"))
    first = pool.submit(other.get_or_load, "k", load)
    assert load.begun.wait(10)
    second = pool.submit(cache.get_or_load, "k", Loader(7, goes=True), on_load_error="retry")
    wait_until(lambda: waiters(shared) == 1)
    load.go.set()
    assert second.result(10) == 7
    with pytest.raises(KeyError):
        first.result(10)


def test_a_value_that_cannot_be_stored_frees_the_key(cache: Any, shared: LocalCluster) -> None:
    with pytest.raises(UnsupportedTypeError):
        cache.get_or_load("k", Loader(object(), goes=True))
    wait_until(lambda: leases(shared) == 0)
    with pytest.raises(ValueError, match="ttl"):
        cache.get_or_load("k", Loader(goes=True), ttl=lambda value: 1e30)
    wait_until(lambda: leases(shared) == 0)
    assert cache.get("k", "absent") == "absent"


def test_a_load_of_itself_is_an_error_and_no_deadlock(cache: Any) -> None:
    if not isinstance(cache, Cache):
        return  # a plain function cannot call it; see test_loading_aio
    with pytest.raises(ReentrantLoadError, match="'k'"):
        cache.get_or_load("k", lambda: cache.get_or_load("k", lambda: 1))
    with pytest.raises(ReentrantLoadError, match="'k'"):
        cache.get_or_load_many(["j", "k"], lambda keys: {key: cache.get_or_load("k", lambda: 1) for key in keys})
    assert cache.get_or_load("k", lambda: cache.get_or_load("inner", lambda: 2) + 1) == 3


def test_an_asynchronous_loader_needs_the_other_handle(other: Cache) -> None:
    async def load() -> int:
        return 1

    with pytest.raises(CallerError, match="AsyncCache"):
        other.get_or_load("async", load)


# What makes a load void

WRITES: dict[str, Callable[[Any], object]] = {
    "set": lambda cache: cache.set("user:1", "new"),
    "set_many": lambda cache: cache.set_many({"user:1": "new"}),
    "add": lambda cache: cache.add("user:1", "new"),
    "incr": lambda cache: cache.incr("user:1"),
    "delete": lambda cache: cache.delete("user:1"),
    "delete_many": lambda cache: cache.delete_many(["user:1"]),
    "delete_prefix": lambda cache: cache.delete_prefix("user:"),
    "clear": lambda cache: cache.clear(),
    "invalidate_tags": lambda cache: cache.invalidate_tags("users"),
}


@pytest.mark.parametrize("write", WRITES)
def test_what_was_read_before_a_write_is_not_stored_after_it(shared: LocalCluster, other: Cache, write: str,
                                                             pool: ThreadPoolExecutor) -> None:
    with Cache(shared.info) as cache:
        cache.clear()
        load = Loader("old")
        first = pool.submit(cache.get_or_load, "user:1", load, tags=["users"])
        assert load.begun.wait(10)
        WRITES[write](other)
        written = other.get("user:1")
        load.go.set()
        assert first.result(10) == "old"
        assert other.get("user:1") == written != "old"
        assert other.get_or_load("user:1", lambda: "loaded later") == (written or "loaded later")


@pytest.mark.parametrize("same", [True, False])
def test_who_waits_for_a_load_that_became_void_loads_anew(shared: LocalCluster, other: Cache, same: bool,
                                                         pool: ThreadPoolExecutor) -> None:
    """Its call may have begun after the write: the old value is not for it."""
    with Cache(shared.info) as cache:
        cache.clear()
        old, new = Loader("old"), Loader("new", goes=True)
        first = pool.submit(cache.get_or_load, "k", old)
        assert old.begun.wait(10)
        other.delete("k")
        second = pool.submit((cache if same else other).get_or_load, "k", new)
        if not same:
            assert second.result(10) == "new"
        old.go.set()
        assert (first.result(10), second.result(10), other.get("k")) == ("old", "new", "new")


def test_who_already_waits_does_so_too(cache: Any, other: Cache, shared: LocalCluster,
                                       pool: ThreadPoolExecutor) -> None:
    old, new = Loader("old"), Loader("new", goes=True)
    first = pool.submit(other.get_or_load, "k", old)
    assert old.begun.wait(10)
    second = pool.submit(cache.get_or_load, "k", new)
    wait_until(lambda: waiters(shared) == 1)
    other.delete("k")  # the key is absent
    assert second.result(10) == "new"
    old.go.set()
    assert (first.result(10), cache.get("k")) == ("old", "new")


class Database:
    """One row, and a reader that stops after it has read it."""

    def __init__(self) -> None:
        self.row = "old"
        self.has_read = threading.Event()
        self.may_return = threading.Event()

    def read(self) -> str:
        row = self.row
        self.has_read.set()
        assert self.may_return.wait(10)
        return row


def race(read: Callable[[Database], str], change: Callable[[Database], None]) -> None:
    """The race of the textbook: the reader loads old, the writer updates and deletes, the reader stores old."""
    database = Database()
    with ThreadPoolExecutor(1) as pool:
        reader: Future[str] = pool.submit(read, database)
        assert database.has_read.wait(10)
        change(database)
        database.may_return.set()
        assert reader.result(10) == "old"


def test_without_leases_the_race_leaves_the_old_row_for_good(other: Cache) -> None:
    def read(database: Database) -> str:
        row = other.get("row")
        if row is None:
            row = database.read()
            other.set("row", row)
        return str(row)

    def change(database: Database) -> None:
        database.row = "new"
        other.delete("row")

    other.delete("row")
    race(read, change)
    assert other.get("row") == "old"


@pytest.mark.parametrize("raises", [False, True])
def test_with_leases_nobody_reads_the_old_row_after_the_change(shared: LocalCluster, other: Cache,
                                                               raises: bool) -> None:
    def change(database: Database) -> None:
        try:
            with other.invalidating("row"):
                database.row = "new"
                if raises:  # perhaps it was committed, perhaps not
                    raise OSError("connection lost")
        except OSError:
            assert raises

    other.delete("row")
    with Cache(shared.info) as cache:
        race(lambda database: cache.get_or_load("row", database.read), change)
        assert other.get("row") is None
        assert cache.get_or_load("row", lambda: "new") == "new"


def test_a_reader_between_the_change_and_the_end_of_the_block_leaves_nothing(other: Cache) -> None:
    with other.invalidating("row", tags=["rows"], prefixes=["page:"]):
        other.get_or_load("row", lambda: "old")
        other.get_or_load("page:1", lambda: "old")
        other.get_or_load("table", lambda: "old", tags=["rows"])
    assert other.get_many(["row", "page:1", "table"]) == {}


def test_one_text_where_several_are_expected_is_refused_before_anything_is_deleted(other: Cache) -> None:
    other.set("p", 1)
    for wrong in ({"tags": "text"}, {"prefixes": "page:"}):
        with pytest.raises(UnsupportedTypeError, match="write"), other.invalidating("p", **wrong):  # type: ignore
            raise AssertionError("the block ran")
    assert other.get("p") == 1


# Tags and prefixes


def test_a_tag_takes_all_its_values_with_it_for_every_kind_of_read(cache: Any) -> None:
    load = Loader(1, goes=True)
    for key in ("a", "b"):
        cache.get_or_load(key, load, tags=["t", "of " + key])
    cache.get_or_load("c", load, tags=["other"])
    cache.set("plain", 1)
    assert cache.get_many(["a", "b", "c", "plain", "absent"]) == {"a": 1, "b": 1, "c": 1, "plain": 1}
    assert (cache.get_result("a").value, cache.get_with_version("a").value) == (1, 1)
    cache.invalidate_tags("of a")
    assert (cache.get("a", "gone"), cache.get("b", "gone")) == ("gone", 1)
    cache.invalidate_tags("t", "nobody's")
    assert [cache.get(key, "gone") for key in "abc"] == ["gone", "gone", 1]
    assert (cache.get_result("b"), cache.get_with_version("b")) == (None, None)
    assert cache.get_results(["a", "b", "c"]).keys() == {"c"}
    assert cache.get_many(["a", "b", "c", "plain"]) == {"c": 1, "plain": 1}
    assert (cache.get_or_load("a", load), load.calls) == (1, 4)


def test_a_tag_whose_generation_was_lost_costs_a_load_and_nothing_else(cache: Any) -> None:
    load = Loader(1, goes=True)
    cache.get_or_load("a", load, tags=["t"])
    assert cache.delete("__raycache_tag__:t")
    assert cache.get("a", "gone") == "gone"
    assert [cache.get_or_load("a", load, tags=["t"]) for _ in range(3)] == [1, 1, 1]
    assert load.calls == 2


def test_a_tag_costs_one_write_however_many_values_have_it(cache: Any) -> None:
    keys = [f"key:{number}" for number in range(2000)]
    cache.get_or_load_many(keys, lambda wanted: dict.fromkeys(wanted, 1), tags=["t"])
    before = cache.stats()
    cache.invalidate_tags("t")
    after = cache.stats()
    assert sum(each.commands for each in after.shards) - sum(each.commands for each in before.shards) <= 1 + len(
        after.shards)
    assert cache.get_many(keys) == {}


@pytest.mark.parametrize("tags", ["text", [1], [""]])
def test_tags_are_texts(cache: Any, tags: Any) -> None:
    with pytest.raises(TypeError):
        cache.get_or_load("k", Loader(goes=True), tags=tags)


def test_a_prefix_takes_its_keys_in_steps(cache: Any) -> None:
    cache.set_many({f"user:{number}": number for number in range(1500)})
    cache.set("users", 1)
    assert cache.delete_prefix("user:", batch=100, pause_s=0.001) == 1500
    assert (cache.delete_prefix(b"user:"), cache.get("users")) == (0, 1)
    for wrong in ({"prefix": ""}, {"prefix": "x", "batch": 0}, {"prefix": "x", "pause_s": -1}):
        with pytest.raises(ValueError, match=r"must be|is empty"):
            cache.delete_prefix(**wrong)


# Lifetimes


def test_the_lifetime_is_drawn_below_the_ttl(cache: Any) -> None:
    for number in range(20):
        cache.get_or_load(number.to_bytes(1, "big"), Loader(goes=True), ttl=100, jitter=0.5)
    left = [cache.ttl(number.to_bytes(1, "big")) for number in range(20)]
    assert all(49 < each <= 100 for each in left)
    assert max(left) - min(left) > 5
    cache.get_or_load("f", Loader(30, goes=True), ttl=lambda value: value, jitter=0)
    assert 29 < cache.ttl("f") <= 30


def test_what_is_not_to_be_stored_still_goes_to_those_who_wait(cache: Any, other: Cache, shared: LocalCluster,
                                                               pool: ThreadPoolExecutor) -> None:
    load = Loader(None)
    first = pool.submit(other.get_or_load, "k", load, negative_ttl=0)
    assert load.begun.wait(10)
    second = pool.submit(cache.get_or_load, "k", Loader("its own", goes=True))
    wait_until(lambda: waiters(shared) == 1)
    load.go.set()
    assert (first.result(10), second.result(10), cache.get("k", "absent")) == (None, None, "absent")
    cache.get_or_load("n", Loader(None, goes=True), ttl=100, negative_ttl=5, jitter=0)
    assert 4 < cache.ttl("n") <= 5
    cache.get_or_load("small", Loader(3, goes=True), cache_if=lambda value: value > 5)
    assert not cache.exists("small")


def test_a_stale_value_goes_out_at_once_while_one_refresh_runs(cache: Any, other: Cache) -> None:
    options: dict[str, Any] = {"ttl": 0.05, "jitter": 0, "stale_ttl": 60, "beta": 0}
    assert other.get_or_load("k", lambda: "old", **options) == "old"
    wait_until(lambda: other.get("k") is None)  # a plain read keeps to the lifetime
    options["ttl"] = 60  # what is loaded from now on shall be there when it is looked for
    journal, load = Journal(), Loader("new")
    began_s = time.monotonic()
    if isinstance(cache, Cache):  # else it would stop the loop that it runs on
        assert [cache.get_or_load("k", load, observer=journal, **options) for _ in range(20)] == ["old"] * 20
        assert time.monotonic() - began_s < 2
        assert journal.heard == ["stale"] * 20
        wait_until(lambda: load.calls == 1)  # in a thread of its own, which may begin later than the reads end
    load.go.set()
    cache.get_or_load("k", load, **options)
    wait_until(lambda: other.get("k") == "new")
    assert load.calls == 1


def test_an_old_value_is_better_than_an_error(cache: Any) -> None:
    options: dict[str, Any] = {"ttl": 0.05, "jitter": 0, "stale_if_error": 60, "beta": 0}
    assert cache.get_or_load("k", Loader("old", goes=True), **options) == "old"
    wait_until(lambda: cache.get("k") is None)
    journal = Journal()
    failing = Loader(error=OSError("database is down"), goes=True)
    assert cache.get_or_load("k", failing, observer=journal, **options) == "old"
    assert cache.get_or_load_many(["k"], failing, observer=journal, **options) == {"k": "old"}
    assert journal.heard == ["failed database is down", "stale"] * 2
    with pytest.raises(OSError, match="down"):
        cache.get_or_load("k", failing, **(options | {"stale_if_error": 0}))
    assert cache.get_or_load("k", Loader("new", goes=True), **options) == "new"


def test_values_are_refreshed_before_they_expire(cache: Any, other: Cache) -> None:
    other.get_or_load("k", lambda: time.sleep(0.02) or "old", ttl=60, jitter=0)
    load = Loader("new", goes=True)
    assert cache.get_or_load("k", load, ttl=60, beta=0) == "old"
    assert load.calls == 0
    assert cache.get_or_load("k", load, ttl=60, beta=1e15) == "old"  # due at once, and still not waited for
    wait_until(lambda: other.get("k") == "new")
    assert load.calls == 1


def test_what_became_of_each_call_is_told(cache: Any, other: Cache, shared: LocalCluster,
                                          pool: ThreadPoolExecutor) -> None:
    journal, load = Journal(), Loader(1)
    first = pool.submit(other.get_or_load, "k", load, observer=journal)
    assert load.begun.wait(10)
    second = pool.submit(cache.get_or_load, "k", load, observer=journal)
    wait_until(lambda: waiters(shared) == 1)
    load.go.set()
    assert (first.result(10), second.result(10)) == (1, 1)
    assert cache.get_or_load("k", load, observer=journal) == 1
    assert sorted(journal.heard) == ["hit", "loaded", "waited"]


# Many keys


def test_all_misses_are_one_call(cache: Any) -> None:
    calls: list[list[Any]] = []

    def load(keys: list[Any]) -> dict[Any, Any]:
        calls.append(keys)
        return {key: key * 2 for key in keys if key != "nothing"}

    cache.set("b", "there")
    keys = ["a", "b", "c", "nothing", b"d", "a"]
    values = {"a": "aa", "b": "there", "c": "cc", b"d": b"dd"}
    assert cache.get_or_load_many(keys, load) == values
    assert list(values) == list(cache.get_or_load_many(keys, load))
    assert calls == [["a", "c", "nothing", b"d"], ["nothing"]]
    assert cache.get_or_load_many([], load) == {}
    many = [f"key:{number}" for number in range(3000)]
    assert cache.get_or_load_many(many, load) == {key: key * 2 for key in many}
    assert len(calls) == 3
    with pytest.raises(TypeError, match="mapping"):
        cache.get_or_load_many(["e"], lambda keys: 7)
    assert cache.get_or_load("e", Loader(1, goes=True)) == 1


def test_what_others_load_is_waited_for_after_ones_own(cache: Any, other: Cache, pool: ThreadPoolExecutor) -> None:
    single, many = Loader("other's"), Loader({"b": 2, "c": 3}, goes=True)
    first = pool.submit(other.get_or_load, "a", single)
    assert single.begun.wait(10)
    second = pool.submit(cache.get_or_load_many, ["a", "b", "c"], many)
    wait_until(lambda: other.get("c") == 3)
    single.go.set()
    assert (first.result(10), second.result(10)) == ("other's", {"a": "other's", "b": 2, "c": 3})
    assert many.calls == 1


def test_two_who_load_each_others_keys_do_not_wait_in_a_circle(shared: LocalCluster, other: Cache,
                                                              pool: ThreadPoolExecutor) -> None:
    with Cache(shared.info) as cache:
        cache.clear()
        calls: list[str] = []

        def load(keys: list[str]) -> dict[str, int]:
            calls.extend(keys)
            return dict.fromkeys(keys, 1)

        keys = [f"key:{number}" for number in range(200)]
        runs = [pool.submit(handle.get_or_load_many, keys if at % 2 else keys[::-1], load)
                for at, handle in enumerate((cache, other) * 4)]
        assert all(run.result(20) == dict.fromkeys(keys, 1) for run in runs)
        assert sorted(calls) == sorted(keys)


def test_if_the_loader_of_many_fails_all_its_keys_are_free(cache: Any, shared: LocalCluster) -> None:
    with pytest.raises(OSError, match="down"):
        cache.get_or_load_many(["a", "b"], Loader(error=OSError("down"), goes=True))
    wait_until(lambda: leases(shared) == 0)


# Read, change, write


def test_update_loses_nothing(cache: Any, other: Cache, pool: ThreadPoolExecutor) -> None:
    for run in [pool.submit(handle.update, "n", lambda old: old + 1, default=0, timeout_s=20)
                for handle in (cache, other) for _ in range(15)]:
        run.result(30)
    assert cache.get("n") == 30


def test_update_keeps_the_lifetime_unless_told_otherwise(cache: Any) -> None:
    cache.set("k", [1], ttl=100)
    assert cache.update("k", lambda old: [*old, 2]) == [1, 2]
    assert 90 < cache.ttl("k") <= 100
    assert cache.update("k", lambda old: [*old, 3], ttl=10) == [1, 2, 3]
    assert cache.ttl("k") <= 10
    with pytest.raises(ZeroDivisionError):
        cache.update("k", lambda old: 1 / 0)
    assert cache.get("k") == [1, 2, 3]


def test_update_of_an_invalidated_value_starts_from_the_default(cache: Any) -> None:
    cache.get_or_load("k", Loader(5, goes=True), tags=["t"])
    assert cache.update("k", lambda old: old + 1, default=0) == 6
    cache.get_or_load("j", Loader(5, goes=True), tags=["t"])
    cache.invalidate_tags("t")
    assert cache.update("j", lambda old: old + 1, default=0) == 1
