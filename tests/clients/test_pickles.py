"""Values of any type, where cluster and handle allow pickle; and that nothing is unpickled otherwise."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import pickle
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
import redis

from raycache import PickleRefusedError, RayCacheError, UnsupportedTypeError
from raycache.client.aio import AsyncCache
from raycache.client.sync import Cache
from raycache.codec import PICKLE
from raycache.testing import LocalCluster
from tests.clients.handles import opened

SECRET = "open sesame"
ADA = "user ada on >pw-of-ada ~* +@all"


class Colour(enum.Enum):
    RED = 1


class Bomb:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> object:
        return pytest.fail, ("a value was unpickled",)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(2, secret=SECRET, copies=2, users=[ADA], allow_pickle=True) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=["sync", "asyncio"])
def cache(request: pytest.FixtureRequest, cluster: LocalCluster) -> Iterator[Any]:
    handle = opened(request.param, cluster.info, allow_pickle=True)
    yield handle
    handle.close()


@pytest.fixture
def member(cluster: LocalCluster) -> Iterator[Any]:
    host, port = cluster.gateway_address
    with redis.Redis(host, port, username="ada", password="pw-of-ada") as client:
        yield client


def test_every_operation_takes_and_gives_values_of_other_types(cache: Any) -> None:
    third = Fraction(1, 3)
    cache.set("one", third)
    cache.set_many({"two": Colour.RED, "three": "text"})
    cache.set_many({"acked": Colour.RED}, acks=1)
    assert cache.get("one") == third
    assert cache.get("one", read_from="replica") in (third, None)
    assert cache.get_many(["one", "two", "three"]) == {"one": third, "two": Colour.RED, "three": "text"}
    assert cache.get_result("one").value == third
    assert cache.get_results(["one", "acked"])["acked"].value is Colour.RED
    found = cache.get_with_version("one")
    assert found.value == third
    assert cache.compare_and_set("one", Colour.RED, found.version)
    assert cache.replace("one", third)
    assert not cache.add("one", Colour.RED)
    assert cache.update("one", lambda old: old * 2) == Fraction(2, 3)
    assert cache.get("one") == Fraction(2, 3)


def test_what_is_loaded_may_be_of_any_type(cache: Any) -> None:
    cache.delete_many(["loaded", "tagged", "a", "b"])
    for _ in range(2):  # loaded, then from the cache
        assert cache.get_or_load("loaded", lambda: Colour.RED, ttl=60) is Colour.RED
        assert cache.get_or_load("tagged", lambda: Fraction(1, 2), tags=["t"]) == Fraction(1, 2)
        found = cache.get_or_load_many(["a", "b"], lambda keys: dict.fromkeys(keys, Colour.RED))
        assert found == {"a": Colour.RED, "b": Colour.RED}
    assert cache.get("loaded") is Colour.RED
    assert cache.get_many(["loaded", "tagged", "a"]) == {"loaded": Colour.RED, "tagged": Fraction(1, 2),
                                                        "a": Colour.RED}
    cache.invalidate_tags("t")
    assert cache.get("tagged") is None


def test_a_handle_that_does_not_allow_it_neither_writes_nor_loads(cluster: LocalCluster, cache: Any) -> None:
    cache.delete("loaded bomb")
    cache.set("bomb", Bomb())
    cache.get_or_load("loaded bomb", Bomb)
    with Cache(cluster.info) as careful:
        for read in (lambda: careful.get("bomb"), lambda: careful.get_many(["bomb"]),
                     lambda: careful.get_with_version("bomb"), lambda: careful.get_result("bomb"),
                     lambda: careful.get("loaded bomb"), lambda: careful.get_or_load("loaded bomb", lambda: 1),
                     lambda: careful.get_or_load_many(["loaded bomb"], lambda _: {}),
                     lambda: careful.update("bomb", lambda old: old)):
            with pytest.raises(PickleRefusedError, match="connect with allow_pickle=True"):
                read()
        with pytest.raises(UnsupportedTypeError):
            careful.set("bomb", Colour.RED)
        assert careful.explain("bomb").entry.kind == "pickle"


def test_a_cluster_that_does_not_allow_it_takes_none() -> None:
    with LocalCluster(1, gateway=False, secret=SECRET) as strict, Cache(strict.info, allow_pickle=True) as cache:
        for write in (lambda: cache.set("key", Colour.RED), lambda: cache.set_many({"key": Colour.RED}),
                      lambda: cache.add("key", Colour.RED), lambda: cache.get_or_load("key", lambda: Colour.RED),
                      lambda: cache.get_or_load_many(["key"], lambda keys: {"key": Colour.RED}),
                      lambda: cache.update("key", lambda _: Colour.RED)):
            with pytest.raises(PickleRefusedError, match="started with allow_pickle=True"):
                write()
        assert not cache.exists("key")
        cache.set("key", {"plain": 1})
        assert cache.get("key") == {"plain": 1}


def test_no_pickle_of_a_redis_client_is_loaded(cluster: LocalCluster, cache: Any, member: Any) -> None:
    """Somebody with all commands and all keys, but not the secret: bytes stay bytes, whatever kind they claim to be."""
    bare = pickle.dumps(Bomb())
    member.set("bomb", bare)
    assert cache.get("bomb") == bare
    for kind in range(16):
        for frame in (bare, b"\x01" + bytes(32) + bare):
            with contextlib.suppress(redis.ResponseError, RayCacheError):
                member.execute_command("RC.SET", "bomb", str(kind), frame, "0")
                cache.get("bomb")
            with contextlib.suppress(redis.ResponseError, RayCacheError):
                cache.get_or_load("bomb", lambda: 1)
    assert member.execute_command("RC.SET", "bomb", str(PICKLE), b"\x01" + bytes(32) + bare, "0") == b"OK"
    with pytest.raises(PickleRefusedError, match="not signed"):
        cache.get("bomb")


def test_a_signed_pickle_that_somebody_changes_is_not_loaded(cache: Any, member: Any) -> None:
    cache.set("{p}fine", Colour.RED)
    member.copy("{p}fine", "{p}copied", replace=True)
    assert cache.get("{p}copied") is Colour.RED
    payload = member.execute_command("RC.GET", "{p}fine")
    member.execute_command("RC.SET", "{p}fine", payload[0], payload[1:-1] + b"!", "0")
    with pytest.raises(PickleRefusedError, match="not signed"):
        cache.get("{p}fine")
    member.append("{p}copied", b".")  # what a Redis client changes is bytes, as every value
    assert type(cache.get("{p}copied")) is bytes


def test_only_who_knows_the_secret_can_allow_it(cluster: LocalCluster) -> None:
    as_user = dataclasses.replace(cluster.info, user="ada", secret="pw-of-ada")
    for kind in (Cache, AsyncCache):
        for info in (as_user, dataclasses.replace(cluster.info, secret=None)):
            with pytest.raises(ValueError, match="allow_pickle needs the cluster's secret"):
                kind(info, allow_pickle=True)


def test_the_permission_pickles_with_the_handle(cluster: LocalCluster) -> None:
    with Cache(cluster.info, allow_pickle=True) as cache, pickle.loads(pickle.dumps(cache)) as twin:
        twin.set("twin", Colour.RED)
        assert cache.get("twin") is Colour.RED
