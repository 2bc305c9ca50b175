"""Decorated functions of both handles against real shard servers on real sockets."""

from __future__ import annotations

import asyncio
import functools
import multiprocessing
import pickle
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from ray import cloudpickle

import raycache
from raycache import AsyncCache, Cache, FunctionUse
from raycache.anywhere import close_async_handles, close_handles
from raycache.errors import CallerError, LoadFailedError, RetryableError, UnsupportedTypeError
from raycache.testing.local import LocalCluster
from tests.support import wait_until


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=3, gateway=False) as one:
        yield one


@pytest.fixture
def cache(cluster: LocalCluster) -> Iterator[Cache]:
    with Cache(cluster.info, timeout_s=5) as handle:
        handle.clear()
        yield handle


@pytest.fixture
async def acache(cluster: LocalCluster) -> AsyncIterator[AsyncCache]:
    async with AsyncCache(cluster.info, timeout_s=5) as handle:
        await handle.clear()
        yield handle


def address(cluster: LocalCluster) -> str:
    host, port = cluster.info.seeds[0]
    return f"{host}:{port}"


class Calls:
    """Counts."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def __call__(self, value: Any) -> Any:
        self.made.append(value)
        return value


def test_a_function_runs_once_for_each_key(cache: Cache) -> None:
    calls = Calls()

    @cache.cached(ttl=60)
    def half(number: int, *, digits: int = 1) -> float:
        """Halve."""
        return round(calls(number) / 2, digits)

    assert [half(3), half(number=3), half(3, digits=1), half(4)] == [1.5, 1.5, 1.5, 2.0]
    assert calls.made == [3, 4]
    assert (half.__name__, half.__doc__, half.__wrapped__(8)) == ("half", "Halve.", 4.0)
    assert cache.get(half.key(3)) == 1.5  # readable, and in the cluster like any other value
    use = half.cache_info()
    assert (use.hits, use.loads, use.waits, use.failures) == (2, 2, 0, 0)
    assert use.saved_s == pytest.approx(2 * use.load_s / 2)


def test_what_else_one_can_do_with_it(cache: Cache) -> None:
    calls = Calls()

    @cache.cached(ttl=60)
    def double(number: int) -> int:
        return 2 * calls(number)

    assert (double(1), double.uncached(1), calls.made) == (2, 2, [1, 1])
    assert (double.refresh(1), double(1), calls.made) == (2, 2, [1, 1, 1])
    assert (double.invalidate(1), double.invalidate(1), double(1), len(calls.made)) == (True, False, 2, 4)
    double(2)
    cache.set("other", 1)
    assert (double.invalidate_all(), double.invalidate_all(), cache.get("other")) == (2, 0, 1)
    cache.set(double.key(5), 11)  # what somebody wrote by hand is a hit, and can be refreshed
    assert (double(5), double.refresh(5), double(5)) == (11, 10, 10)


def test_versions_tags_and_negative_results(cache: Cache) -> None:
    calls = Calls()

    def find(user_id: int) -> int | None:
        return calls(user_id) if user_id < 10 else calls(None)

    old = cache.cached(ttl=60, name="find", version=1)(find)
    new = cache.cached(ttl=60, name="find", version=2, tags=lambda user_id: [f"user:{user_id}"], negative_ttl=0)(find)
    assert (old(1), new(1), new(1), len(calls.made)) == (1, 1, 1, 2)
    assert (new.invalidate_all(), old(1), len(calls.made)) == (1, 1, 2)
    assert (new(1), new(2)) == (1, 2)
    cache.invalidate_tags("user:1")
    assert (new(1), new(2), calls.made[-3:]) == (1, 2, [1, 2, 1])
    assert (new(10), new(10), calls.made[-2:]) == (None, None, [None, None])
    assert (old(10), old(10), calls.made[-3:]) == (None, None, [None, None, None])


def test_threads_that_miss_together_load_once(cache: Cache) -> None:
    started, go = threading.Event(), threading.Event()

    @cache.cached(ttl=60)
    def slow(number: int) -> int:
        started.set()
        go.wait(10)
        return number

    with ThreadPoolExecutor(20) as pool:
        results = [pool.submit(slow, 7) for _ in range(20)]
        assert started.wait(10)
        go.set()
        assert {each.result(10) for each in results} == {7}
    use = slow.cache_info()
    assert (use.loads, use.hits + use.waits) == (1, 19)


def test_methods_keep_their_objects_apart_only_if_told_how(cache: Cache) -> None:
    class Shop:
        def __init__(self, name: str) -> None:
            self.name = name

        def __cache_key__(self) -> str:
            return self.name

        @cache.cached(ttl=60)
        def price(self, item: str) -> str:
            return f"{self.name}:{item}"

        @cache.cached(ttl=60, ignore=("self",))
        def rate(self, currency: str) -> str:
            return f"{self.name}:{currency}"

        @classmethod
        @cache.cached(ttl=60)
        def kind(cls, item: str) -> str:
            return cls.__name__ + item

        @staticmethod
        @cache.cached(ttl=60)
        def tax(item: str) -> str:
            return item

    class Branch(Shop):
        pass

    one, two = Shop("one"), Shop("two")
    assert [one.price("x"), two.price("x"), one.price("x")] == ["one:x", "two:x", "one:x"]
    assert [one.rate("EUR"), two.rate("EUR"), Branch("b").rate("EUR")] == ["one:EUR", "one:EUR", "b:EUR"]
    assert [Shop.kind("x"), Branch.kind("x"), Shop.tax("x"), two.tax("x")] == ["Shopx", "Branchx", "x", "x"]
    assert (one.price.invalidate("x"), one.price.invalidate("x"), two.price.key("x")) == (
        True, False, Shop.price.key(two, "x"))
    assert (one.price.refresh("x"), one.price.cache_info().loads, one.price.__wrapped__("y")) == ("one:x", 3, "one:y")


def test_what_the_function_raises_comes_through_and_is_not_kept(cache: Cache) -> None:
    @cache.cached(ttl=60)
    def fails(number: int) -> int:
        if number:
            raise RetryableError("of the function's own")
        raise KeyError("nothing there")

    with pytest.raises(KeyError):
        fails(0)
    with pytest.raises(RetryableError, match="own"):  # not taken for an outage of the cache
        fails(1)
    use = fails.cache_info()
    assert (use.failures, use.cache_errors, use.loads) == (2, 0, 0)


def test_a_result_that_cannot_be_stored_is_refused(cache: Cache) -> None:
    @cache.cached()
    def things() -> object:
        return object()

    with pytest.raises(UnsupportedTypeError, match="object"):
        things()


@pytest.mark.parametrize("what", ["load", "raise"])
def test_without_a_cluster_a_call_does_as_told(what: Any) -> None:
    calls = Calls()

    @raycache.cached("gone", address="127.0.0.1:1", timeout_s=0.3, on_cache_error=what)
    def double(number: int) -> int:
        return 2 * calls(number)

    try:
        if what == "raise":
            with pytest.raises(RetryableError):
                double(1)
            assert calls.made == []
        else:
            assert double(1) == double.refresh(1) == 2
            use = double.cache_info()
            assert (use.cache_errors, use.loads, use.hits) == (2, 2, 0)
    finally:
        close_handles()


@pytest.mark.parametrize("what", ["generator", "class", "staticmethod", "async", "partial"])
def test_what_cannot_be_cached_is_refused_when_it_is_decorated(cache: Cache, what: str) -> None:
    def numbers() -> Iterator[int]:
        yield 1

    async def later() -> int:
        return 1

    wrong: Any = {"generator": numbers, "class": Calls, "staticmethod": staticmethod(len), "async": later,
                  "partial": functools.partial(len, "")}[what]
    with pytest.raises((TypeError, CallerError), match=r"list|write @cache|below @static|use an AsyncCache"):
        cache.cached()(wrong)


async def test_the_same_for_coroutines(acache: AsyncCache) -> None:
    calls = Calls()

    @acache.cached(ttl=60, tags=("t",))
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * calls(number)

    assert set(await asyncio.gather(*[double(4) for _ in range(50)])) == {8}
    assert calls.made == [4]
    use = double.cache_info()
    assert (use.loads, use.hits + use.waits) == (1, 49)
    assert (await double.refresh(4), await double.uncached(4), len(calls.made)) == (8, 8, 3)
    assert (await double.invalidate(4), await double.invalidate(4), await double(4)) == (True, False, 8)
    await acache.invalidate_tags("t")
    assert (await double(4), len(calls.made)) == (8, 5)
    assert (await double.invalidate_all(), await acache.get(double.key(4))) == (1, None)
    assert asyncio.iscoroutinefunction(double.__call__)


async def double_later(number: int) -> int:
    return 2 * number


async def test_what_an_async_handle_refuses_and_lets_through(acache: AsyncCache) -> None:
    with pytest.raises(CallerError, match="no `async def`"):
        acache.cached()(len)  # type: ignore[arg-type]

    async def numbers() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(TypeError, match="is a generator"):
        acache.cached()(numbers)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must come below @staticmethod"):
        acache.cached()(staticmethod(double_later))  # type: ignore[arg-type]

    class Shop:
        @acache.cached(ttl=60, ignore=("self",))
        async def price(self, item: str) -> str:
            if item == "bad":
                raise KeyError(item)
            return item

    assert (await Shop().price("x"), Shop().price.key("x")) == ("x", Shop.price.key(Shop(), "x"))
    failed = await asyncio.gather(*[Shop().price("bad") for _ in range(5)], return_exceptions=True)
    assert {type(each) for each in failed} <= {KeyError, LoadFailedError}
    assert Shop.price.cache_info().failures >= 1


async def test_anywhere_connects_when_it_is_called(cluster: LocalCluster) -> None:
    @raycache.cached("local", address=address(cluster), ttl=60)
    async def cube(number: int) -> int:
        return number**3

    assert await asyncio.gather(cube(2), cube(3), cube(2)) == [8, 27, 8]
    assert cube.cache_info().loads == 2
    await close_async_handles()


@raycache.cached("local", address="127.0.0.1:1", ttl=60)
def importable(number: int) -> int:
    return number


def test_decorated_functions_travel(cluster: LocalCluster, cache: Cache) -> None:
    @raycache.cached("local", address=address(cluster), ttl=60)
    def double(number: int) -> int:
        return 2 * number

    bound = cache.cached(ttl=60)(lambda number: 3 * number)
    again, bound_again = cloudpickle.loads(cloudpickle.dumps((double, bound)))
    assert (double(1), again(1), again.key(1)) == (2, 2, double.key(1))
    assert (again.cache_info().hits, double.cache_info().loads) == (1, 1)
    assert (bound(2), bound_again(2), bound_again.cache_info().hits) == (6, 6, 1)
    if importable.__module__ in sys.modules:  # by name, so that there is one of it in each process
        assert pickle.loads(pickle.dumps(importable)) is importable
    bound_again._source._cache.close()
    close_handles()


def test_what_processes_count_is_summed_in_the_cluster(cluster: LocalCluster) -> None:
    with Cache(cluster.info) as one, Cache(cluster.info) as two:
        name = "summed"
        for handle in (one, two):
            function = handle.cached(ttl=60, name=name)(lambda number: number)
            for _ in range(10):
                function(1)
        wait_until(lambda: one.top().functions.get(name, FunctionUse()).calls == 20)
        use = one.top().functions[name]
        assert (use.hits, use.loads) == (19, 1)
        function(1)
    with Cache(cluster.info) as three:  # what was new when `two` was closed has been told, too
        assert three.top().functions[name].hits == 20


def test_hot_keys_show(cluster: LocalCluster, cache: Cache) -> None:
    for number in range(200):
        cache.set(f"cold:{number}", number)

    def is_hottest() -> bool:
        for number in range(300):
            cache.get("hot")
            cache.get(f"cold:{number % 200}")
        return cache.top(1).keys[0].key == b"hot"

    wait_until(is_hottest)
    with pytest.raises(ValueError, match="1 to 128"):
        cache.top(0)


def _in_child(function: Any, results: Any) -> None:
    results.put((function(1), function.cache_info().hits))


def test_a_forked_child_tells_what_it_counts_itself(cluster: LocalCluster) -> None:
    with Cache(cluster.info) as cache:
        function = cache.cached(ttl=60, name="forked")(lambda number: number)
        function(1)
        context = multiprocessing.get_context("fork")
        results = context.Queue()
        child = context.Process(target=_in_child, args=(function, results))
        child.start()
        assert results.get(timeout=20) == (1, 1)
        child.join(20)
        wait_until(lambda: cache.top().functions.get("forked", FunctionUse()).calls >= 1)
        assert cache.top().functions["forked"].loads == 1
