"""RC.USED and RC.TOP."""

from __future__ import annotations

from typing import Any

import hiredis
import msgpack
import pytest

from raycache.client import requests
from raycache.client.frames import command
from raycache.client.top import ClusterUse, ShardUse
from raycache.usage.functions import MAX_FUNCTIONS
from raycache.usage.rows import FunctionUse
from tests.unit.shard.harness import Shard, parsed


@pytest.fixture
def shard() -> Shard:
    return Shard(info=lambda: {"commands_per_s": 500.0})


def top(shard: Shard, count: int = 10) -> ShardUse:
    return ShardUse.from_bytes(parsed(shard.raw("RC.TOP", str(count))))


def test_a_new_shard_knows_of_nothing(shard: Shard) -> None:
    assert top(shard) == ShardUse("s0", 0.0, 500.0, (), {})


def test_what_handles_tell_is_summed(shard: Shard) -> None:
    for hits in (1, 2):
        request = requests.used({"m.f": FunctionUse(hits=hits), "m.g": FunctionUse(loads=1, load_s=0.5)})
        assert not request.repeatable
        reader = hiredis.Reader()
        reader.feed(request.frame)
        assert parsed(shard.raw(*reader.gets())) == b"OK"
    assert top(shard).functions == {"m.f": FunctionUse(hits=3), "m.g": FunctionUse(loads=2, load_s=1.0)}


@pytest.mark.parametrize("packed", [
    b"", b"\xc1", msgpack.packb([1]), msgpack.packb({1: [1]}), msgpack.packb({"f": [-1]}), msgpack.packb({"f": None}),
    msgpack.packb({f"f{number}": [1] for number in range(MAX_FUNCTIONS + 1)})])
def test_news_that_make_no_sense_are_refused_as_a_whole(shard: Shard, packed: bytes) -> None:
    reply: Any = parsed(shard.raw("RC.USED", packed))
    assert isinstance(reply, hiredis.ReplyError)
    assert "msgpack map" in str(reply)
    assert top(shard).functions == {}


def test_hot_keys_come_with_their_share(shard: Shard) -> None:
    for key, times in ((b"hot", 30), (b"warm", 10)):
        for _ in range(times):
            shard.core.usage.look(command(b"GET", key))
    use = top(shard, 1)
    assert (use.looks, [key.key for key in use.keys]) == (40.0, [b"hot"])
    assert (use.keys[0].share, use.keys[0].per_s, use.keys[0].error) == (0.75, 375.0, 0.0)


@pytest.mark.parametrize("count", ["-1", "129", "x"])
def test_a_count_out_of_range_is_refused(shard: Shard, count: str) -> None:
    assert isinstance(parsed(shard.raw("RC.TOP", count)), hiredis.ReplyError)


def test_background_work_lets_looks_fade_and_a_reset_forgets_everything(shard: Shard) -> None:
    shard.core.usage.look(command(b"GET", b"k"))
    now_ms = shard.core.now_ms
    shard.core.step(now_ms)
    shard.core.step(now_ms + 10_000)
    assert top(shard).looks == pytest.approx(0.5)
    shard.core.usage.functions.add("m.f", FunctionUse(hits=1))
    shard.run("CONFIG RESETSTAT")
    assert top(shard) == ShardUse("s0", 0.0, 500.0, (), {})


def test_shards_add_up() -> None:
    one, two = Shard(shard_id="s0", info=lambda: {"commands_per_s": 100.0}), Shard(
        shard_id="s1", info=lambda: {"commands_per_s": 900.0})
    for shard, key in ((one, b"a"), (two, b"b"), (two, b"c"), (two, b"b")):
        shard.core.usage.look(command(b"GET", key))
    one.core.usage.functions.add("m.f", FunctionUse(hits=1, loads=1, load_s=0.1))
    two.core.usage.functions.add("m.f", FunctionUse(hits=9))
    two.core.usage.functions.add("m.g", FunctionUse(hits=5, loads=1, load_s=9.0))
    use = ClusterUse.of("c", [top(one), top(two)], ["s0", "s1", "s2"], 2)
    assert [(key.key, key.shard_id) for key in use.keys] == [(b"b", "s1"), (b"c", "s1")]
    assert list(use.functions) == ["m.g", "m.f"]  # by what they save
    assert use.functions["m.f"] == FunctionUse(hits=10, loads=1, load_s=0.1)
    assert (use.looks, use.commands_per_s, use.unreachable) == (4.0, 1000.0, ("s2",))
