"""Both handles explain keys on real shards: where they live, and why they were missed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from raycache import Cache, NotPermittedError
from raycache.ring.slots import slot_of
from raycache.testing.local import LocalCluster
from tests.clients.handles import opened
from tests.support import wait_until


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=3, gateway=False, copies=2, max_entries_per_shard=200) as cluster:
        yield cluster


@pytest.fixture(params=["sync", "uvloop"])
def cache(request: pytest.FixtureRequest, cluster: LocalCluster) -> Iterator[Any]:
    handle = opened(request.param, cluster.info)
    handle.clear()
    yield handle
    handle.close()


def test_where_a_key_lives(cache: Any, cluster: LocalCluster) -> None:
    cache.set("user:1", "Ada", ttl=60, acks=1)
    found = cache.explain("user:1")
    owners = cluster.newest_topology.owners_of(slot_of(b"user:1"))
    assert found.owners == tuple(owner.id for owner in owners)
    assert [one.role for one in found.shards[:2]] == ["primary", "replica"]
    assert (found.is_present, found.copies, found.entry.size_bytes, found.entry.kind) == (True, 2, 3, "text")
    assert 55 < found.entry.ttl_s <= 60
    assert found.entry.version == cache.get_with_version("user:1").version


def test_every_cause_is_told(cache: Any) -> None:
    assert cache.explain("nobody").missed == "never"
    cache.set("short", 1, ttl=0.01)
    wait_until(lambda: cache.explain("short").missed == "expired")
    cache.set("deleted", 1)
    cache.delete("deleted")
    assert cache.explain("deleted").missed == "deleted"
    cache.set("evicted", 1)
    cache.set_many({f"key:{number}": number for number in range(900)})
    found = cache.explain("evicted")
    assert (found.missed, found.is_present) == ("evicted", False)
    cache.set("evicted", 2)
    found = cache.explain("evicted")
    assert (found.missed, found.is_present) == ("evicted", True)


def test_a_value_whose_tag_was_invalidated_does_not_count(cache: Any) -> None:
    cache.get_or_load("page", lambda: "html", ttl=60, tags=["site"])
    assert cache.explain("page").is_present
    cache.invalidate_tags("site")
    found = cache.explain("page")
    assert (found.missed, found.is_present, found.entry.kind) == ("invalidated", False, "loaded value")


def test_what_moved_is_found_where_it_is(cache: Any) -> None:
    with LocalCluster(shards=2, gateway=False, router=True) as moving:
        handle = opened("sync", moving.info)
        handle.set_many({f"key:{number}": number for number in range(300)})
        before = {number: handle.explain(f"key:{number}").owners for number in range(300)}
        moving.scale(3)
        moved = [number for number in range(300) if handle.get(f"key:{number}") is not None
                 and handle.explain(f"key:{number}").owners != before[number]]
        assert moved
        found = handle.explain(f"key:{moved[0]}")
        assert (found.is_present, found.owners, found.missed) == (True, ("s2",), "")
        wait_until(lambda: any(one.left == "moved" for one in handle.explain(f"key:{moved[0]}").shards))
        handle.close()


def test_a_user_has_its_own_keys_explained_and_no_others() -> None:
    users = ("user ada on >pw ~ada:* +@read +@write +@connection +rc.explain",)
    with (LocalCluster(2, gateway=False, secret="open sesame", users=users) as guarded,
          Cache(replace(guarded.info, user="ada", secret="pw")) as ada):
        ada.set("ada:1", "x")
        assert ada.explain("ada:1").is_present
        assert not ada.explain("ada:2").is_present
        with pytest.raises(NotPermittedError):
            ada.explain("theirs")
