"""Handles with compression, and with an object store that does not work: values come back all the same."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import redis

from raycache.client.aio import AsyncCache
from raycache.client.sync import Cache
from raycache.codec.parts import Parts
from raycache.descriptor import Descriptor
from raycache.errors import UnsupportedTypeError
from raycache.testing.local import LocalCluster

TEXT = "all work and no play " * 1000
VALUES: dict[str, Any] = {"text": TEXT, "bytes": TEXT.encode(), "array": np.zeros(10_000), "noise": os.urandom(20_000),
                          "dict": {"rows": [1, 2, 3] * 1000}, "short": "short", "number": 7}  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(2) as running:
        yield running


class NoObjectStore:
    """An object store whose shards know no objects, and from which nothing comes."""

    large_from = 1000

    def __init__(self, name: bytes | None) -> None:
        self.name = name
        self.staged: list[int] = []

    def stage(self, shard_id: str, parts: Parts, timeout_s: float) -> bytes | None:
        assert shard_id in ("s0", "s1")
        self.staged.append(parts.size_bytes)
        return self.name

    def fetch(self, descriptor: Descriptor, timeout_s: float) -> Parts | None:
        raise AssertionError("there is nothing to fetch")


def same(found: dict[str, Any]) -> bool:
    return list(found) == list(VALUES) and all(
        type(found[name]) is type(value) and np.array_equal(found[name], value) for name, value in VALUES.items())


def test_compressed_values_take_less_and_come_back(cluster: LocalCluster) -> None:
    with Cache(cluster.info) as plain, Cache(cluster.info, compress_from=1000) as cache:
        plain.set_many(VALUES)
        before = sum(shard.used_bytes for shard in plain.stats().shards)
        cache.set_many(VALUES)
        assert sum(shard.used_bytes for shard in plain.stats().shards) < before - 100_000
        assert same(cache.get_many(VALUES))
        assert same(plain.get_many(VALUES))
        entries = {name: cache.explain(name).entry for name in VALUES}
        kinds = {name: entry.kind for name, entry in entries.items() if entry is not None}
        assert kinds == dict.fromkeys(VALUES, "compressed value") | {
            "noise": "bytes", "short": "text", "number": "integer"}  # fmt: skip
        cache.set("one", TEXT)
        assert cache.incr("number") == 8
        found = cache.get_with_version("one")
        assert found is not None
        assert found.value == TEXT
        assert cache.compare_and_set("one", TEXT + "!", found.version)
        assert cache.get_result("one").value == TEXT + "!"  # type: ignore[union-attr]
        assert cache.get_or_load("one", lambda: None) == TEXT + "!"
        assert cache.update("one", lambda old: old[:5]) == "all w"
        host, port = cluster.gateway_address
        with redis.Redis(host=host, port=port) as client:
            assert client.get("text") == client.get("bytes") == TEXT.encode()
            assert client.mget("text", "short") == [TEXT.encode(), b"short"]


async def test_asyncio_compresses_too(cluster: LocalCluster) -> None:
    async with AsyncCache(cluster.info, compress_from=1000) as cache:
        await cache.set_many(VALUES)
        assert same(await cache.get_many(VALUES))
        await cache.set("one", TEXT)
        assert await asyncio.gather(cache.get("one"), cache.get("text")) == [TEXT, TEXT]
        entry = (await cache.explain("one")).entry
        assert entry is not None
        assert entry.kind == "compressed value"


@pytest.mark.parametrize("name", [None, b"n" * 16])
def test_what_no_shard_takes_as_an_object_goes_through_the_socket(cluster: LocalCluster, name: bytes | None) -> None:
    objects = NoObjectStore(name)
    with Cache(cluster.info, objects=objects) as cache:
        cache.clear()
        cache.set_many(VALUES)
        assert same(cache.get_many(VALUES))
        assert sorted(objects.staged) == sorted(
            [len(TEXT), len(TEXT), 80_000 + len(_header()), 20_000, len(_packed())])  # fmt: skip
        cache.set("one", TEXT)
        assert not cache.add("one", TEXT)
        assert cache.add("other", TEXT)
        assert cache.replace("other", TEXT + "!")
        assert cache.get("other") == TEXT + "!"
        assert cache.compare_and_set("new", TEXT, 0)
        with pytest.raises(UnsupportedTypeError):
            cache.set("object", [object()])


@pytest.mark.parametrize("name", [None, b"n" * 16])
async def test_asyncio_falls_back_too(cluster: LocalCluster, name: bytes | None) -> None:
    async with AsyncCache(cluster.info, objects=NoObjectStore(name)) as cache:
        await cache.clear()
        await cache.set_many(VALUES)
        assert same(await cache.get_many(VALUES))
        assert await cache.add("other", TEXT)
        assert await cache.get("other") == TEXT


def _header() -> bytes:
    from raycache.codec.arrays import split_array

    return split_array(VALUES["array"])[0]


def _packed() -> bytes:
    from raycache.codec import encode

    return encode(VALUES["dict"])[1]
