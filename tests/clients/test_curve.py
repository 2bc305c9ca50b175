"""Both handles ask real shards for the miss-ratio curve, and change their policy."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from raycache.errors import CommandError
from raycache.testing.local import LocalCluster
from tests.clients.handles import opened
from tests.support import wait_until


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(shards=2, gateway=False, max_entries_per_shard=200) as cluster:
        yield cluster


@pytest.fixture(params=["sync", "uvloop"])
def cache(request: pytest.FixtureRequest, cluster: LocalCluster) -> Iterator[Any]:
    handle = opened(request.param, cluster.info)
    yield handle
    handle.close()


def test_more_memory_would_give_more_hits(cache: Any) -> None:
    rng = random.Random(1)
    before = cache.miss_ratio_curve().lookups
    for _ in range(20):
        keys = [f"k{min(int(rng.paretovariate(0.7)), 1500)}" for _ in range(100)]
        found = cache.get_many(keys)
        cache.set_many({key: 1 for key in keys if key not in found})
    wait_until(lambda: cache.miss_ratio_curve().lookups >= before + 1900)
    curve = cache.miss_ratio_curve()
    assert (curve.unreachable, [shard.shard_id for shard in curve.shards]) == ((), ["s0", "s1"])
    assert 0 < curve.hit_ratio(1 / 16) < curve.hit_ratio(16) < 1
    assert curve.measured > 0


def test_the_policy_is_changed_and_the_entries_stay(cache: Any) -> None:
    cache.set_many({f"stays{number}": number for number in range(50)})
    for policy in ("s3-fifo", "lru"):
        wait_until(partial(_changed, cache, policy))
        assert {(one.policy, one.policy_serving) for one in cache.stats().shards} == {(policy, policy)}
        assert len(cache.get_many([f"stays{number}" for number in range(50)])) == 50
    with pytest.raises(ValueError, match="no policy 'best'"):
        cache.set_policy("best")
    wait_until(lambda: "can only be chosen when a cluster starts" in _refusal(cache, "random"))


def test_auto_says_what_serves_and_why(cache: Any) -> None:
    wait_until(partial(_changed, cache, "auto"))
    shard = cache.stats().shards[0]
    assert (shard.policy, shard.policy_changes) == ("auto", 0)
    assert shard.policy_reason
    wait_until(partial(_changed, cache, "lru"))


def _changed(cache: Any, policy: str) -> bool:
    """Change the policy, unless the change before is not done yet."""
    refusal = _refusal(cache, policy)
    assert not refusal or "is being changed" in refusal
    return not refusal


def _refusal(cache: Any, policy: str) -> str:
    try:
        assert cache.set_policy(policy) == ["s0", "s1"]
    except CommandError as error:
        return str(error)
    return ""
