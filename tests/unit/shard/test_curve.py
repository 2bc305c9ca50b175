"""RC.CURVE, RC.POLICY, and the settings that go with them."""

from __future__ import annotations

import pytest

from raycache.client.curve import ClusterCurve, ShardCurve
from raycache.errors import ProtocolError
from raycache.store.watching import SETTLE_MS
from tests.unit.shard.harness import Shard, parsed


@pytest.fixture
def shard() -> Shard:
    shard = Shard()
    shard.store.watch(512)
    return shard


def settle(shard: Shard) -> None:
    for _ in range(4):
        shard.advance(SETTLE_MS)
        while shard.core.step(shard.core.now_ms):
            pass


def curve_of(shard: Shard) -> ShardCurve:
    return ShardCurve.from_bytes(parsed(shard.raw("RC.CURVE")))


def test_what_clients_look_up_makes_the_curve(shard: Shard) -> None:
    for number in range(50):
        shard.run(f"SET k{number} v")
        shard.run(f"GET k{number}")
    settle(shard)
    for number in range(50):
        shard.run(f"GET k{number}")
    shard.run("MGET k1 k2 nothing")
    settle(shard)
    curve = curve_of(shard)
    assert (curve.lookups, curve.sampled_keys, curve.rate) == (103, 51, 1.0)
    assert (curve.policy, curve.serving, curve.hits, curve.misses) == ("lru", "lru", 102, 1)
    assert curve.hit_ratios[-1] == pytest.approx(52 / 103)
    cluster = ClusterCurve.of("c", [curve], ["s0", "s1"])
    assert cluster.hit_ratio(2.0) == pytest.approx(52 / 103)
    assert (cluster.unreachable, cluster.measured, cluster.capacity_bytes) == (("s1",), 102 / 103, 64 << 20)


def test_a_shard_without_a_curve_says_so(shard: Shard) -> None:
    assert shard.run("CONFIG SET rc-curve-keys 0") == b"OK"
    assert shard.run("RC.CURVE") == "ERR this shard keeps no miss-ratio curve"
    assert shard.store.hot[-1] is shard.store.hot[0]  # nothing is watched: nothing costs anything
    assert shard.run("CONFIG SET rc-curve-keys 1000") == b"OK"
    assert shard.run("CONFIG GET rc-curve-keys") == [b"rc-curve-keys", b"1000"]
    assert curve_of(shard).lookups == 0
    assert "between 0 and 8192" in shard.run("CONFIG SET rc-curve-keys 8193")


def test_the_policy_changes_while_the_shard_serves(shard: Shard) -> None:
    for number in range(1000):
        shard.run(f"SET k{number} v")
    assert shard.run("RC.POLICY sieve") == b"OK"
    assert shard.run("GET k7") == b"v"
    assert shard.run("RC.POLICY arc").startswith("ERR the policy is being changed")
    settle(shard)
    assert (shard.core.stats()["policy"], shard.core.stats()["policy_serving"]) == ("sieve", "sieve")
    assert shard.run("CONFIG GET maxmemory-policy") == [b"maxmemory-policy", b"sieve"]
    assert [shard.run(f"GET k{number}") for number in (0, 999)] == [b"v", b"v"]
    assert shard.run("RC.POLICY random") == "ERR the policy random can only be chosen when a cluster starts"
    assert shard.run("RC.POLICY best").startswith("ERR no policy 'best'")
    shard.store.check_invariants()


def test_redis_way_of_changing_it(shard: Shard) -> None:
    assert shard.run("CONFIG SET maxmemory-policy allkeys-lfu proto-max-bulk-len 2097152") == b"OK"
    settle(shard)
    assert (shard.core.policy, shard.core.max_value_bytes) == ("lfu", 2 << 20)
    refused = shard.run("CONFIG SET proto-max-bulk-len 1048576 maxmemory-policy noeviction")
    assert refused == "ERR the policy noeviction can only be chosen when a cluster starts"
    assert (shard.core.policy, shard.core.max_value_bytes) == ("lfu", 2 << 20)


def test_auto_says_why(shard: Shard) -> None:
    shard.run("RC.POLICY auto")
    settle(shard)
    stats = shard.core.stats()
    assert (stats["policy"], stats["policy_serving"], stats["policy_changes"]) == ("auto", "auto", 0)
    assert stats["policy_reason"] == "w-tinylfu: nothing has been tried yet, as the store has room"
    assert curve_of(shard).policy == "auto"


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"\x81\xaahit_ratios\x90"])
def test_what_is_no_curve_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        ShardCurve.from_bytes(data)


def test_factors_must_be_positive(shard: Shard) -> None:
    curve = ClusterCurve.of("c", [curve_of(shard)], ["s0"])
    assert (curve.hit_ratio(4), curve.measured, curve.lookups) == (0.0, 0.0, 0)
    with pytest.raises(ValueError, match="must be positive"):
        curve.hit_ratio(0)
